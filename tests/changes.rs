//! A change of an app's document takes the least work that does what changed.

use serde_json::{Value, json};

use crate::support::command::procserver;
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// A server with the app `echo`, whose install command counts its runs.
fn deployed() -> (Server, Repo) {
    let (server, repo) = (Server::start(), web_repo("1"));
    let install = json!({ "install": ["echo ran >> $STORAGE_DIR/installs"] });
    server.deploy(&with(document("echo", &repo), install));
    (server, repo)
}

#[track_caller]
fn patch(server: &Server, patch: &Value) -> Value {
    let answer = server.send_and_wait("PATCH", "/applications/echo", patch);
    answer.expect(200).json()
}

fn installs(server: &Server) -> usize {
    let path = server.directory().join("apps/echo/storage/installs");
    std::fs::read_to_string(path).unwrap().lines().count()
}

fn release(server: &Server) -> Value {
    server.status("echo")["release"].clone()
}

fn env(server: &Server, name: &str) -> Value {
    server.visit("/echo/").expect(200).json()["env"][name].clone()
}

#[test]
fn what_is_set_already_does_nothing_and_says_so() {
    let (server, _repo) = deployed();
    let pid = server.ready_pid("echo", "web.1");
    let path = server.config_directory().join("echo.json");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    for same in [
        json!({}),
        json!({ "name": "echo" }),
        json!({ "port": null }),
        json!({ "health_check": { "interval": "100ms" } }),
    ] {
        assert_eq!(patch(&server, &same)["changed"], false, "{same}");
    }
    let after = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(before, after, "the file is not even written");
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
}

#[test]
fn what_is_wrong_changes_nothing() {
    let (server, _repo) = deployed();
    let document = server.get("/applications/echo").json();
    for (wrong, status) in [
        (json!({ "scale": { "web": -1 } }), 422),
        (json!({ "name": "other" }), 422),
        (json!({ "repo": null }), 422),
        (json!({ "colour": "red" }), 422),
        (json!(["scale"]), 422),
    ] {
        server
            .send("PATCH", "/applications/echo", &wrong)
            .expect(status);
    }
    server
        .send("PATCH", "/applications/none", &json!({}))
        .expect(404);
    assert_eq!(server.get("/applications/echo").json(), document);
}

#[test]
fn a_change_of_scale_keeps_those_that_stay() {
    let (server, _repo) = deployed();
    let pid = server.ready_pid("echo", "web.1");
    patch(&server, &json!({ "scale": { "web": 3 } }));
    let second = server.ready_pid("echo", "web.2");
    server.ready_pid("echo", "web.3");
    patch(&server, &json!({ "scale": { "web": 2 } }));
    let status = server.status("echo");
    assert_eq!(status["processes"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert_eq!(server.ready_pid("echo", "web.2"), second);
    // There and back at once: a name is free when its process is gone, not before.
    for count in [1, 2, 1, 3] {
        server
            .send(
                "PATCH",
                "/applications/echo",
                &json!({ "scale": { "web": count } }),
            )
            .expect(202);
    }
    patch(
        &server,
        &json!({ "scale": { "web": 0 }, "keep_releases": 4 }),
    );
    server.visit("/echo/").expect(503);
    patch(&server, &json!({ "scale": { "web": 1 } }));
    server.visit("/echo/").expect(200);
    assert_eq!((release(&server), installs(&server)), (json!(1), 1));
}

#[test]
fn a_new_environment_is_a_new_release_of_the_same_code() {
    let (mut server, repo) = deployed();
    let old = server.ready_pid("echo", "web.1");
    repo.commit(&[("VERSION", "2")]);
    patch(&server, &json!({ "env": { "COLOUR": "red" } }));
    assert_eq!(env(&server, "COLOUR"), "red");
    assert_ne!(server.ready_pid("echo", "web.1"), old);
    assert_eq!(server.visit("/echo/").json()["version"], "1");
    assert_eq!((release(&server), installs(&server)), (json!(2), 1));

    server.act("echo", "rollback").expect(200);
    assert_eq!(env(&server, "COLOUR"), Value::Null);
    assert_eq!(release(&server), 1);
    // A rollback is not undone by a restart of the server, nor by a change of something else.
    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    server.start_again();
    eventually("it is taken over", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    patch(&server, &json!({ "scale": { "web": 2 } }));
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert_eq!(
        (release(&server), env(&server, "COLOUR")),
        (json!(1), Value::Null)
    );

    patch(&server, &json!({ "env": { "COLOUR": "blue" } }));
    assert_eq!(env(&server, "COLOUR"), "blue");
    assert_eq!((release(&server), installs(&server)), (json!(3), 1));
}

#[test]
fn a_route_changes_under_running_processes() {
    let (server, _repo) = deployed();
    let pid = server.ready_pid("echo", "web.1");
    patch(&server, &json!({ "domain": ["^other\\."], "path": false }));
    server.visit("/echo/").expect(404);
    let by_host = crate::support::http::Request::get("/").header("Host", "other.test");
    assert_eq!(
        by_host.send(&server.public()).expect(200).json()["pid"],
        pid
    );
    patch(&server, &json!({ "path": null }));
    server.visit("/echo/").expect(200);
    assert_eq!((release(&server), installs(&server)), (json!(1), 1));
}

#[test]
fn other_code_takes_a_deploy() {
    let (server, repo) = deployed();
    repo.branch("feature");
    repo.commit(&[("VERSION", "feature")]);
    patch(&server, &json!({ "repo": { "branch": "feature" } }));
    assert_eq!(server.visit("/echo/").json()["version"], "feature");
    assert_eq!((release(&server), installs(&server)), (json!(2), 2));
}

#[test]
fn a_stopped_app_takes_its_change_when_it_is_started() {
    let (server, _repo) = deployed();
    server.act("echo", "stop").expect(200);
    patch(
        &server,
        &json!({ "env": { "COLOUR": "red" }, "scale": { "web": 2 } }),
    );
    assert_eq!(server.status("echo")["state"], "stopped");
    server.act("echo", "start").expect(200);
    assert_eq!(env(&server, "COLOUR"), "red");
    server.ready_pid("echo", "web.2");
    assert_eq!(installs(&server), 1);
}

#[test]
fn changes_at_the_same_time_all_count() {
    let (server, _repo) = deployed();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let variable = format!("V{number}");
                server
                    .send(
                        "PATCH",
                        "/applications/echo",
                        &json!({ "env": { variable: "1" } }),
                    )
                    .expect(202);
            });
        }
    });
    // It waits for all before it.
    patch(&server, &json!({ "env": { "LAST": "1" } }));
    for number in 0..8 {
        assert_eq!(env(&server, &format!("V{number}")), "1", "V{number}");
    }
}

#[test]
fn the_command_line_sets_scales_and_shows() {
    let (server, _repo) = deployed();
    let run = |words: &[&str]| {
        let output = procserver()
            .args(words)
            .env(
                "PROCSERVER_URL",
                format!("unix:{}", server.socket().display()),
            )
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}{output:?}");
        text
    };
    run(&["scale", "echo", "web=2"]);
    server.ready_pid("echo", "web.2");
    run(&["env", "echo", "A=1", "B=2"]);
    run(&["env", "echo", "-A"]);
    assert_eq!(run(&["env", "echo"]), "B=2\n");
    let again = run(&["env", "echo", "B=2"]);
    assert!(again.contains("nothing was done"), "{again}");
    run(&["set", "echo", "path=false", "health_check.timeout=2s"]);
    server.visit("/echo/").expect(404);
}

/// The names of the processes there are.
fn processes(server: &Server) -> Vec<String> {
    let status = server.status("echo");
    let processes = status["processes"].as_array().unwrap().iter();
    processes
        .map(|p| p["id"].as_str().unwrap().to_owned())
        .collect()
}

fn is_warned(server: &Server) -> bool {
    let warnings = server.status("echo")["warnings"].to_string();
    warnings.contains("not all of which is in effect")
}

/// Whether a request for this host reaches the app.
fn answers_to(server: &Server, host: &str) -> bool {
    let request = Request::get("/").header("Host", host);
    request.send(&server.public()).status == 200
}

#[test]
fn after_a_deploy_that_failed_the_old_release_runs_wholly_as_before_also_in_the_next_server() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    let old = with(document("echo", &repo), json!({ "domain": ["^old$"] }));
    server.deploy(&old);
    let pid = server.ready_pid("echo", "web.1");
    assert!(!is_warned(&server));
    let new = json!({ "domain": ["^new$"], "scale": { "web": 2 }, "env": { "V": "2" },
        "install": ["test -e $STORAGE_DIR/works"] });
    let new = with(document("echo", &repo), new);
    let put = server.send_and_wait("PUT", "/applications/echo", &new);
    assert_eq!(put.expect(422).json()["failure"]["step"], "install");
    let is_old = |server: &Server| {
        assert!(answers_to(server, "old") && !answers_to(server, "new"));
        assert_eq!(processes(server), ["web.1"]);
        assert!(is_warned(server), "{}", server.status("echo"));
    };
    is_old(&server);
    server.kill();
    server.start_again();
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    eventually("its route is back", SOON, || {
        answers_to(&server, "old").then_some(())
    });
    is_old(&server);
    server.terminate();
    server.start_again();
    server.ready_pid("echo", "web.1");
    is_old(&server);

    // Another change of the route counts, and brings nothing else of what has failed with it.
    patch(&server, &json!({ "domain": ["^new$", "^other$"] }));
    assert!(answers_to(&server, "other") && !answers_to(&server, "old"));
    assert_eq!(processes(&server), ["web.1"]);
    assert_eq!(env(&server, "V"), Value::Null);

    std::fs::write(server.directory().join("apps/echo/storage/works"), "").unwrap();
    server.act("echo", "redeploy").expect(200);
    assert!(answers_to(&server, "new") && answers_to(&server, "other"));
    assert_eq!(env(&server, "V"), "2");
    eventually("only the new ones are left", SOON, || {
        (processes(&server) == ["web.1", "web.2"]).then_some(())
    });
    assert!(!is_warned(&server));
}

/// Ends unless it is the first process.
const ONLY_ONE: &str =
    "test $PS = web.1 || { echo no second one >&2; exit 3; }; exec python3 web.py";

#[test]
fn a_larger_scale_that_does_not_get_ready_is_taken_back_and_told() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[(
        "Procfile",
        &format!("web: {ONLY_ONE}\njob: exec sleep 600\n"),
    )]);
    server.deploy(&document("echo", &repo));
    let pids = |server: &Server| ["web.1", "job.1"].map(|id| server.ready_pid("echo", id));
    let before = pids(&server);
    let more = json!({ "scale": { "web": 3, "job": 0 } });
    let answer = server.send_and_wait("PATCH", "/applications/echo", &more);
    let failure = answer.expect(422).json()["failure"].clone();
    assert_eq!(failure["exit_code"], 3, "{failure}");
    assert_eq!(failure["log_tail"][0], "no second one", "{failure}");
    let is_as_before = |server: &Server| {
        assert_eq!(pids(server), before);
        assert_eq!(processes(server).len(), 2);
        assert!(is_warned(server));
    };
    is_as_before(&server);
    assert_eq!(server.get("/applications/echo").json()["scale"]["web"], 3);
    server.kill();
    server.start_again();
    is_as_before(&server);
    patch(&server, &json!({ "scale": { "web": 1, "job": 2 } }));
    server.ready_pid("echo", "job.2");
    assert!(!is_warned(&server));
    assert_eq!(pids(&server), before);
}
