//! What runs once on a swarm: commands that people run, and jobs at set times. It is as on this machine.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::with;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// The program at the server's Unix socket, with these words.
fn verb(server: &Server, words: &[&str]) -> Command {
    let mut program = procserver();
    program.args(words).env(
        "PROCSERVER_URL",
        format!("unix:{}", server.socket().display()),
    );
    program
}

/// Runs a command of the application to its end.
#[track_caller]
fn run(server: &Server, words: &[&str]) -> Finished {
    finish(verb(server, &[&["run", "echo"], words].concat()).stdin(Stdio::null()))
}

/// Starts a detached command, and returns its id.
#[track_caller]
fn detached(server: &Server, words: &[&str]) -> String {
    let printed = run(server, &[&["-d"], words].concat()).success();
    printed.trim().to_owned()
}

/// A run as it is listed, once it is as wanted.
#[track_caller]
fn listed(server: &Server, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{id} is as wanted"), LONG, || {
        let place = format!("/applications/echo/run/{id}");
        let answer = server.request("GET", &place).try_send(&server.public());
        let one = answer.ok().filter(|a| a.status == 200)?.json();
        wanted(&one).then_some(one)
    })
}

fn is_over(one: &Value) -> bool {
    one["state"] == "finished"
}

/// Waits until no job is left on the swarm.
#[track_caller]
fn nothing_is_left(engines: &Engines) {
    eventually("no job is left on the swarm", LONG, || {
        let format = "{{.Name}}";
        let names = engines.docker(1, &["service", "ls", "--format", format]);
        (!names.lines().any(|name| name.starts_with("job-"))).then_some(())
    });
}

/// The application with one web process.
fn deploy(server: &Server, repo: &crate::support::repo::Repo, extra: Value) {
    let one = with(app(repo), json!({ "scale": { "web": 1, "worker": 0 } }));
    done(server, "POST", "/applications", Some(&with(one, extra)));
    kept_base::keep(server.directory());
    ready(server, &["web.1"]);
}

#[test]
fn a_command_runs_once_on_a_swarm_as_on_this_machine() {
    let Some(engines) = Engines::start(2, "a command runs once on a swarm") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    deploy(&server, &repo, json!({}));
    let began = std::time::Instant::now();
    let printed = run(&server, &["echo out; printf err >&2; exit 7"]);
    eprintln!("{:?} {printed:?}", began.elapsed());
    assert_eq!(
        (
            printed.code,
            printed.stdout.as_str(),
            printed.stderr.as_str()
        ),
        (Some(7), "out\n", "err"),
        "{}", server.log()
    );
    nothing_is_left(&engines);
}
