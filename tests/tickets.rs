//! Who waits for something that takes time is answered, whatever becomes of it.

use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Response;
use crate::support::machine::processes_of;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// A server with the app `echo`, whose next deploy builds until its storage holds `go`.
fn building() -> (Server, Repo) {
    let (server, repo) = (Server::start(), web_repo("1"));
    let build = "touch $STORAGE_DIR/began; until [ -e $STORAGE_DIR/go ]; do sleep 0.02; done";
    server.deploy(&document("echo", &repo));
    let document = with(document("echo", &repo), json!({ "install": [build] }));
    server
        .send("PUT", "/applications/echo", &document)
        .expect(202);
    eventually("it builds", SOON, || {
        let began = server.directory().join("apps/echo/storage/began");
        began.exists().then_some(())
    });
    (server, repo)
}

fn go(server: &Server) {
    std::fs::write(server.directory().join("apps/echo/storage/go"), "").unwrap();
}

/// A call that waits for its end, from a thread of its own; an error when there was no answer at all.
type Waiter = JoinHandle<std::io::Result<Response>>;

fn wait(server: &Server, method: &str, target: &str, body: &Value) -> Waiter {
    let request = server.request(method, target).header("Prefer", "wait=60");
    let (request, server) = (request.body(body.to_string()), server.public());
    std::thread::spawn(move || request.try_send(&server))
}

/// Waits until deployment `id` has this state.
#[track_caller]
fn is(server: &Server, id: u64, state: &str) {
    let target = format!("/applications/echo/deployments/{id}");
    eventually(&format!("deployment {id} is {state}"), SOON, || {
        (server.get(&target).json()["state"] == state).then_some(())
    });
}

#[track_caller]
fn answered(waiter: Waiter, status: u16, words: &str) {
    let answer = waiter.join().unwrap().expect("an answer");
    let text = answer.expect(status).text();
    assert!(text.contains(words), "no \"{words}\" in {text}");
}

#[test]
fn one_that_is_superseded_and_the_one_that_takes_its_place() {
    let (server, _repo) = building();
    let older = wait(&server, "POST", "/applications/echo/redeploy", &Value::Null);
    is(&server, 3, "waiting");
    let scale = json!({ "scale": { "web": 2 } });
    let newer = wait(&server, "PATCH", "/applications/echo", &scale);
    is(&server, 3, "superseded");
    go(&server);
    // What it asked for was done, by the newer one.
    answered(older, 200, r#""overtaken":{"deployment":3,"by":4}"#);
    answered(newer, 200, "running");
    server.ready_pid("echo", "web.2");
}

#[test]
fn those_that_are_cancelled_at_work_and_waiting() {
    let (server, _repo) = building();
    let waiting = wait(&server, "POST", "/applications/echo/redeploy", &Value::Null);
    is(&server, 3, "waiting");
    let cancel = |id: u64| {
        let target = format!("/applications/echo/deployments/{id}/cancel");
        server.send("POST", &target, &Value::Null).expect(202);
    };
    cancel(3);
    answered(waiting, 409, "deployment 3 was cancelled");
    cancel(2);
    is(&server, 2, "cancelled");
    server.visit("/echo/").expect(200);
}

#[test]
fn those_whose_app_is_stopped_or_removed_meanwhile() {
    for (method, target, words) in [
        ("POST", "/applications/echo/stop", "was stopped"),
        ("DELETE", "/applications/echo", "is being removed"),
    ] {
        let (server, _repo) = building();
        let redeploy = wait(&server, "POST", "/applications/echo/redeploy", &Value::Null);
        is(&server, 3, "waiting");
        let end = wait(&server, method, target, &Value::Null);
        answered(redeploy, 409, words);
        answered(end, 200, "echo");
        assert_eq!(processes_of(server.directory()).len(), 1);
    }
}

#[test]
fn those_whose_app_supervisor_panics() {
    if !cfg!(debug_assertions) {
        return crate::support::machine::skip("a panic", "there are no failpoints in this build");
    }
    let (server, _repo) = building();
    let waiter = wait(&server, "POST", "/applications/echo/redeploy", &Value::Null);
    is(&server, 3, "waiting");
    server.arm("App");
    // Whatever is told to it wakes it.
    let _any = server
        .request("GET", "/applications/echo/status")
        .try_send(&server.public());
    answered(waiter, 503, "restarted before this ended");
    for id in [2, 3] {
        is(&server, id, "interrupted");
    }
    server.ready_pid("echo", "web.1");
    server.visit("/echo/").expect(200);
}

#[test]
fn one_that_waits_for_a_removal_during_which_the_supervisor_panics() {
    if !cfg!(debug_assertions) {
        return crate::support::machine::skip("a panic", "there are no failpoints in this build");
    }
    for keep in [false, true] {
        let (server, repo) = (Server::start(), web_repo("1"));
        // It takes a second to stop.
        let web = "web: trap 'sleep 1; exit 0' TERM; python3 web.py & wait; wait\n";
        repo.commit(&[("Procfile", web)]);
        server.deploy(&document("echo", &repo));
        let storage = server.directory().join("apps/echo/storage");
        std::fs::write(storage.join("kept"), "").unwrap();
        let target = match keep {
            true => "/applications/echo?keep=storage",
            false => "/applications/echo",
        };
        let waiter = wait(&server, "DELETE", target, &Value::Null);
        eventually("it stops", SOON, || {
            server.log().contains("process.stopping").then_some(())
        });
        server.arm("App");
        answered(waiter, 200, "echo");
        assert!(server.has_fired("App"));
        assert_eq!(storage.join("kept").exists(), keep);
        assert!(!server.directory().join("apps/echo/releases").exists());
        assert_eq!(processes_of(server.directory()).len(), 1);
    }
}

#[test]
fn a_removal_that_keeps_the_storage_does_so_also_when_the_next_server_finishes_it() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    let web = "web: trap 'sleep 5; exit 0' TERM; python3 web.py & wait; wait\n";
    repo.commit(&[("Procfile", web)]);
    server.deploy(&document("echo", &repo));
    let storage = server.directory().join("apps/echo/storage");
    std::fs::write(storage.join("kept"), "").unwrap();
    let delete = server.request("DELETE", "/applications/echo?keep=storage");
    delete.send(&server.public()).expect(202);
    let state = server.directory().join("apps/echo/state.json");
    eventually("it is written down", SOON, || {
        let text = std::fs::read_to_string(&state).ok()?;
        text.contains("\"removed\"").then_some(())
    });
    server.kill();
    server.start_again();
    eventually("all else is gone", SOON, || (!state.exists()).then_some(()));
    assert!(storage.join("kept").exists());
    server.get("/applications/echo").expect(404);
    assert_eq!(processes_of(server.directory()).len(), 1);
}

#[test]
fn those_whose_server_is_told_to_end() {
    let (mut server, _repo) = building();
    let waiter = wait(&server, "POST", "/applications/echo/redeploy", &Value::Null);
    is(&server, 3, "waiting");
    server.terminate();
    let answer = waiter.join().unwrap().expect("an answer");
    assert!([409, 503].contains(&answer.status), "{}", answer.text());
    server.start_again();
    for id in [2, 3] {
        is(&server, id, "interrupted");
    }
    server.ready_pid("echo", "web.1");
}
