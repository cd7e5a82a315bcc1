//! The document that flags describe, but for what the proxy does by itself ([`super::policies`]).

use serde_json::{Map, Value, json};

use super::CreateArgs;
use crate::cli::document::put;
use crate::cli::set;
use crate::document::host_entry::HostEntry;

/// A document as it grows. What was not said is not put there.
#[derive(Default)]
struct Document(Map<String, Value>);

impl Document {
    fn put(&mut self, path: [&str; 2], value: Option<Value>) {
        put(&mut self.0, path, value);
    }

    fn text(&mut self, path: [&str; 2], text: &Option<String>) {
        self.put(path, text.clone().map(Value::from));
    }

    fn list<V: Into<Value> + Clone>(&mut self, path: [&str; 2], list: &[V]) {
        self.put(path, (!list.is_empty()).then(|| Value::from(list.to_vec())));
    }

    /// Puts what `flag` says there if it was given.
    fn flag(&mut self, path: [&str; 2], flag: bool, says: bool) {
        self.put(path, flag.then_some(says.into()));
    }

    fn receivers(&mut self, field: &str, urls: &[String]) {
        let entries: Vec<_> = urls.iter().map(|url| json!({ "url": url })).collect();
        self.list(["", field], &entries);
    }
}

/// What the flags say, with these `variables`.
pub(super) fn document(args: &CreateArgs, variables: Map<String, Value>) -> Value {
    let mut document = Document::default();
    document.put(["", "name"], Some(Value::from(args.target.clone())));
    code(&mut document, args);
    route(&mut document, args, variables);
    processes(&mut document, args);
    others(&mut document, args);
    Value::Object(document.0)
}

/// Where the code comes from, as whom it runs, and what is made of it.
fn code(document: &mut Document, args: &CreateArgs) {
    document.text(["repo", "url"], &args.repo);
    document.flag(["repo", "push"], args.push, true);
    document.text(["repo", "branch"], &args.branch);
    document.text(["repo", "tag"], &args.tag);
    document.text(["repo", "commit"], &args.commit);
    document.text(["repo", "dir"], &args.repo_dir);
    document.list(["", "packages"], &args.package);
    document.text(["", "engine"], &args.engine);
    document.text(["", "user"], &args.user);
    document.text(["", "group"], &args.group);
    let hosts: Vec<_> = args.host.iter().map(HostEntry::to_value).collect();
    document.list(["", "hosts"], &hosts);
    document.list(["", "domain"], &args.domain);
    document.text(["", "shell"], &args.shell);
    document.list(["", "install"], &args.install);
    if args.no_install {
        document.put(["", "install"], Some(Value::Array(vec![])));
    }
    document.list(["", "cache"], &args.cache);
    document.list(["", "shared"], &args.shared);
}

/// How many processes there are, what they are given, and how they are reached.
fn route(document: &mut Document, args: &CreateArgs, variables: Map<String, Value>) {
    for (process_type, number) in &args.scale {
        document.put(["scale", process_type], Some(Value::from(*number)));
    }
    let variables = (!variables.is_empty()).then_some(Value::Object(variables));
    document.put(["", "env"], variables);
    document.flag(["", "sandbox"], args.no_sandbox, false);
    document.put(["", "port"], args.port.map(Value::from));
    document.flag(["", "path"], args.no_path, false);
    document.flag(["", "strip_path"], args.no_strip_path, false);
    document.text(["health_check", "path"], &args.health_path);
    document.text(["health_check", "host"], &args.health_host);
    document.text(["health_check", "status"], &args.health_status);
    let fields = args.health_header.iter();
    let fields: Map<String, Value> = fields.map(|(n, v)| (n.clone(), v.clone().into())).collect();
    let fields = (!fields.is_empty()).then_some(Value::Object(fields));
    document.put(["health_check", "headers"], fields);
    document.text(["health_check", "boot_timeout"], &args.boot_timeout);
}

/// How processes end, and come again.
fn processes(document: &mut Document, args: &CreateArgs) {
    document.text(["stop", "signal"], &args.stop_signal);
    document.text(["stop", "to"], &args.stop_to);
    document.text(["stop", "timeout"], &args.stop_timeout);
    document.text(["", "drain"], &args.drain);
    document.text(["", "sleep"], &args.sleep);
    document.flag(["buffer", "requests"], args.no_buffer_requests, false);
    document.flag(["buffer", "responses"], args.no_buffer_responses, false);
    document.text(["static", "dir"], &args.static_dir);
    document.text(["static", "prefix"], &args.static_prefix);
    document.flag(["static", "spa"], args.spa, true);
    document.text(["static", "cache_control"], &args.cache_control);
    let of_types = [("restart", &args.restart), ("strategy", &args.strategy)];
    for (field, choices) in of_types {
        for (process_type, choice) in choices {
            document.put(typed(field, process_type), Some(choice.clone().into()));
        }
    }
}

fn others(document: &mut Document, args: &CreateArgs) {
    document.list(["", "cron"], &args.cron);
    document.receivers("drains", &args.log_drain);
    document.receivers("notify", &args.notify);
    document.put(["", "keep_releases"], args.keep_releases.map(Value::from));
    document.text(["limits", "disk"], &args.disk);
}

/// Puts the limits of each process there, and those by type beside them.
pub(super) fn put_limits(document: &mut Value, args: &CreateArgs) {
    let given = [
        ("memory", &args.memory),
        ("cpu", &args.cpu),
        ("tasks", &args.tasks),
        ("files", &args.files),
    ];
    for (limit, choices) in given {
        for (process_type, text) in choices {
            let path = match process_type.as_str() {
                "" => format!("limits.{limit}"),
                name => format!("limits.{name}.{limit}"),
            };
            set::put(document, &path, set::value(&path, text));
        }
    }
}

/// Where a choice for a process type stands, or for all of them ("").
fn typed<'a>(field: &'a str, process_type: &'a str) -> [&'a str; 2] {
    match process_type {
        "" => ["", field],
        name => [field, name],
    }
}
