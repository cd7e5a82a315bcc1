//! Drains: the logs of real processes go to real receivers, which are slow, go away and come back.

mod endings;
mod outages;
mod posted;
pub(crate) mod receiver;
mod settings;
mod syslog;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, with};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Many lines on a busy machine, and delays of some tries.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// An application that writes lines when it is told to.
fn lines_repo() -> Repo {
    Repo::new(&[
        ("Procfile", "lines: exec python3 lines.py\n"),
        ("lines.py", include_str!("lines.py")),
    ])
}

/// Deploys it with these drains.
fn deploy(server: &Server, repo: &Repo, drains: Value) {
    server.deploy(&with(document("noisy", repo), json!({ "drains": drains })));
}

/// Lets it write all lines up to this one.
fn write_up_to(server: &Server, number: u64) {
    let storage = server.directory().join("apps/noisy/storage");
    let new = storage.join("wanted.new");
    std::fs::write(&new, number.to_string()).unwrap();
    std::fs::rename(new, storage.join("wanted")).unwrap();
}

/// Waits until its log has this line.
fn logged(server: &Server, number: u64) {
    eventually("the line is in the log", LONG, || {
        let last = server.get("/applications/noisy/logs?tail=1").text();
        last.trim_end()
            .ends_with(&format!("line {number}"))
            .then_some(())
    });
}

/// Its only drain, once this is so.
#[track_caller]
fn drain_is(server: &Server, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, LONG, || {
        let drain = server.status("noisy")["drains"][0].clone();
        is(&drain).then_some(drain)
    })
}

/// Waits until nothing is left to send.
#[track_caller]
fn all_is_sent(server: &Server) -> Value {
    drain_is(server, "all lines are sent", |drain| {
        drain["waiting"] == 0 && drain["sent"].as_u64() > Some(0) && drain["state"] == "sending"
    })
}

pub(crate) fn run(server: &Server, arguments: &[&str]) -> Finished {
    let mut command = procserver();
    command.env("PROCSERVER_URL", server.url());
    command.env("PROCSERVER_TOKEN", server.token());
    finish(command.args(arguments))
}

/// The numbers of the lines in what a receiver has.
fn numbers<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<u64> {
    let number = |line: &str| line.rsplit_once("line ")?.1.parse().ok();
    lines.into_iter().filter_map(number).collect()
}
