//! Sleep: an app that nobody asks is stopped, and the next request starts it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::is_alive;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// The shortest time, and some.
const NIGHT: Duration = Duration::from_secs(60);

fn sleepy(repo: &Repo) -> Value {
    with(document("echo", repo), json!({ "sleep": "10s" }))
}

fn falls_asleep(server: &Server) {
    eventually("it sleeps and nothing of it runs", NIGHT, || {
        let status = server.status("echo");
        let is_quiet = status["processes"].as_array().unwrap().is_empty();
        (status["state"] == "asleep" && is_quiet).then_some(())
    });
}

fn starts(server: &Server) -> usize {
    server
        .log()
        .matches("process.started app=echo process=web.1")
        .count()
}

#[test]
fn an_app_that_nobody_asks_stops_and_many_requests_at_once_start_it_once() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(sleepy(&repo), json!({ "scale": { "web": 1 } })));
    let pid = server.ready_pid("echo", "web.1");
    falls_asleep(&server);
    assert!(!is_alive(pid));
    assert_eq!(starts(&server), 1);
    let listed = server.get("/applications").expect(200).json();
    assert_eq!(listed[0]["state"], "asleep", "{listed}");
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| server.visit("/echo/").status))
            .collect();
        for visitor in visitors {
            assert_eq!(visitor.join().unwrap(), 200);
        }
    });
    assert_eq!(server.status("echo")["state"], "running");
    assert_eq!(starts(&server), 2);
    // A HEAD wakes as well.
    falls_asleep(&server);
    Request::new("HEAD", "/echo/").send(&server.public());
    assert_eq!(starts(&server), 3);
    let events = server.log();
    assert!(events.contains("app.asleep app=echo") && events.contains("app.woken app=echo"));
}

#[test]
fn requests_that_are_refused_keep_nothing_awake() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(sleepy(&repo), json!({ "allow": ["192.0.2.1"] })));
    eventually("it sleeps while it is asked for", NIGHT, || {
        server.visit("/echo/").expect(403);
        (server.status("echo")["state"] == "asleep").then_some(())
    });
    server.visit("/echo/").expect(403);
    assert_eq!(server.status("echo")["state"], "asleep");
}

/// Requests come at times around that at which it falls asleep, on connections of their own.
#[test]
fn no_request_is_lost_as_it_falls_asleep() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&sleepy(&repo));
    for round in 0..4u64 {
        server.visit("/echo/").expect(200);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for nth in 0..8u64 {
                let server = &server;
                scope.spawn(move || {
                    // Some wait for the moment itself, others for a time near it.
                    if nth < 4 {
                        let at = Duration::from_millis(9_800 + 217 * nth + 61 * round);
                        std::thread::sleep(at.saturating_sub(begun.elapsed()));
                    } else {
                        eventually("it falls asleep, or others woke it", NIGHT, || {
                            let is_asleep = server.status("echo")["state"] == "asleep";
                            (is_asleep || begun.elapsed() > Duration::from_secs(13)).then_some(())
                        });
                    }
                    for _ in 0..3 {
                        server.visit("/echo/").expect(200);
                    }
                });
            }
        });
    }
}

#[test]
fn a_tunnel_keeps_it_awake_and_it_sleeps_when_that_has_ended() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&sleepy(&repo));
    let mut tunnel = TcpStream::connect(server.address()).unwrap();
    tunnel.set_read_timeout(Some(SOON)).unwrap();
    tunnel
        .write_all(
            b"GET /echo/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .unwrap();
    let mut seen = [0; 13];
    tunnel.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"HTTP/1.1 101 ");
    let pid = server.ready_pid("echo", "web.1");
    // What is promised is that nothing happens: it takes the time in which it would.
    std::thread::sleep(Duration::from_secs(14));
    assert!(is_alive(pid));
    assert_eq!(server.status("echo")["state"], "running");
    drop(tunnel);
    falls_asleep(&server);
}

#[test]
fn it_sleeps_on_with_the_next_server_and_a_deploy_starts_it() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&sleepy(&repo));
    falls_asleep(&server);
    server.terminate();
    server.start_again();
    let status = server.status("echo");
    assert_eq!(status["state"], "asleep", "{status}");
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");

    falls_asleep(&server);
    server.kill();
    server.start_again();
    assert_eq!(server.status("echo")["state"], "asleep");
    repo.commit(&web_files("2"));
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");

    // What users ask for does what it says, also while it sleeps.
    falls_asleep(&server);
    server.act("echo", "stop").expect(200);
    assert_eq!(server.status("echo")["state"], "stopped");
    server.visit("/echo/").expect(503);
    server.act("echo", "start").expect(200);
    falls_asleep(&server);
    server.act("echo", "start").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
    falls_asleep(&server);
    let patch = json!({ "env": { "WORD": "new" } });
    server
        .send_and_wait("PATCH", "/applications/echo", &patch)
        .expect(200);
    let visited = server.visit("/echo/").expect(200).json();
    assert_eq!(visited["env"]["WORD"], "new");
}

#[test]
fn one_that_cannot_start_answers_503_and_says_why() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&sleepy(&repo));
    let visited = server.visit("/echo/").expect(200).json();
    let storage = visited["env"]["STORAGE_DIR"].as_str().unwrap();
    falls_asleep(&server);
    std::fs::write(std::path::Path::new(storage).join("crash"), "").unwrap();
    let answer = server.visit("/echo/").expect(503);
    let text = answer.text();
    assert!(
        text.contains("crashed") || text.contains("not ready"),
        "{text}"
    );
    let status = server.status("echo");
    assert_ne!(status["state"], "asleep", "{status}");
}

#[test]
fn a_request_of_one_that_is_paused_waits_for_the_end_of_the_pause() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&sleepy(&repo));
    falls_asleep(&server);
    server
        .send("POST", "/applications/echo/pause", &json!({ "for": "5m" }))
        .expect(200);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| server.visit("/echo/").status);
        eventually("it is held", SOON, || {
            (server.status("echo")["held"] == 1).then_some(())
        });
        assert_eq!(server.status("echo")["state"], "asleep");
        server.act("echo", "resume").expect(200);
        assert_eq!(visitor.join().unwrap(), 200);
    });
}

#[test]
fn jobs_and_commands_run_while_it_sleeps_and_wake_nothing_else() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let job = json!({ "name": "mail", "schedule": "0 0 1 1 *", "command": "echo sent" });
    server.deploy(&with(sleepy(&repo), json!({ "cron": [job] })));
    falls_asleep(&server);
    let jobs = server.get("/applications/echo/cron").expect(200).json();
    assert!(jobs[0]["next"].is_string(), "{jobs}");
    let run = "/applications/echo/cron/mail/run";
    server.send("POST", run, &json!({})).expect(201);
    let wish = json!({ "command": "echo done", "detach": true });
    server
        .send("POST", "/applications/echo/run", &wish)
        .expect(201);
    eventually("both have ended well", SOON, || {
        let runs = server.get("/applications/echo/run").expect(200).json();
        let ended = |run: &Value| run["last_exit"]["code"] == 0;
        let runs = runs.as_array().unwrap();
        (runs.len() == 2 && runs.iter().all(ended)).then_some(())
    });
    assert_eq!(server.status("echo")["state"], "asleep");
}
