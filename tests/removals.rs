//! The server is killed at each step of a removal: the app is there as it was, or its removal goes on at the next start.

use crate::support::fixture::{document, web_repo};
use crate::support::machine::processes_of;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Kills the server at `failpoint` of a removal. `goes_on`: the next one finishes it.
fn killed_at(failpoint: &str, query: &str, goes_on: bool) {
    if !cfg!(debug_assertions) {
        return crate::support::machine::skip(failpoint, "there are no failpoints in this build");
    }
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let root = server.directory().join("apps/echo");
    std::fs::write(root.join("storage/old"), "").unwrap();
    server.arm_kill(failpoint);
    // It is dead before it has answered, or soon after.
    let delete = server.request("DELETE", &format!("/applications/echo{query}"));
    let _answer = delete.try_send(&server.public());
    server.wait_for_death();
    server.start_again();
    if !goes_on {
        server.ready_pid("echo", "web.1");
        assert!(root.join("storage/old").exists());
        server.act("echo", "redeploy").expect(200);
        return;
    }
    server.get("/applications/echo").expect(404);
    let keeps = query.contains("storage");
    // One of that name waits until nothing of the old one is left, and inherits only what was to be kept.
    eventually("it can be added again", SOON, || {
        let added = server.send_and_wait("POST", "/applications", &document("echo", &repo));
        (added.status != 409).then(|| added.expect(201).json())
    });
    assert_eq!(root.join("storage/old").exists(), keeps);
    let records = server.get("/applications/echo/deployments").json();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    let files = std::fs::read_dir(server.config_directory()).unwrap();
    let files: Vec<_> = files.map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files, ["echo.json"]);
    assert_eq!(processes_of(server.directory()).len(), 2);
    // The removal that is over does not come back.
    server.kill();
    server.start_again();
    server.ready_pid("echo", "web.1");
}

macro_rules! kills {
    ($($name:ident: $failpoint:literal, $query:literal, $goes_on:literal;)*) => {
        $(#[test] fn $name() { killed_at($failpoint, $query, $goes_on); })*
    };
}

kills! {
    before_it_is_written: "before a removal is written", "", false;
    after_it_is_written: "after a removal is written", "", true;
    after_it_is_written_with_storage: "after a removal is written", "?keep=storage", true;
    before_what_is_wanted_is_written: "before echo state.json", "", true;
    after_what_is_wanted_is_written: "after echo state.json", "", true;
    before_the_releases_are_removed: "before removing echo releases", "", true;
    before_the_storage_is_removed: "before removing echo storage", "", true;
    before_the_logs_are_removed_with_storage: "before removing echo logs", "?keep=storage", true;
    before_it_is_over: "before a removal is over", "", true;
}

#[test]
fn a_document_that_comes_while_no_server_runs_is_of_a_new_app() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let root = server.directory().join("apps/echo");
    std::fs::write(root.join("storage/old"), "").unwrap();
    let config = server.config_directory();
    server.kill();
    // As a server leaves it that is killed right after it has written the removal down.
    std::fs::copy(config.join("echo.json"), config.join("echo.json.removed")).unwrap();
    server.start_again();
    server.ready_pid("echo", "web.1");
    assert!(!root.join("storage/old").exists());
    assert!(!config.join("echo.json.removed").exists());
}
