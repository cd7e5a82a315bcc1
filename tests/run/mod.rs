//! Commands that are run beside the processes of an application, by the real command line.

mod access;
mod ends;
mod lives;
mod pipes;
mod terminal;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::command::{Finished, finish};
use crate::support::fixture::{document, web_repo};
use crate::support::repo::Repo;
use crate::support::runs::{self, is_over, verb};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// A server with the application "echo".
fn start() -> (Server, Repo) {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    (server, repo)
}

/// Runs a command of the application to its end.
#[track_caller]
fn run(server: &Server, words: &[&str]) -> Finished {
    finish(&mut verb(server, &[&["run", "echo"], words].concat()))
}

/// Starts a detached command, and returns its id.
#[track_caller]
fn detached(server: &Server, command: &str) -> String {
    let printed = run(server, &["-d", command]).success();
    printed.trim().to_owned()
}

/// A command with an input that stays open, attached.
fn attached(server: &Server, command: &str) -> Child {
    let mut program = verb(server, &["run", "echo", command]);
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    program.stderr(Stdio::piped()).spawn().unwrap()
}

/// A run as it is listed, once it is as wanted.
#[track_caller]
fn listed(server: &Server, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    runs::listed(server, id, SOON, wanted)
}

/// The pid of a run that lives.
#[track_caller]
fn pid_of(server: &Server, id: &str) -> i32 {
    let one = listed(server, id, |one| one["pid"].is_number());
    i32::try_from(one["pid"].as_i64().unwrap()).unwrap()
}

/// The id of the one run that lives.
#[track_caller]
fn only(server: &Server) -> String {
    eventually("one run lives", SOON, || {
        let all = server.get("/applications/echo/run").expect(200).json();
        let live = all.as_array()?.iter().find(|one| !is_over(one))?;
        live["pid"].as_i64()?;
        Some(live["id"].as_str()?.to_owned())
    })
}

/// Feeds `input` to a command and returns how it ended, and its output.
#[track_caller]
fn piped(mut program: Command, input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let ended = std::thread::scope(|threads| {
        threads.spawn(move || {
            // It may have ended without reading all.
            let _closed = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    });
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code(), ended.stdout, told)
}
