use serde_json::json;

use super::*;
use crate::document::json5::parse_document;

/// The request of the original specification, as it is printed there.
const ORIGINAL: &str = include_str!("../../../tests/conformance/original_request.json5");

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
    assert_eq!(config.install_commands().len(), 2);
    assert_eq!(config.scale["web"], 2);
    assert_eq!(config.document, document);
}

#[test]
fn hsts_is_told_in_seconds_so_it_is_written_in_whole_ones() {
    for good in ["0s", "1s", "365days"] {
        let document = with("tls", json!({"hsts": good}));
        AppConfig::from_document(document, &Rules::default()).unwrap();
    }
    for bad in ["1ms", "1500ms", "1s 1ns"] {
        let told = errors(with("tls", json!({"hsts": bad})));
        assert_eq!(told.len(), 1, "{bad}: {told:?}");
        assert!(told[0].0 == "/tls/hsts" && told[0].1.contains("whole seconds"));
    }
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
fn hosts_are_kept_as_a_labels_in_the_document_too() {
    let cable = json!({"name": "ws.example.org", "process": "cable"});
    let web = json!({"process": "web", "name": "B.example"});
    let hosts = json!(["Bücher.example", "*.Example.org.", "nas", web, cable]);
    let config = AppConfig::from_document(with("hosts", hosts), &Rules::default()).unwrap();
    let kept = json!([
        "xn--bcher-kva.example",
        "*.example.org",
        "nas",
        "b.example",
        cable
    ]);
    assert_eq!(config.document["hosts"], kept);
    let again = AppConfig::from_document(config.document.clone(), &Rules::default());
    assert_eq!(again.unwrap(), config);
    assert_eq!(config.routed(), ["web", "cable"].into());
}

#[test]
fn every_error_is_reported_with_its_pointer() {
    let document = json!({
        "nmae": "a",
        "repo": {"url": "ext::sh -c id", "branch": "-x", "ref": "a"},
        "packages": ["git", "-y", 7],
        "user": "root", "group": 0,
        "hosts": ["ok.example", "OK.example.", "ok.example:80", 7,
            {"name": "a b", "process": "release", "port": 1}, {"process": "cable"}],
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
        "/hosts/1",
        "/hosts/2",
        "/hosts/3",
        "/hosts/4/name",
        "/hosts/4/process",
        "/hosts/4/port",
        "/hosts/5/name",
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
        (
            "hosts",
            json!(["https://a.example/"]),
            "write \"a.example\"",
        ),
        (
            "hosts",
            json!(["é.example", "É.example"]),
            "\"xn--9ca.example\" is there already",
        ),
        (
            "hosts",
            json!([8]),
            "an object {name: \"…\", process: \"…\"}",
        ),
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

#[test]
fn code_that_is_pushed_has_no_url_and_a_branch() {
    let pushed = |repo: Value| json!({"name": "a", "repo": repo});
    let branch_of = |repo: Value| {
        let config = AppConfig::from_document(pushed(repo), &Rules::default()).unwrap();
        config.repo.pushed_branch().map(str::to_owned)
    };
    assert_eq!(branch_of(json!({"push": true})).as_deref(), Some("main"));
    let live = json!({"push": true, "branch": "live"});
    assert_eq!(branch_of(live).as_deref(), Some("live"));
    assert_eq!(branch_of(json!({"url": "https://h/a.git"})), None);
    for (repo, pointer) in [
        (json!({"push": true, "url": "https://h/a.git"}), "/repo/url"),
        (json!({"push": true, "tag": "v1"}), "/repo/tag"),
        (json!({"push": true, "commit": "abcdef12"}), "/repo/commit"),
        (json!({"push": true, "branch": "-x"}), "/repo/branch"),
        (json!({"push": false}), "/repo/push"),
        (json!({"push": "yes"}), "/repo/push"),
        (json!({}), "/repo/url"),
    ] {
        assert_eq!(pointers(pushed(repo.clone())), [pointer], "{repo}");
    }
}
