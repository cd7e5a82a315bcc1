//! Detached: in the log, over the death of the server, and through deploys.

use serde_json::json;

use super::{detached, is_over, listed, pid_of, run, start, verb};
use crate::support::command::finish;
use crate::support::fixture::with;
use crate::support::machine::is_alive;
use crate::support::wait::{SOON, eventually};

#[test]
fn a_detached_command_is_in_the_log_is_listed_and_is_ended_by_its_id() {
    let (server, _repo) = start();
    let id = detached(&server, "echo printed; exec sleep 600");
    assert_eq!(id, "run.1");
    eventually("its output is in the log", SOON, || {
        let log = finish(&mut verb(&server, &["logs", "echo", "-p", &id])).success();
        log.contains("run.1 | printed").then_some(())
    });
    let pid = pid_of(&server, &id);
    let shown = finish(&mut verb(&server, &["ps", "echo"])).success();
    assert!(shown.contains("run.1"), "{shown}");
    assert_eq!(
        server.process("echo", "run.1")["command"],
        "echo printed; exec sleep 600"
    );
    finish(&mut verb(&server, &["stop", "echo", "-p", &id])).success();
    let one = listed(&server, &id, is_over);
    assert_eq!(one["last_exit"]["signal"], 15, "{one}");
    eventually("it is gone", SOON, || (!is_alive(pid)).then_some(()));
    let again = finish(&mut verb(&server, &["stop", "echo", "-p", &id]));
    assert!(
        again.code == Some(1) && again.stderr.contains("no run.1"),
        "{again:?}"
    );
    let shown = run(&server, &[]).success();
    assert!(shown.contains("signal 15"), "{shown}");
    server.ready_pid("echo", "web.1");
}

#[test]
fn the_next_server_goes_on_with_it_its_log_and_its_time_limit() {
    let (mut server, _repo) = start();
    let go = server.directory().join("apps/echo/storage/go");
    let waits =
        "echo one; until [ -e $STORAGE_DIR/go ]; do sleep 0.05; done; echo two; exec sleep 600";
    let id = detached(&server, waits);
    let limited = run(&server, &["-d", "--timeout", "2s", "--", "sleep", "600"]).success();
    let pid = pid_of(&server, &id);
    server.kill();
    server.start_again();
    assert_eq!(pid_of(&server, &id), pid);
    std::fs::write(go, "").unwrap();
    eventually("both lines are in the log", SOON, || {
        let log = server.get("/applications/echo/logs/stdout?process=run.1&tail=all");
        let log = log.expect(200).text();
        (log.contains("one") && log.contains("two")).then_some(())
    });
    let over = listed(&server, limited.trim(), is_over);
    assert_eq!(
        over["last_exit"]["reason"], "its timeout was over",
        "{over}"
    );
    // A number is never given twice.
    assert_eq!(detached(&server, "true"), "run.3");
    // One that ends while there is no server is known to have ended.
    server.kill();
    crate::support::machine::send_signal(pid, nix::sys::signal::Signal::SIGKILL);
    server.start_again();
    listed(&server, &id, is_over);
}

#[test]
fn a_deploy_leaves_it_in_its_release_which_stays_and_stop_ends_it() {
    let (server, repo) = start();
    server
        .send_and_wait("PATCH", "/applications/echo", &json!({"keep_releases": 1}))
        .expect(200);
    let id = detached(&server, "exec sleep 600");
    let pid = pid_of(&server, &id);
    for version in ["2", "3"] {
        repo.commit(&[("VERSION", version)]);
        server.act("echo", "redeploy").expect(200);
    }
    assert_eq!(pid_of(&server, &id), pid);
    let release = server.directory().join("apps/echo/releases/1");
    assert!(release.join("VERSION").exists());
    assert_eq!(run(&server, &["cat VERSION"]).success(), "3");
    server.act("echo", "stop").expect(200);
    listed(&server, &id, is_over);
    eventually("its release goes", SOON, || {
        (!release.exists()).then_some(())
    });
    // Who repairs something stops the application first.
    assert_eq!(run(&server, &["cat VERSION"]).success(), "3");
}

#[test]
fn twenty_run_at_once_and_one_too_many_is_refused_with_what_to_do() {
    let (server, _repo) = start();
    let start = |command: &str| {
        let wish = json!({"command": command, "detach": true});
        server.send("POST", "/applications/echo/run", &wish)
    };
    for _ in 0..32 {
        start("exec sleep 600").expect(201);
    }
    let refused = start("true").expect(429).json();
    let told = refused["detail"].as_str().unwrap();
    assert!(
        told.contains("32") && told.contains("procserver stop echo -p"),
        "{told}"
    );
    let all = server.get("/applications/echo/run").expect(200).json();
    let pids = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["pid"].as_i64());
    let pids: Vec<_> = pids.map(Option::unwrap).collect();
    assert_eq!(pids.len(), 32);
    server
        .request("DELETE", "/applications/echo")
        .header("Prefer", "wait=50")
        .send(&server.public())
        .expect(200);
    let alive = pids
        .iter()
        .filter(|pid| is_alive(i32::try_from(**pid).unwrap()));
    assert_eq!(alive.count(), 0, "a removal ends them");
}

#[test]
fn what_cannot_be_run_is_refused_by_name_and_changes_nothing() {
    let (server, repo) = start();
    let start = |app: &str, wish| server.send("POST", &format!("/applications/{app}/run"), &wish);
    let wrong = start("echo", json!({"comand": "id", "tty": 1}))
        .expect(422)
        .json();
    let pointers: Vec<_> = wrong["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].clone())
        .collect();
    assert_eq!(pointers, ["/comand", "/command", "/tty"]);
    start("none", json!({"command": "id"})).expect(404);
    let broken = with(
        crate::support::fixture::document("broken", &repo),
        json!({"install": ["false"]}),
    );
    server
        .send_and_wait("POST", "/applications", &broken)
        .expect(422);
    let none = start("broken", json!({"command": "id"})).expect(409).json();
    assert!(
        none["detail"].as_str().unwrap().contains("no release yet"),
        "{none}"
    );
    assert_eq!(
        server.get("/applications/echo/run").expect(200).json(),
        json!([])
    );
    server.get("/applications/echo/run/run.1").expect(404);
}
