//! Documents that are damaged while the server is away: what runs goes on, and the damage is named.

use std::path::Path;

use serde_json::json;

use super::deploy;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Damages `echo.json` while the server is down and expects the last good document to be what runs on.
#[track_caller]
fn survives(damage: impl FnOnce(&Path)) {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    // No release knows of it.
    let change = json!({"headers": {"response": {"X-Frame-Options": "DENY"}}});
    server
        .send_and_wait("PATCH", "/applications/echo", &change)
        .expect(200);
    let pid = server.ready_pid("echo", "web.1");
    let good = server.get("/applications/echo").expect(200).json();
    server.kill();
    damage(&server.config_directory().join("echo.json"));
    server.start_again();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    let answer = server.visit("/echo/").expect(200);
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(server.ready_pid("echo", "web.1"), pid, "it runs on");
    assert_eq!(server.get("/applications/echo").expect(200).json(), good);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(warnings.contains("echo.json"), "{warnings}");
    assert!(server.log().contains("echo.json"), "{}", server.log());
}

#[test]
fn a_truncated_document_is_named_and_the_last_good_one_runs_on() {
    survives(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, &text[..text.len() / 2]).unwrap();
    });
}

#[test]
fn an_empty_document_is_named_and_the_last_good_one_runs_on() {
    survives(|path| std::fs::write(path, "").unwrap());
}

#[test]
fn a_directory_in_place_of_a_document_is_named_and_the_last_good_one_runs_on() {
    survives(|path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    });
}

#[test]
fn an_unreadable_document_is_named_and_the_last_good_one_runs_on() {
    survives(|path| {
        // Not even root reads this one.
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(path, path).unwrap();
    });
}
