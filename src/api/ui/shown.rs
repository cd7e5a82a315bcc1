//! What the API answers, as far as pages show it.

mod deployments;
mod server;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::words::{plain, short};
use crate::amounts::{size, took};
use crate::tls::certificate;

pub(super) use deployments::{Deployment, Release};
pub(super) use server::{Audited, Server};

/// A line of `GET /applications`.
#[derive(Debug, Deserialize)]
pub(super) struct App {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) release: Option<u64>,
    pub(super) commit: Option<String>,
    url: Option<String>,
    memory_bytes: u64,
    pub(super) last_failure: Option<LastFailure>,
    #[serde(default)]
    pub(super) maintenance: bool,
    pub(super) paused_until: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LastFailure {
    pub(super) deployment: u64,
    pub(super) step: String,
    reason: String,
}

impl LastFailure {
    pub(super) fn reason(&self) -> String {
        plain(&self.reason)
    }
}

impl App {
    pub(super) fn commit(&self) -> &str {
        short(self.commit.as_ref())
    }

    pub(super) fn memory(&self) -> String {
        size(self.memory_bytes)
    }

    pub(super) fn url(&self) -> Option<&str> {
        of_web(self.url.as_ref())
    }
}

/// Where an application is reached. A link is one of the web, whatever a document names.
fn of_web(url: Option<&String>) -> Option<&str> {
    let is_web = |url: &&str| url.starts_with("http://") || url.starts_with("https://");
    url.map(String::as_str).filter(is_web)
}

/// `GET /applications/A/status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) state: String,
    pub(super) release: Option<u64>,
    commit: Option<String>,
    url: Option<String>,
    pub(super) deployment: Option<u64>,
    pub(super) user: Option<String>,
    pub(super) last_failure: Option<LastFailure>,
    #[serde(default)]
    pub(super) maintenance: bool,
    pub(super) paused_until: Option<String>,
    pub(super) processes: Vec<Process>,
    warnings: Vec<String>,
}

impl Status {
    pub(super) fn commit(&self) -> &str {
        short(self.commit.as_ref())
    }

    pub(super) fn url(&self) -> Option<&str> {
        of_web(self.url.as_ref())
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|text| plain(text)).collect()
    }
}

/// A process of it.
#[derive(Debug, Deserialize)]
pub(super) struct Process {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) process_type: String,
    pub(super) state: String,
    pub(super) release: u64,
    command: Option<String>,
    pid: Option<u32>,
    port: Option<u16>,
    node: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) restarts: u32,
    last_exit: Option<Value>,
    memory_bytes: u64,
    cpu_seconds: f64,
    #[serde(default)]
    last_lines: Vec<String>,
    unhealthy: Option<String>,
}

impl Process {
    /// Its pid, or the machine of the swarm that it is on, with its port there.
    pub(super) fn place(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        match (&self.node, self.pid) {
            (Some(node), _) => plain(node) + &port,
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => String::new(),
        }
    }

    pub(super) fn memory(&self) -> String {
        size(self.memory_bytes)
    }

    pub(super) fn cpu(&self) -> String {
        took(self.cpu_seconds)
    }

    pub(super) fn command(&self) -> String {
        plain(self.command.as_deref().unwrap_or_default())
    }

    pub(super) fn last_exit(&self) -> String {
        self.last_exit.as_ref().map(exit).unwrap_or_default()
    }

    pub(super) fn unhealthy(&self) -> String {
        plain(self.unhealthy.as_deref().unwrap_or_default())
    }

    pub(super) fn last_lines(&self) -> String {
        lines(&self.last_lines)
    }

    /// Whether it is one of the formation: what runs once has a command, whatever types are called.
    pub(super) fn is_of_formation(&self) -> bool {
        self.command.is_none()
    }
}

/// How a process ended, in words.
pub(super) fn exit(exit: &Value) -> String {
    let number = |name: &str| exit[name].as_i64();
    let how = match (number("code"), number("signal")) {
        _ if exit["oom"] == true => "out of memory".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) if exit.is_null() => return String::new(),
        (None, None) => "unknown".to_owned(),
    };
    match exit["reason"].as_str() {
        Some(reason) => format!("{how} ({})", plain(reason)),
        None => how,
    }
}

fn lines(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| plain(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// A line of a log.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    time: String,
    pub(super) process: String,
    pub(super) stream: String,
    text: String,
}

impl Line {
    /// The time of day, in UTC.
    pub(super) fn time(&self) -> &str {
        self.time.get(11..23).unwrap_or(&self.time)
    }

    pub(super) fn text(&self) -> String {
        plain(&self.text)
    }
}

/// The document of an application, as far as pages show it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) env: Map<String, Value>,
    #[serde(default)]
    pub(super) hosts: Vec<Value>,
    #[serde(default)]
    pub(super) domain: Vec<String>,
    #[serde(default)]
    pub(super) scale: BTreeMap<String, u32>,
    #[serde(default)]
    pub(super) repo: Value,
}

/// The name in an entry of `hosts`, which is the name alone or has a process type beside it.
pub(super) fn host_name(entry: &Value) -> &str {
    let name = entry["name"].as_str().or(entry.as_str());
    name.unwrap_or_default()
}

/// A line of `GET /certificates`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Certificate {
    #[serde(default)]
    pub(super) names: Vec<String>,
    pub(super) issuer: Option<String>,
    pub(super) source: String,
    pub(super) not_after: Option<Timestamp>,
    pub(super) state: String,
    error: Option<String>,
}

impl Certificate {
    pub(super) fn names(&self) -> String {
        self.names.join(", ")
    }

    pub(super) fn issuer(&self) -> String {
        plain(self.issuer.as_deref().unwrap_or_default())
    }

    pub(super) fn error(&self) -> String {
        plain(self.error.as_deref().unwrap_or_default())
    }

    /// The name by which it can be renewed.
    pub(super) fn renewable(&self) -> Option<&str> {
        (self.source == "acme").then(|| self.names.first().map(String::as_str))?
    }

    /// Whether it is for this host.
    pub(super) fn covers(&self, host: &str) -> bool {
        certificate::covers(&self.names, host)
    }
}

/// A line of `GET /applications/A/cron`.
#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) schedule: String,
    pub(super) timezone: Option<String>,
    command: String,
    pub(super) next: Option<Timestamp>,
    pub(super) runs: Vec<Run>,
}

impl Job {
    pub(super) fn command(&self) -> String {
        plain(&self.command)
    }
}

/// A line of `GET /applications/A/run`, or a run of a job.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) id: String,
    command: String,
    pub(super) state: String,
    pub(super) release: u64,
    pub(super) started_at: Timestamp,
    last_exit: Option<Value>,
    seconds: Option<f64>,
}

impl Run {
    pub(super) fn command(&self) -> String {
        plain(&self.command)
    }

    pub(super) fn ended(&self) -> String {
        self.last_exit.as_ref().map(exit).unwrap_or_default()
    }

    pub(super) fn took(&self) -> String {
        self.seconds.map(took).unwrap_or_default()
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == "finished"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_a_process_ended_is_told_with_the_reason() {
        let reason = "sh: 1: \u{1b}[1mrils: not found";
        let failed = json!({ "code": 127, "signal": null, "reason": reason });
        assert_eq!(exit(&failed), "exit code 127 (sh: 1: rils: not found)");
        assert_eq!(exit(&json!({ "code": null, "signal": 9 })), "signal 9");
        assert_eq!(exit(&Value::Null), "");
    }

    #[test]
    fn a_process_of_a_swarm_is_shown_with_its_machine_and_another_with_its_pid() {
        let place = |extra: Value| {
            let mut process = json!({
                "id": "web.1", "type": "web", "state": "ready", "release": 1, "restarts": 0,
                "memory_bytes": 0, "cpu_seconds": 0.0,
            });
            let extra = extra.as_object().cloned().unwrap_or_default();
            process.as_object_mut().unwrap().extend(extra);
            serde_json::from_value::<Process>(process).unwrap().place()
        };
        assert_eq!(place(json!({"pid": 7, "port": 8001})), "pid 7");
        assert_eq!(
            place(json!({"node": "node1", "port": 32768})),
            "node1:32768"
        );
        assert_eq!(place(json!({"node": "node1"})), "node1");
        assert_eq!(place(json!({})), "");
    }

    #[test]
    fn a_host_has_a_name_whatever_else_it_has() {
        let hosts = json!(["a.example", {"name": "ws.example", "process": "cable"}, 1]);
        let document: Document = serde_json::from_value(json!({ "hosts": hosts })).unwrap();
        let names: Vec<&str> = document.hosts.iter().map(host_name).collect();
        assert_eq!(names, ["a.example", "ws.example", ""]);
    }
}
