//! From the document as typed to the [`AppConfig`] that is true: which fields there are, and what each must be (pure).

mod cron;
mod engine;
mod health_check;
mod hosts;
mod limits;
mod policies;
mod previews;
mod receivers;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::buffering::Buffering;
use super::by_type::ByType;
use super::config::{
    AppConfig, FieldError, Origin, Reference, Repo, Rules, StaticFiles, StopPolicy, StopTo,
    Strategy,
};
use super::host_entry::HostEntry;
use super::https::Https;
use super::name::AppName;
use super::package::package;
use super::repository_url;
use super::rules as rules_of;
use super::shell::Shell;
use super::walk::{Object, Walk, expected, number};
use crate::supervision::Restart;

pub(super) use previews::EXPIRES;

/// Fields of a document.
pub(super) const FIELDS: [&str; 44] = [
    "name",
    "engine",
    "repo",
    "packages",
    "user",
    "group",
    "sandbox",
    "hosts",
    "domain",
    "shell",
    "install",
    "cache",
    "shared",
    "scale",
    "env",
    "path",
    "strip_path",
    "port",
    "health_check",
    "stop",
    "drain",
    "sleep",
    "static",
    "buffer",
    "tls",
    "restart",
    "strategy",
    "cron",
    "limits",
    "previews",
    "preview",
    "drains",
    "notify",
    "keep_releases",
    "maintenance",
    "allow",
    "rate",
    "auth",
    "redirects",
    "headers",
    "timeouts",
    "body",
    "upstream_keep_alive",
    "sticky",
];

const NAMES: &str = "a list of names, [\"…\"]";

const MAX_PACKAGES: usize = 256;
const MAX_COMMANDS: usize = 256;
const MAX_CACHES: usize = 32;
const MAX_SHARED: usize = 32;
const MAX_TYPES: usize = 64;
const MAX_VARIABLES: usize = 1024;

const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
const SLEEP: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(365 * 86_400);
const HSTS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10 * 365 * 86_400);
const DRAIN: Duration = Duration::from_secs(30);

impl AppConfig {
    /// Checks `document` against the rules and takes it as true. Names in `hosts` become A-labels in it.
    ///
    /// # Errors
    /// Every field that is wrong, unknown ones included.
    pub fn from_document(mut document: Value, rules: &Rules) -> Result<Self, Vec<FieldError>> {
        let mut walk = Walk::default();
        match read_fields(&mut walk, &document, rules) {
            Some(config) if walk.errors.is_empty() => {
                if !config.hosts.is_empty() {
                    document["hosts"] = config.hosts.iter().map(HostEntry::to_value).collect();
                }
                Ok(Self { document, ..config })
            }
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
        engine: engine::read_engine(walk, &top, rules),
        packages: walk.list(&top, "packages", MAX_PACKAGES, package),
        user: walk.text(&top, "user", account),
        group: walk.text(&top, "group", account),
        sandbox: walk.flag(&top, "sandbox", true),
        hosts: hosts::read_hosts(walk, &top),
        domain: hosts::read_domain(walk, &top),
        shell: walk.text(&top, "shell", Shell::parse).unwrap_or_default(),
        install: read_if_named(walk, &top, "install", MAX_COMMANDS, rules_of::command),
        cache: read_if_named(walk, &top, "cache", MAX_CACHES, rules_of::cache),
        shared: read_shared(walk, &top),
        scale: walk.map(&top, "scale", MAX_TYPES, read_quantity),
        env: walk.map(&top, "env", MAX_VARIABLES, read_variable),
        path: walk.flag(&top, "path", true),
        strip_path: walk.flag(&top, "strip_path", true),
        port: walk
            .number(&top, "port", 1..=65_535)
            .and_then(|port| u16::try_from(port).ok()),
        health_check: health_check::read_health_check(walk, &top),
        stop: read_stop(walk, &top),
        drain: walk.duration(&top, "drain", GRACE, DRAIN),
        sleep: walk.optional(&top, "sleep", SLEEP, Walk::duration),
        static_files: read_static(walk, &top),
        buffer: read_buffer(walk, &top),
        tls: read_tls(walk, &top),
        restart: read_by_type(walk, &top, "restart", restart),
        strategy: read_by_type(walk, &top, "strategy", strategy),
        cron: cron::read_cron(walk, &top),
        limits: limits::read_limits(walk, &top),
        policies: policies::read_policies(walk, &top, name.as_ref().map(AppName::as_str)),
        previews: previews::read_previews(walk, &top),
        preview: previews::read_preview(walk, &top),
        drains: receivers::read_drains(walk, &top),
        notify: receivers::read_notify(walk, &top),
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

/// A list; `None`: the document does not name it.
fn read_if_named(
    walk: &mut Walk,
    top: &Object<'_>,
    field: &str,
    max: usize,
    parse: fn(&str) -> Result<String, String>,
) -> Option<Vec<String>> {
    top.get(field)?;
    Some(walk.list(top, field, max, parse))
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
        let detail = "is required: {url: \"https://…\"} says where the code comes from, {push: true} that it is pushed here";
        walk.report(top.pointer("repo"), detail);
        return None;
    };
    let fields = ["url", "push", "branch", "tag", "commit", "dir"];
    let repo = walk.object(value, top.pointer("repo"), &fields)?;
    if repo.get("push").is_some() {
        return read_pushed(walk, &repo);
    }
    if repo.get("url").is_none() {
        walk.report(
            repo.pointer("url"),
            "is required: the URL of a git repository; or {push: true}, where the code is pushed to this server",
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
    let dir = walk.text(&repo, "dir", rules_of::relative_directory);
    Some(Repo {
        origin: Origin::Url(url?),
        reference,
        dir,
    })
}

/// The branch that is deployed when it is pushed, where the document names none: git's own default by now.
const PUSHED_BRANCH: &str = "main";

/// A repository of the server's own, to which the code is pushed.
fn read_pushed(walk: &mut Walk, repo: &Object<'_>) -> Option<Repo> {
    if !walk.flag(repo, "push", true) {
        let detail = "must be true, where the code is pushed to this server; else leave it out, and give a url";
        walk.report(repo.pointer("push"), detail);
    }
    for field in ["url", "tag", "commit"] {
        if repo.get(field).is_some() {
            let detail = format!(
                "cannot be there beside push: the code is what is pushed to the branch, \"{PUSHED_BRANCH}\" unless branch names another"
            );
            walk.report(repo.pointer(field), detail);
        }
    }
    let branch = walk.text(repo, "branch", rules_of::git_ref);
    Some(Repo {
        origin: Origin::Push,
        reference: Reference::Branch(branch.unwrap_or_else(|| PUSHED_BRANCH.to_owned())),
        dir: walk.text(repo, "dir", rules_of::relative_directory),
    })
}

fn read_shared(walk: &mut Walk, top: &Object<'_>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    walk.items(top, "shared", (NAMES, MAX_SHARED), |walk, item, pointer| {
        let dir = walk.parse_text(item, pointer.clone(), rules_of::shared_directory)?;
        let is_in = |one: &str, other: &str| {
            one.strip_prefix(other)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let other = known.iter().find(|o| is_in(&dir, o) || is_in(o, &dir));
        if let Some(other) = other {
            walk.report(
                pointer,
                format!("\"{dir}\" and \"{other}\" are in each other: name one"),
            );
            return None;
        }
        known.push(dir.clone());
        Some(dir)
    })
}

fn read_quantity(name: &str, value: &Value) -> Result<u32, String> {
    rules_of::process_type(name)?;
    let quantity = number(value, 0..=100)?;
    u32::try_from(quantity).map_err(|error| error.to_string())
}

pub(super) fn read_variable(name: &str, value: &Value) -> Result<String, String> {
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

fn read_tls(walk: &mut Walk, top: &Object<'_>) -> Https {
    let default = Https::default();
    let Some(tls) = walk.child(top, "tls", &["redirect", "hsts", "acme", "http2"]) else {
        return default;
    };
    Https {
        redirect: walk.flag(&tls, "redirect", default.redirect),
        hsts: walk.seconds(&tls, "hsts", HSTS, default.hsts),
        acme: walk.flag(&tls, "acme", default.acme),
        http2: walk.flag(&tls, "http2", default.http2),
    }
}

/// A word that `parse` takes, or an object of such words by process type.
fn read_by_type<T: Copy + Default + PartialEq, E: Display>(
    walk: &mut Walk,
    top: &Object<'_>,
    field: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> ByType<T> {
    match top.get(field) {
        Some(Value::Object(_)) => ByType::named(walk.map(top, field, MAX_TYPES, |name, value| {
            rules_of::process_type(name)?;
            let Value::String(text) = value else {
                return Err(expected("a string", value));
            };
            parse(text).map_err(|error| error.to_string())
        })),
        Some(Value::String(_)) => ByType::all(walk.text(top, field, parse).unwrap_or_default()),
        Some(other) => {
            let wanted = "a string, or an object by process type, {\"worker\": \"…\"}";
            walk.report(top.pointer(field), expected(wanted, other));
            ByType::default()
        }
        None => ByType::default(),
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
mod tests;
