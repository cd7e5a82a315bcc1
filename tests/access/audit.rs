//! The audit log: each change and each refusal has a line, and none of a change that was answered is ever lost.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{get, request, send, token, token_of};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request};
use crate::support::machine::send_signal;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn audit(server: &Server, query: &str) -> Vec<Value> {
    let lines = server.get(&format!("/audit{query}")).expect(200).json();
    lines.as_array().unwrap().clone()
}

/// The lines of calls of this method and path.
fn of(lines: &[Value], method: &str, path: &str) -> Vec<Value> {
    let is_it = |line: &&Value| line["method"] == method && line["path"] == path;
    lines.iter().filter(is_it).cloned().collect()
}

#[test]
fn changes_and_refusals_have_a_line_that_says_who_and_no_secret() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let secret = "planted-secret";
    server.deploy(&with(
        document("echo", &repo),
        json!({"env": {"A": secret}}),
    ));
    let read = token_of(&server, "read");
    send(
        &server,
        &read,
        "POST",
        "/applications/echo/stop?x=planted-secret",
        &json!({}),
    )
    .expect(403);
    Request::get("/applications?token=planted-secret")
        .send(&server.public())
        .expect(401);
    get(&server, "wrong-planted-secret", "/routes").expect(401);
    get(&server, &read, "/applications").expect(200);
    get(&server, &read, "/tokens").expect(403);
    server
        .send(
            "PATCH",
            "/applications/echo",
            &json!({"scale": {"web": 1000}}),
        )
        .expect(422);
    let socket = Peer::Unix(server.socket());
    Request::new("DELETE", "/tokens/read")
        .send(&socket)
        .expect(200);

    let lines = audit(&server, "?tail=1000");
    let created = &of(&lines, "POST", "/applications")[0];
    assert_eq!(
        (&created["who"], &created["app"], &created["from"]),
        (&json!("first"), &json!("echo"), &json!("127.0.0.1"))
    );
    assert!(
        created["outcome"] == 201 || created["outcome"] == "waiting",
        "{created}"
    );
    let stop = &of(&lines, "POST", "/applications/echo/stop")[0];
    assert_eq!(
        (&stop["who"], &stop["outcome"], &stop["app"]),
        (&json!("read"), &json!(403), &json!("echo"))
    );
    let strangers: Vec<_> = lines.iter().filter(|line| line["outcome"] == 401).collect();
    assert!(
        strangers.len() == 2 && strangers.iter().all(|line| line["who"].is_null()),
        "{strangers:?}"
    );
    assert_eq!(of(&lines, "GET", "/tokens")[0]["outcome"], 403);
    assert_eq!(of(&lines, "PATCH", "/applications/echo")[0]["outcome"], 422);
    let gone = &of(&lines, "DELETE", "/tokens/read")[0];
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!(
        (&gone["uid"], &gone["from"]),
        (&json!(uid), &json!("socket"))
    );
    assert!(
        of(&lines, "GET", "/applications")
            .iter()
            .all(|line| line["outcome"] == 401)
    );
    assert_eq!(
        lines.last().unwrap()["path"],
        "/tokens/read",
        "the newest is the last"
    );
    assert!(
        audit(&server, "?app=echo")
            .iter()
            .all(|line| line["app"] == "echo")
    );
    assert_eq!(audit(&server, "?tail=1").len(), 1);
    server.get("/audit?tail=all").expect(422);

    let path = server.directory().join("logs/audit.log");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(secret) && !text.contains(&read) && !text.contains(&server.token()));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn edits_of_files_and_sighup_are_of_the_config_directory() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let path = server.config_directory().join("echo.json");
    let wait_for = |outcome: &str| {
        eventually(outcome, SOON, || {
            let lines = audit(&server, "?app=echo");
            let is_it =
                |line: &&Value| line["outcome"] == outcome && line["who"] == "config directory";
            lines.iter().find(is_it).cloned()
        })
    };
    std::fs::write(&path, document("echo", &repo).to_string()).unwrap();
    wait_for("added");
    eventually("it serves", SOON, || {
        (server.try_visit("/echo/")? == 200).then_some(())
    });
    std::fs::write(
        &path,
        with(document("echo", &repo), json!({"env": {"A": "1"}})).to_string(),
    )
    .unwrap();
    wait_for("changed");
    server
        .send_and_wait("PATCH", "/applications/echo", &json!({"env": {"A": "2"}}))
        .expect(200);
    send_signal(server.pid(), Signal::SIGHUP);
    eventually("the signal is told", SOON, || {
        let lines = audit(&server, "");
        lines
            .iter()
            .any(|line| line["method"] == "SIGHUP")
            .then_some(())
    });
    std::fs::remove_file(&path).unwrap();
    wait_for("removed");
    let lines = audit(&server, "?app=echo");
    let files = lines
        .iter()
        .filter(|line| line["who"] == "config directory");
    assert_eq!(files.count(), 3, "what the API wrote is no edit: {lines:?}");
}

#[test]
fn a_caller_that_waits_or_goes_away_has_a_line_nevertheless() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let slow = json!({"install": ["while ! test -e $STORAGE_DIR/go; do sleep 0.05; done"]});
    let call = server
        .request("POST", "/applications")
        .header("Content-Type", "application/json")
        .header("Prefer", "wait=50")
        .body(with(document("echo", &repo), slow).to_string())
        .deadline(std::time::Duration::from_secs(3));
    call.try_send(&server.public())
        .expect_err("it takes longer");
    let told = eventually("both lines", SOON, || {
        let lines = of(&audit(&server, ""), "POST", "/applications");
        (lines.len() == 2).then_some(lines)
    });
    assert_eq!(
        (&told[0]["outcome"], &told[1]["outcome"]),
        (&json!("waiting"), &json!("caller gone"))
    );
    server
        .send(
            "POST",
            "/applications/echo/deployments/1/cancel",
            &json!({}),
        )
        .expect(202);
}

#[test]
fn no_line_of_an_answered_change_is_lost_when_the_server_is_killed() {
    let kills = std::env::var("PROCSERVER_TEST_KILLS").ok();
    let kills: u32 = kills.and_then(|kills| kills.parse().ok()).unwrap_or(3);
    let mut server = Server::start();
    let mut answered = Vec::new();
    for kill in 0..kills {
        let (peer, token) = (server.public(), server.token());
        // Four callers change things, as fast as they can, until the server is gone.
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (peer, token) = (peer.clone(), token.clone());
                std::thread::spawn(move || {
                    let mut done = Vec::new();
                    for number in 0.. {
                        let path = format!("/tokens/{kill}-{caller}-{number}");
                        match request(&token, "DELETE", &path).try_send(&peer) {
                            Ok(answer) => {
                                assert_eq!(answer.status, 404);
                                done.push(path);
                            }
                            Err(_gone) => break,
                        }
                    }
                    done
                })
            })
            .collect();
        let path = format!("/tokens/{kill}-3-{}", 10 + kill % 17);
        let file = server.directory().join("logs/audit.log");
        eventually("the callers are at work", SOON, || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.contains(&path).then_some(())
        });
        server.kill();
        answered.extend(
            callers
                .into_iter()
                .flat_map(|caller| caller.join().unwrap()),
        );
        server.start_again();
    }
    let mut text = String::new();
    for name in [
        "audit.log.4",
        "audit.log.3",
        "audit.log.2",
        "audit.log.1",
        "audit.log",
    ] {
        let path = server.directory().join("logs").join(name);
        text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
    let told: std::collections::HashSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("whole lines"))
        .filter_map(|line| Some(line["path"].as_str()?.to_owned()))
        .collect();
    let lost: Vec<_> = answered
        .iter()
        .filter(|path| !told.contains(*path))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        answered.len()
    );
    assert!(answered.len() > 10 * kills as usize);
}

#[test]
fn an_audit_log_that_cannot_be_written_stops_no_change_and_its_lines_go_to_the_servers_log() {
    let server = Server::start();
    let directory = server.directory().join("logs");
    let _gone = std::fs::remove_dir_all(&directory);
    std::fs::write(&directory, "in the way").unwrap();
    let _token = token(&server, &json!({"name": "a", "scope": "read"}));
    let log = server.log();
    assert!(
        log.contains("the audit log lacks a line") && log.contains("\"/tokens\""),
        "{log}"
    );
}
