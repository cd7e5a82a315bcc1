//! What ends an attached command early: its client, and nobody who comes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{attached, is_over, listed, only, pid_of, start};
use crate::support::machine::{is_alive, send_signal};
use crate::support::wait::{SOON, eventually};

/// Waits for the command's first line. One whose client has not attached yet is waited for, not stopped.
#[track_caller]
fn is_up(client: &mut Child) -> BufReader<ChildStdout> {
    let mut line = String::new();
    let mut printed = BufReader::new(client.stdout.take().unwrap());
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    printed
}

#[test]
fn a_client_that_goes_away_ends_all_that_its_command_started_with_its_grace() {
    let (server, _repo) = start();
    let command = "trap 'echo asked > $STORAGE_DIR/asked; exit 3' TERM; setsid sleep 600 & echo $! > $STORAGE_DIR/child; \
                   echo up; while :; do sleep 0.05; done";
    let mut client = attached(&server, command);
    let _printed = is_up(&mut client);
    let id = only(&server);
    let pid = pid_of(&server, &id);
    let storage = server.directory().join("apps/echo/storage");
    let child: i32 = eventually("it has a child", SOON, || {
        let text = std::fs::read_to_string(storage.join("child")).ok()?;
        text.trim().parse().ok()
    });
    client.kill().unwrap();
    client.wait().unwrap();
    let one = listed(&server, &id, is_over);
    assert_eq!(one["last_exit"]["reason"], "its client went away", "{one}");
    assert_eq!(one["last_exit"]["code"], 3, "{one}");
    eventually("nothing of it is left", SOON, || {
        (!is_alive(pid) && !is_alive(child)).then_some(())
    });
    assert!(storage.join("asked").exists());
}

#[test]
fn the_end_of_one_does_not_wait_for_what_it_has_left_in_the_background() {
    let (server, _repo) = start();
    let ended = super::run(&server, &["sleep 600 & echo done"]);
    assert_eq!(ended.success(), "done\n");
}

#[test]
fn an_actor_that_panics_ends_an_attached_command_and_goes_on_with_a_detached_one() {
    let (server, _repo) = start();
    let id = super::detached(&server, "exec sleep 600");
    let pid = pid_of(&server, &id);
    server.arm("Process");
    // It wakes one of them.
    send_signal(server.ready_pid("echo", "web.1"), Signal::SIGKILL);
    eventually("an actor has panicked", SOON, || {
        server.has_fired("Process").then_some(())
    });
    server.ready_pid("echo", "web.1");
    assert_eq!(pid_of(&server, &id), pid);
    send_signal(pid, Signal::SIGKILL);
    let one = listed(&server, &id, is_over);
    assert_eq!(one["last_exit"]["signal"], 9, "{one}");
}

#[test]
fn a_session_is_taken_once() {
    let (server, _repo) = start();
    let mut client = attached(&server, "echo up; exec sleep 600");
    let _printed = is_up(&mut client);
    let id = only(&server);
    let place = format!("/applications/echo/run/{id}/attach");
    let upgrade = |fields: &[(&str, &str)]| {
        let mut request = server.request("GET", &place);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        request.send(&server.public())
    };
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ];
    let taken = upgrade(&handshake).expect(409).json();
    assert!(
        taken["detail"]
            .as_str()
            .unwrap()
            .contains("attached to run.1 already"),
        "{taken}"
    );
    upgrade(&[]).expect(400);
    let detached = super::detached(&server, "exec sleep 600");
    let place = format!("/applications/echo/run/{detached}/attach");
    let mut request = server.request("GET", &place);
    for (name, value) in handshake {
        request = request.header(name, value);
    }
    request.send(&server.public()).expect(409);
    let stopped = server.request("DELETE", &format!("/applications/echo/run/{id}"));
    assert_eq!(
        stopped.send(&server.public()).expect(202).json(),
        json!({"name": "echo", "id": id})
    );
    client.wait().unwrap();
}
