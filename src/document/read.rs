//! From the document as typed to the [`AppConfig`] that is true: which fields there are, and what each must be (pure).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use crate::document::buffering::Buffering;
use crate::document::by_type::ByType;
use crate::document::config::{
    AppConfig, FieldError, HealthCheck, Reference, Repo, Rules, StaticFiles, StopPolicy, StopTo,
    Strategy,
};
use crate::document::name::AppName;
use crate::document::repository_url;
use crate::document::rules as rules_of;
use crate::document::shell::Shell;
use crate::document::walk::{Object, Walk, expected, number};
use crate::supervision::Restart;

const FIELDS: [&str; 21] = [
    "name",
    "repo",
    "packages",
    "user",
    "group",
    "domain",
    "shell",
    "install",
    "scale",
    "env",
    "path",
    "strip_path",
    "port",
    "health_check",
    "stop",
    "drain",
    "static",
    "buffer",
    "restart",
    "strategy",
    "keep_releases",
];

const MAX_PACKAGES: usize = 256;
const MAX_PATTERNS: usize = 64;
const MAX_COMMANDS: usize = 256;
const MAX_TYPES: usize = 64;
const MAX_VARIABLES: usize = 1024;
/// Of the request of a health check.
const MAX_FIELDS: usize = 32;

const TICK: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
const BOOT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
const DRAIN: Duration = Duration::from_secs(30);

impl AppConfig {
    /// Checks `document` against the rules and takes it as true.
    ///
    /// # Errors
    /// Every field that is wrong, unknown ones included.
    pub fn from_document(document: Value, rules: &Rules) -> Result<Self, Vec<FieldError>> {
        let mut walk = Walk::default();
        match read_fields(&mut walk, &document, rules) {
            Some(config) if walk.errors.is_empty() => Ok(Self { document, ..config }),
            _ => Err(walk.errors),
        }
    }
}

/// Reads every field, so that every error is found; `None` where a required one is missing or wrong.
fn read_fields(walk: &mut Walk, document: &Value, rules: &Rules) -> Option<AppConfig> {
    let top = walk.object(document, String::new(), &FIELDS)?;
    let name = read_name(walk, &top);
    let repo = read_repo(walk, &top, rules);
    let account = |text: &str| rules_of::account(text, rules.allow_root_apps);
    let config = AppConfig {
        packages: walk.list(&top, "packages", MAX_PACKAGES, rules_of::package),
        user: walk.text(&top, "user", account),
        group: walk.text(&top, "group", account),
        domain: read_domain(walk, &top),
        shell: walk.text(&top, "shell", Shell::parse).unwrap_or_default(),
        install: walk.list(&top, "install", MAX_COMMANDS, rules_of::command),
        scale: walk.map(&top, "scale", MAX_TYPES, read_quantity),
        env: walk.map(&top, "env", MAX_VARIABLES, read_variable),
        path: walk.flag(&top, "path", true),
        strip_path: walk.flag(&top, "strip_path", true),
        port: walk
            .number(&top, "port", 1..=65_535)
            .and_then(|port| u16::try_from(port).ok()),
        health_check: read_health_check(walk, &top),
        stop: read_stop(walk, &top),
        drain: walk.duration(&top, "drain", GRACE, DRAIN),
        static_files: read_static(walk, &top),
        buffer: read_buffer(walk, &top),
        restart: ByType::read(walk, &top, "restart", MAX_TYPES, restart),
        strategy: ByType::read(walk, &top, "strategy", MAX_TYPES, strategy),
        keep_releases: walk
            .number(&top, "keep_releases", 1..=1000)
            .and_then(|keep| usize::try_from(keep).ok())
            .unwrap_or(5),
        name: name?,
        repo: repo?,
        document: Value::Null,
    };
    Some(config)
}

fn read_name(walk: &mut Walk, top: &Object<'_>) -> Option<AppName> {
    if top.get("name").is_none() {
        walk.report(
            top.pointer("name"),
            "is required: a name such as \"my-app\"",
        );
    }
    walk.text(top, "name", AppName::parse)
}

fn read_repo(walk: &mut Walk, top: &Object<'_>, rules: &Rules) -> Option<Repo> {
    let Some(value) = top.get("repo") else {
        let detail = "is required: {url: \"https://…\"} says where the code comes from";
        walk.report(top.pointer("repo"), detail);
        return None;
    };
    let fields = ["url", "branch", "tag", "commit"];
    let repo = walk.object(value, top.pointer("repo"), &fields)?;
    if repo.get("url").is_none() {
        walk.report(
            repo.pointer("url"),
            "is required: the URL of a git repository",
        );
    }
    let url = walk.text(&repo, "url", |url| {
        repository_url::check(url, rules.allow_file_repos).map(|()| url.to_owned())
    });
    let branch = walk.text(&repo, "branch", rules_of::git_ref);
    let tag = walk.text(&repo, "tag", rules_of::git_ref);
    let commit = walk.text(&repo, "commit", rules_of::commit);
    let given = ["branch", "tag", "commit"]
        .into_iter()
        .filter(|field| repo.get(field).is_some())
        .collect::<Vec<_>>();
    if given.len() > 1 {
        let detail = format!(
            "has {}: only one of them can be checked out",
            given.join(" and ")
        );
        walk.report(top.pointer("repo"), detail);
    }
    let reference = branch
        .map(Reference::Branch)
        .or(tag.map(Reference::Tag))
        .or(commit.map(Reference::Commit))
        .unwrap_or(Reference::Default);
    Some(Repo {
        url: url?,
        reference,
    })
}

fn read_domain(walk: &mut Walk, top: &Object<'_>) -> Vec<String> {
    let patterns = walk.list(top, "domain", MAX_PATTERNS, rules_of::domain_pattern);
    if let Err(detail) = rules_of::domain_set(&patterns) {
        walk.report(top.pointer("domain"), detail);
    }
    patterns
}

fn read_quantity(name: &str, value: &Value) -> Result<u32, String> {
    rules_of::process_type(name)?;
    let quantity = number(value, 0..=100)?;
    u32::try_from(quantity).map_err(|error| error.to_string())
}

fn read_variable(name: &str, value: &Value) -> Result<String, String> {
    rules_of::variable(name)?;
    match value {
        Value::String(text) => rules_of::limited(text).map(|()| text.clone()),
        // Which text 1.0, 010 or yes should become is a guess; the person knows.
        Value::Number(_) | Value::Bool(_) => Err(format!(
            "must be a string: put it in quotes, {name}: \"{value}\""
        )),
        other => Err(expected("a string", other)),
    }
}

fn read_health_check(walk: &mut Walk, top: &Object<'_>) -> HealthCheck {
    let default = HealthCheck::default();
    let fields = [
        "path",
        "host",
        "headers",
        "status",
        "interval",
        "timeout",
        "boot_timeout",
    ];
    let Some(check) = walk.child(top, "health_check", &fields) else {
        return default;
    };
    HealthCheck {
        path: walk.text(&check, "path", rules_of::request_path),
        host: walk.text(&check, "host", rules_of::request_host),
        headers: walk.map(&check, "headers", MAX_FIELDS, read_field),
        status: read_status(walk, &check).unwrap_or(default.status),
        interval: walk.duration(&check, "interval", TICK, default.interval),
        timeout: walk.duration(&check, "timeout", TICK, default.timeout),
        boot_timeout: walk.duration(&check, "boot_timeout", BOOT, default.boot_timeout),
    }
}

/// A field of the request; those that say how it is framed and where it goes are ours.
fn read_field(name: &str, value: &Value) -> Result<String, String> {
    rules_of::request_field(name)?;
    let Value::String(text) = value else {
        return Err(expected("a string", value));
    };
    rules_of::field_value(text)
}

/// One status or a range: 204, "200-399".
fn read_status(walk: &mut Walk, check: &Object<'_>) -> Option<(u16, u16)> {
    match check.get("status") {
        Some(Value::Number(_)) => {
            let status = walk.number(check, "status", 200..=599)?;
            u16::try_from(status).ok().map(|status| (status, status))
        }
        _ => walk.text(check, "status", rules_of::statuses),
    }
}

fn read_stop(walk: &mut Walk, top: &Object<'_>) -> StopPolicy {
    let default = StopPolicy::default();
    let Some(stop) = walk.child(top, "stop", &["signal", "timeout", "to"]) else {
        return default;
    };
    StopPolicy {
        signal: walk
            .text(&stop, "signal", rules_of::stop_signal)
            .unwrap_or(default.signal),
        timeout: walk.duration(&stop, "timeout", GRACE, default.timeout),
        to: walk.text(&stop, "to", stop_to).unwrap_or(default.to),
    }
}

fn read_static(walk: &mut Walk, top: &Object<'_>) -> Option<StaticFiles> {
    let files = walk.child(top, "static", &["dir", "prefix", "spa", "cache_control"])?;
    let dir = match files.get("dir") {
        None => Some("public".to_owned()),
        Some(_) => walk.text(&files, "dir", rules_of::relative_directory),
    };
    let prefix = match files.get("prefix") {
        None => Some("/".to_owned()),
        Some(_) => walk.text(&files, "prefix", rules_of::path_prefix),
    };
    let spa = walk.flag(&files, "spa", false);
    let cache_control = walk.text(&files, "cache_control", rules_of::field_value);
    Some(StaticFiles {
        dir: dir?,
        prefix: prefix?,
        spa,
        cache_control,
    })
}

fn stop_to(text: &str) -> Result<StopTo, &'static str> {
    match text {
        "all" => Ok(StopTo::All),
        "main" => Ok(StopTo::Main),
        _ => Err(
            "must be \"all\" (each process gets the signal) or \"main\" (the command itself does, and ends the others)",
        ),
    }
}

fn read_buffer(walk: &mut Walk, top: &Object<'_>) -> Buffering {
    let default = Buffering::default();
    let Some(buffer) = walk.child(top, "buffer", &["requests", "responses"]) else {
        return default;
    };
    Buffering {
        requests: walk.flag(&buffer, "requests", default.requests),
        responses: walk.flag(&buffer, "responses", default.responses),
    }
}

fn restart(text: &str) -> Result<Restart, &'static str> {
    match text {
        "always" => Ok(Restart::Permanent),
        "on-failure" => Ok(Restart::Transient),
        "never" => Ok(Restart::Temporary),
        _ => Err("must be \"always\", \"on-failure\" (not after exit code 0) or \"never\""),
    }
}

fn strategy(text: &str) -> Result<Strategy, &'static str> {
    match text {
        "rolling" => Ok(Strategy::Rolling),
        "recreate" => Ok(Strategy::Recreate),
        _ => Err(
            "must be \"rolling\" (the old release serves until the new one is ready) or \"recreate\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::json5::parse_document;

    /// The request of the original specification, as it is printed there.
    const ORIGINAL: &str = include_str!("../../tests/conformance/original_request.json5");

    fn errors(document: Value) -> Vec<(String, String)> {
        AppConfig::from_document(document, &Rules::default())
            .expect_err("it should be refused")
            .into_iter()
            .map(|error| (error.pointer, error.detail))
            .collect()
    }

    fn pointers(document: Value) -> Vec<String> {
        errors(document)
            .into_iter()
            .map(|(pointer, _)| pointer)
            .collect()
    }

    fn with(field: &str, value: Value) -> Value {
        let mut document = json!({"name": "a", "repo": {"url": "https://example.org/a.git"}});
        document[field] = value;
        document
    }

    #[test]
    fn the_printed_example_is_accepted_character_for_character() {
        let document = parse_document(ORIGINAL.as_bytes()).unwrap();
        let config = AppConfig::from_document(document.clone(), &Rules::default()).unwrap();
        assert_eq!(config.name.as_str(), "rubynas");
        assert_eq!(config.repo.reference, Reference::Branch("master".into()));
        assert_eq!(config.packages.len(), 22);
        assert_eq!(config.user.as_deref(), Some("www-data"));
        assert_eq!(config.domain, ["^rubynas.*", "^rubynas.local$"]);
        assert_eq!(config.install.len(), 2);
        assert_eq!(config.scale["web"], 2);
        assert_eq!(config.document, document);
    }

    #[test]
    fn a_minimal_document_gets_the_promised_defaults() {
        let document = json!({"name": "a", "repo": {"url": "git@example.org:a.git"}});
        let config = AppConfig::from_document(document, &Rules::default()).unwrap();
        assert_eq!(config.repo.reference, Reference::Default);
        assert!(config.path && config.strip_path && config.port.is_none());
        assert_eq!(config.health_check.boot_timeout, Duration::from_secs(60));
        assert_eq!(
            (config.stop.signal, config.stop.timeout),
            (15, Duration::from_secs(10))
        );
        assert_eq!(config.drain, Duration::from_secs(30));
        assert_eq!(
            (config.strategy, config.keep_releases),
            (ByType::all(Strategy::Rolling), 5)
        );
        assert_eq!(config.static_files, None);
        assert!(config.buffer.requests && config.buffer.responses);
    }

    #[test]
    fn every_error_is_reported_with_its_pointer() {
        let document = json!({
            "nmae": "a",
            "repo": {"url": "ext::sh -c id", "branch": "-x", "ref": "a"},
            "packages": ["git", "-y", 7],
            "user": "root", "group": 0,
            "domain": ["ok", "("],
            "shell": "/bin/zsh",
            "install": "make",
            "scale": {"web": 101, "a b": 1},
            "env": {"A=": "1", "N": 8, "OK": "x", "B/C": "x"},
            "path": "yes",
            "port": 0,
            "health_check": {"path": "up", "interval": 5, "timeout": "soon", "host": "a b", "status": "2xx",
                "headers": {"Host": "a", "X-A": "b\r\nC: d", "A B": "c"}},
            "stop": {"signal": "SIGKILL", "timeout": "2 days", "to": "some"},
            "drain": "61m",
            "static": {"dir": "../etc", "spa": 1, "cache_control": "a\r\nSet-Cookie: b"},
            "buffer": {"requests": "no", "request": false},
            "restart": {"job": "sometimes", "a b": "never", "n": 1},
            "strategy": "blue-green",
            "keep_releases": 0,
        });
        let mut found = pointers(document);
        found.sort();
        let mut wanted = [
            "/nmae",
            "/name",
            "/repo/ref",
            "/repo/url",
            "/repo/branch",
            "/packages/1",
            "/packages/2",
            "/user",
            "/group",
            "/domain/1",
            "/shell",
            "/install",
            "/scale/web",
            "/scale/a b",
            "/env/A=",
            "/env/N",
            "/env/B~1C",
            "/path",
            "/port",
            "/health_check/path",
            "/health_check/interval",
            "/health_check/timeout",
            "/health_check/host",
            "/health_check/status",
            "/health_check/headers/Host",
            "/health_check/headers/X-A",
            "/health_check/headers/A B",
            "/stop/signal",
            "/stop/timeout",
            "/stop/to",
            "/drain",
            "/static/dir",
            "/static/spa",
            "/static/cache_control",
            "/buffer/request",
            "/buffer/requests",
            "/restart/job",
            "/restart/a b",
            "/restart/n",
            "/strategy",
            "/keep_releases",
        ];
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_text_says_what_to_do() {
        for (field, value, wanted) in [
            ("nmae", json!(1), "did you mean \"name\"?"),
            ("env", json!({"N": 8}), "N: \"8\""),
            ("port", json!(70_000), "from 1 to 65535"),
            ("stop", json!({"timeout": 10}), "\"10s\""),
            ("user", Value::Null, "leave the field out"),
            ("user", json!(""), "not a name of a user"),
            ("repo", json!({"url": "/srv/a.git"}), "allow_file_repos"),
            (
                "repo",
                json!({"url": "https://h/a", "branch": "a", "tag": "b"}),
                "branch and tag",
            ),
            ("domain", json!(vec!["a"; 65]), "at most 64"),
        ] {
            let errors = errors(with(field, value));
            assert!(
                errors.iter().any(|(_, detail)| detail.contains(wanted)),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for document in [json!([]), json!("a"), Value::Null, json!(1)] {
            assert_eq!(pointers(document), [""]);
        }
        assert_eq!(pointers(json!({})), ["/name", "/repo"]);
    }

    fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let field = proptest::sample::select(FIELDS.to_vec());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}|[a-z:/@.-]{0,12}|[0-9]{1,3}(s|m|years)".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 32, 6, move |inner| {
            let key = prop_oneof![
                field.clone().prop_map(str::to_owned),
                "url|branch|tag|commit|signal|timeout|dir|prefix|interval|[a-zA-Z]{1,3}",
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics_and_every_refusal_says_why(document in any_value()) {
            if let Err(errors) = AppConfig::from_document(document, &Rules::default()) {
                assert!(!errors.is_empty() && errors.iter().all(|error| !error.detail.is_empty()));
            }
        }
    }
}
