//! Commands that are run beside the processes of the application "echo", as they are asked for and listed.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::command::procserver;
use super::server::Server;
use super::wait::eventually;

/// The program at the server's Unix socket, with these words.
pub(crate) fn verb(server: &Server, words: &[&str]) -> Command {
    let mut program = procserver();
    let socket = format!("unix:{}", server.socket().display());
    program.args(words).env("PROCSERVER_URL", socket);
    program
}

/// A run as it is listed, once it is as wanted.
#[track_caller]
pub(crate) fn listed(
    server: &Server,
    id: &str,
    limit: Duration,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    eventually(&format!("{id} is as wanted"), limit, || {
        let place = format!("/applications/echo/run/{id}");
        let answer = server.request("GET", &place).try_send(&server.public());
        let one = answer.ok().filter(|a| a.status == 200)?.json();
        wanted(&one).then_some(one)
    })
}

pub(crate) fn is_over(one: &Value) -> bool {
    one["state"] == "finished"
}
