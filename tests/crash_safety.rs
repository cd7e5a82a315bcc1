//! The server is killed at every durable step of a deploy: afterwards the old release runs or the new one, wholly, the
//! record says that it was interrupted, a retry works, and nothing is left behind.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_alive, processes_of};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Kills the server at `failpoint` of a change that leads from version 1 to 2, and looks at what the next one makes of it.
fn killed_at(failpoint: &str, change: (&str, &str, Value)) {
    if !cfg!(debug_assertions) {
        return crate::support::machine::skip(failpoint, "there are no failpoints in this build");
    }
    let (mut server, repo) = (Server::start(), web_repo("1"));
    let install = json!({ "install": ["cp VERSION built"], "env": { "V": "1" } });
    server.deploy(&with(document("echo", &repo), install));
    repo.commit(&[("VERSION", "2")]);
    server.arm_kill(failpoint);
    let (method, target, body) = &change;
    // It may be dead before it has answered.
    let _answer = server
        .request(method, target)
        .body(body.to_string())
        .try_send(&server.public());
    server.wait_for_death();
    server.start_again();

    let serves = |server: &Server| {
        eventually("a release serves", SOON, || {
            let answer = server.visit("/echo/");
            (answer.status == 200).then(|| answer.json())
        })
    };
    let first = serves(&server);
    assert!(
        ["1", "2"].contains(&first["version"].as_str().unwrap()),
        "{first}"
    );
    let is_over = |server: &Server| {
        eventually("no deploy is at work", SOON, || {
            let records = server
                .get("/applications/echo/deployments")
                .expect(200)
                .json();
            let text = records.to_string();
            (!text.contains("\"waiting\"") && !text.contains("\"running\"")).then_some(records)
        })
    };
    let records = is_over(&server);
    let state = &records[1]["state"];
    // A document that was written counts: the next server does what it asks for.
    let is_done = *method == "PATCH" && *state == "succeeded";
    assert!(
        state.is_null() || *state == "interrupted" || is_done,
        "{records}"
    );
    eventually("only its own processes run", SOON, || {
        (processes_of(server.directory()).len() == 2).then_some(())
    });
    only_releases_are_left(&server);

    let retry = server.request(method, target).header("Prefer", "wait=50");
    retry
        .body(body.to_string())
        .send(&server.public())
        .expect(200);
    let retried = serves(&server);
    assert!(
        retried["version"] == "2" || retried["env"]["V"] == "2",
        "{retried}"
    );
    only_releases_are_left(&server);
}

/// No directory without a record that names it, no record without its directory, no temporary file.
#[track_caller]
fn only_releases_are_left(server: &Server) {
    let root = server.directory().join("apps/echo");
    let names = |directory: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let mut all = names(&root.join("releases"));
    all.retain(|name| !is_being_written(name));
    let (records, directories): (BTreeSet<_>, _) =
        all.into_iter().partition(|n| n.ends_with(".json"));
    let code = records.iter().map(|name| {
        let text = std::fs::read_to_string(root.join("releases").join(name)).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        record.get("code").unwrap_or(&record["id"]).to_string()
    });
    assert_eq!(code.collect::<BTreeSet<_>>(), directories);
    for directory in [&root, &root.join("deployments"), &server.config_directory()] {
        let mut left = names(directory);
        left.retain(|name| name.starts_with(".tmp-") && !is_being_written(name));
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Whether a temporary file, `.tmp-PID-NUMBER`, is of a server that lives.
fn is_being_written(name: &str) -> bool {
    let pid = name.split('-').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(is_alive)
}

fn redeploy() -> (&'static str, &'static str, Value) {
    ("POST", "/applications/echo/redeploy", Value::Null)
}

fn new_environment() -> (&'static str, &'static str, Value) {
    (
        "PATCH",
        "/applications/echo",
        json!({ "env": { "V": "2" } }),
    )
}

macro_rules! kills {
    ($($name:ident: $failpoint:literal, $change:expr;)*) => {
        $(#[test] fn $name() { killed_at($failpoint, $change); })*
    };
}

kills! {
    before_the_record_of_the_deployment: "before deployments 2.json", redeploy();
    before_what_is_wanted_is_written: "before echo state.json", redeploy();
    after_what_is_wanted_is_written: "after echo state.json", redeploy();
    before_the_fetch: "before fetch", redeploy();
    after_the_fetch: "after fetch", redeploy();
    after_the_checkout: "after checkout", redeploy();
    before_the_installation: "before install", redeploy();
    after_the_installation: "after install", redeploy();
    before_the_release_is_complete: "before releases 2.json", redeploy();
    after_the_release_is_complete: "after releases 2.json", redeploy();
    after_its_processes_are_started: "spawned", redeploy();
    before_a_document_is_written: "before config echo.json", new_environment();
    after_a_document_is_written: "after config echo.json", new_environment();
    before_a_release_of_the_same_code_is_complete: "before releases 2.json", new_environment();
    after_a_release_of_the_same_code_is_complete: "after releases 2.json", new_environment();
}

/// Its release is complete, its processes run, and none of them was ever ready: it is no release to go back to, and takes
/// the place of none that was.
#[test]
fn a_release_that_was_never_ready_is_not_kept_after_a_crash() {
    if !cfg!(debug_assertions) {
        let test = "a_release_that_was_never_ready_is_not_kept_after_a_crash";
        return crate::support::machine::skip(test, "there are no failpoints in this build");
    }
    for strategy in ["rolling", "recreate"] {
        let (mut server, repo) = (Server::start(), web_repo("1"));
        let keep = json!({ "keep_releases": 2, "strategy": strategy });
        server.deploy(&with(document("echo", &repo), keep));
        repo.commit(&[("VERSION", "2")]);
        server.act("echo", "redeploy").expect(200);
        for round in 0..2 {
            repo.commit(&[
                ("Procfile", "web: sleep 600\n"),
                ("ROUND", &round.to_string()),
            ]);
            server.arm_kill("spawned");
            let redeploy = server.request("POST", "/applications/echo/redeploy");
            let _answer = redeploy.try_send(&server.public());
            server.wait_for_death();
            server.start_again();
            eventually("the last that was ready serves", SOON, || {
                let answer = server.visit("/echo/");
                (answer.status == 200 && answer.json()["version"] == "2").then_some(())
            });
        }
        let releases = || server.get("/applications/echo/releases").json();
        let ids = |list: Value| {
            let list = list.as_array().unwrap().clone();
            list.iter().map(|r| r["id"].clone()).collect::<Vec<_>>()
        };
        eventually("those that were ready are kept", SOON, || {
            (ids(releases()) == [json!(1), json!(2)]).then_some(())
        });
        server.act("echo", "rollback").expect(200);
        assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    }
}
