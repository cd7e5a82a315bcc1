//! Process types that end by themselves: `restart` of the document, and the names of tasks.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{document, web_files, with};
use crate::support::machine::send_signal;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// The repository of the fixture with `entries` added to its Procfile.
fn repo(entries: &str) -> Repo {
    let procfile = format!("web: exec python3 web.py\n{entries}");
    let mut files = web_files("1");
    files[0].1 = &procfile;
    Repo::new(&files)
}

#[track_caller]
fn finished(server: &Server, id: &str) -> Value {
    eventually(&format!("{id} has finished"), SOON, || {
        let status = server.status("echo");
        let mut processes = status["processes"].as_array()?.iter();
        let found = processes.find(|p| p["id"] == id && p["state"] == "finished");
        found.cloned()
    })
}

#[test]
fn a_task_that_is_done_is_not_run_again_before_it_is_asked_for_anew() {
    let repo = repo("migrate: echo done >> $STORAGE_DIR/runs\n");
    let mut server = Server::start();
    let once = json!({ "scale": { "migrate": 1 }, "restart": { "migrate": "never" } });
    server.deploy(&with(document("echo", &repo), once));
    let task = finished(&server, "migrate.1");
    assert_eq!(task["last_exit"]["code"], 0, "{task}");
    assert_eq!(task["restarts"], 0, "{task}");
    assert_eq!(server.status("echo")["state"], "running");
    let storage = server.directory().join("apps/echo/storage");
    let runs = || {
        std::fs::read_to_string(storage.join("runs"))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(runs(), 1);

    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    server.start_again();
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert_eq!(
        finished(&server, "migrate.1")["last_exit"],
        task["last_exit"]
    );
    assert_eq!(runs(), 1, "the next server knows that it was done");

    server.act("echo", "restart").expect(200);
    finished(&server, "migrate.1");
    assert_eq!(runs(), 2);

    for quantity in [0, 1] {
        let scale = json!({ "scale": { "migrate": quantity } });
        server
            .send_and_wait("PATCH", "/applications/echo", &scale)
            .expect(200);
    }
    finished(&server, "migrate.1");
    assert_eq!(runs(), 3, "it is run again when it is added again");
}

#[test]
fn a_task_by_its_name_is_not_started_and_what_ends_at_once_is_told_of_restart() {
    let (server, repo) = (Server::start(), repo("console: exit 3\nonce: true\n"));
    let refused = server.send_and_wait("POST", "/applications", &document("echo", &repo));
    let failure = refused.expect(422).json()["failure"].clone();
    let hint = failure["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("restart: {\"once\": \"never\"}"), "{failure}");
    let policy = json!({ "restart": { "once": "on-failure" } });
    let answer = server.send_and_wait("PATCH", "/applications/echo", &policy);
    let told = answer.expect(200).json()["warnings"].to_string();
    assert!(told.contains("\\\"console\\\" is not started"), "{told}");
    finished(&server, "once.1");
    let status = server.status("echo");
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(status["processes"].as_array().unwrap().len(), 2, "{status}");

    let bad = json!({ "restart": { "once": "later" } });
    let refused = server.send("PATCH", "/applications/echo", &bad).expect(422);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/restart/once");
}

#[test]
fn a_web_process_that_is_not_restarted_is_no_backend_any_more() {
    let (server, repo) = (Server::start(), repo(""));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "restart": "never" }),
    ));
    send_signal(server.ready_pid("echo", "web.1"), Signal::SIGKILL);
    let web = finished(&server, "web.1");
    assert_eq!(web["last_exit"]["signal"], 9, "{web}");
    assert_eq!(server.status("echo")["state"], "degraded");
    let answer = server.visit("/echo/").expect(503);
    assert!(answer.text().contains("H14"), "{}", answer.text());
}

#[test]
fn the_release_command_runs_once_per_deploy_whatever_its_scale() {
    let repo = repo("release: echo done >> $STORAGE_DIR/runs\n");
    let server = Server::start();
    let scaled = json!({ "scale": { "release": 2 } });
    server.deploy(&with(document("echo", &repo), scaled));
    let runs = std::fs::read_to_string(server.directory().join("apps/echo/storage/runs")).unwrap();
    assert_eq!(runs, "done\n");
    let status = server.status("echo");
    let processes = status["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 1, "{status}");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("scale.release is ignored"), "{warnings}");
}

#[test]
fn an_app_whose_web_processes_all_ended_well_is_degraded_and_says_what_to_do() {
    let mut files = web_files("1");
    files[0].1 = "web: trap 'exit 0' TERM; python3 web.py & wait\n";
    let (server, repo) = (Server::start(), Repo::new(&files));
    let never = json!({ "restart": "never" });
    server.deploy(&with(document("echo", &repo), never));
    assert_eq!(server.status("echo")["state"], "running");
    send_signal(server.ready_pid("echo", "web.1"), Signal::SIGTERM);
    assert_eq!(finished(&server, "web.1")["last_exit"]["code"], 0);
    let status = server.status("echo");
    assert_eq!(status["state"], "degraded", "{status}");
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("nothing answers requests")
            && warnings.contains("procserver restart echo"),
        "{warnings}"
    );
    let page = server.visit("/echo/").expect(503).text();
    assert!(
        page.contains("H14") && page.contains("procserver ps echo"),
        "{page}"
    );
    server.act("echo", "restart").expect(200);
    server.visit("/echo/").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
}
