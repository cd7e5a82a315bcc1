//! The daemon itself ends: as asked, or as in a crash.

use crate::support::fixture::{document, web_repo};
use crate::support::http::{Peer, Request};
use crate::support::machine::{is_alive, processes_of};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

#[test]
fn sigterm_ends_every_app_and_the_next_start_brings_them_back() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let release = server.status("echo")["release"].clone();
    assert!(
        server.terminate().success(),
        "a stop that was asked for is no failure"
    );
    let left = processes_of(server.directory());
    assert!(left.is_empty(), "they remain: {left:?}");

    server.start_again();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    assert_eq!(
        server.status("echo")["release"],
        release,
        "nothing is installed anew"
    );
}

#[test]
fn an_app_that_was_stopped_stays_stopped() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    // What was answered with 200 is true, however soon the daemon ends after it.
    for is_killed in [false, true] {
        server.act("echo", "start").expect(200);
        server.act("echo", "stop").expect(200);
        if is_killed {
            server.kill();
        } else {
            server.terminate();
        }
        server.start_again();
        // As soon as it listens it knows all its applications.
        server.visit("/echo/").expect(503);
        assert_eq!(server.status("echo")["state"], "stopped");
    }
}

#[test]
fn after_a_crash_of_the_daemon_the_same_processes_are_adopted_and_no_line_is_lost() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    let port = server.process("echo", "web.1")["port"].as_u64().unwrap();
    let direct = Peer::Tcp(([127, 0, 0, 1], u16::try_from(port).unwrap()).into());

    server.kill();
    assert!(is_alive(pid), "apps live on");
    Request::get("/print?text=nobody-listens")
        .send(&direct)
        .expect(200);

    server.start_again();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert_eq!(server.process("echo", "web.1")["port"], port);
    eventually("the line is in the log", SOON, || {
        let log = server
            .get("/applications/echo/logs/stdout")
            .expect(200)
            .text();
        log.contains("nobody-listens").then_some(())
    });
    // It is owned again, not only watched.
    server.act("echo", "stop").expect(200);
    assert!(!is_alive(pid));
}

#[test]
fn what_died_with_the_daemon_is_started_again() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    crate::support::machine::send_signal(pid, nix::sys::signal::Signal::SIGKILL);
    server.start_again();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    assert_ne!(server.ready_pid("echo", "web.1"), pid);
}

#[test]
fn who_follows_logs_or_events_does_not_keep_the_server_from_stopping() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let follow = |target: &str| {
        let stream = server
            .request("GET", target)
            .open(&server.public())
            .unwrap();
        assert_eq!(stream.status, 200);
        stream
    };
    let _followers = [
        follow("/applications/echo/logs/stdout?follow=true"),
        follow("/events"),
    ];
    let asked = std::time::Instant::now();
    server.terminate();
    // A connection in flight is given up to 30 s.
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
}
