//! Processes that crash, hang, or do not begin at all.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::deploy;
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_alive, send_signal};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// How quickly the API answers whatever an app does. One answer may meet a machine that is busy; the best of a few
/// does not.
const PROMPT: Duration = Duration::from_millis(100);

#[track_caller]
fn assert_prompt(server: &Server, app: &str) {
    let took = (0..5).map(|_| {
        let begun = Instant::now();
        server.status(app);
        begun.elapsed()
    });
    let best = took.min().expect("five");
    assert!(best < PROMPT, "the API took {best:?}");
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("a time")
}

/// A Procfile line that does nothing until [`begin`]: what fails at once would fail its deploy.
fn after_mark(name: &str, command: &str) -> String {
    format!("{name}: if [ -e $STORAGE_DIR/mark ]; then exec {command}; fi; exec sleep 600\n")
}

/// Lets what [`after_mark`] made begin, by a restart.
#[track_caller]
fn begin(server: &Server, app: &str, id: &str) {
    let mark = format!("apps/{app}/storage/mark");
    std::fs::write(server.directory().join(mark), "").unwrap();
    send_signal(server.ready_pid(app, id), Signal::SIGKILL);
}

#[test]
fn a_dead_process_is_sent_no_request() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let two = json!({ "scale": { "web": 2 } });
    server.deploy(&with(document("echo", &repo), two));
    let pid = server.ready_pid("echo", "web.1");
    send_signal(pid, Signal::SIGKILL);
    eventually("it is dead", SOON, || (!is_alive(pid)).then_some(()));
    for _ in 0..20 {
        server.visit("/echo/").expect(200);
    }
    eventually("it is back", SOON, || {
        let back = server.process("echo", "web.1");
        (back["state"] == "ready" && back["pid"] != pid).then_some(())
    });
}

#[test]
fn the_first_restart_follows_its_exit_within_milliseconds() {
    let server = Server::start();
    let (repo, count) = (web_repo("1"), 11);
    repo.commit(&[("Procfile", "worker: exec sleep 600\n")]);
    let many = json!({ "scale": { "worker": count } });
    server.deploy(&with(document("many", &repo), many));
    let mut delays: Vec<i128> = (1..=count)
        .map(|number| {
            let id = format!("worker.{number}");
            send_signal(server.ready_pid("many", &id), Signal::SIGKILL);
            let again = eventually("it is restarted", SOON, || {
                let process = server.process("many", &id);
                (process["restarts"] == 1 && process["pid"].is_u64()).then_some(process)
            });
            let ended = time(&again["last_exit"]["at"]);
            (time(&again["started_at"]).duration_since(ended)).as_millis()
        })
        .collect();
    delays.sort_unstable();
    // 10 ms on a machine that does nothing else: `benches/supervision.rs`.
    assert!(delays[delays.len() / 2] <= 100, "milliseconds: {delays:?}");
}

#[test]
fn a_crash_loop_costs_neither_the_api_nor_another_app_anything() {
    let server = Server::start();
    let _good = deploy(&server, "good", "");
    let pid = server.ready_pid("good", "web.1");
    // More of them than the supervisor would restart actors: a crash of a process is no crash of an actor.
    let crashing: String = (0..8)
        .map(|n| after_mark(&format!("crash{n}"), "sh -c 'exit 3'"))
        .collect();
    let _bad = deploy(&server, "bad", &crashing);
    (0..8).for_each(|n| begin(&server, "bad", &format!("crash{n}.1")));
    eventually("each has crashed three times", SOON, || {
        let status = server.status("bad");
        let processes = status["processes"].as_array().unwrap();
        let mut crashing = processes.iter().filter(|p| p["type"] != "web");
        crashing
            .all(|p| p["restarts"].as_u64() >= Some(2))
            .then_some(())
    });
    assert_prompt(&server, "bad");
    server.visit("/good/").expect(200);
    server.visit("/bad/").expect(200);
    assert_eq!(server.ready_pid("good", "web.1"), pid);
    assert_eq!(server.process("good", "web.1")["restarts"], 0);
    // A stop by hand wins over any delay.
    let begun = Instant::now();
    server.act("bad", "stop").expect(200);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_deploy_during_a_crash_loop_begins_anew_without_a_delay() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let procfile = |worker: &str| format!("web: exec python3 web.py\n{worker}");
    repo.commit(&[(
        "Procfile",
        &procfile(&after_mark("worker", "sh -c 'exit 3'")),
    )]);
    server.deploy(&document("echo", &repo));
    begin(&server, "echo", "worker.1");
    // The next start is four seconds away, and the ones after it further.
    eventually("it waits", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["restarts"] == 3 && process["state"] == "backoff").then_some(())
    });
    repo.commit(&[("Procfile", &procfile("worker: exec sleep 600\n"))]);
    server.act("echo", "redeploy").expect(200);
    eventually("only the new one is left, and has no past", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["release"] == 2 && process["state"] == "ready" && process["restarts"] == 0)
            .then_some(())
    });
    // And one that crashes anew is restarted at once, as the first time.
    send_signal(server.ready_pid("echo", "worker.1"), Signal::SIGKILL);
    let again = eventually("it is restarted", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["restarts"] == 1 && process["started_at"].is_string()).then_some(process)
    });
    let delay = time(&again["started_at"]).duration_since(time(&again["last_exit"]["at"]));
    assert!(delay.as_millis() < 900, "{delay:?}");
}

#[test]
fn what_is_not_executable_is_126_named_and_not_tried_without_a_pause() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", &after_mark("tool", "./web.py"));
    begin(&server, "echo", "tool.1");
    let process = eventually("it was tried twice", SOON, || {
        let process = server.process("echo", "tool.1");
        let waits = process["restarts"] == 1 && process["state"] == "backoff";
        waits.then_some(process)
    });
    let exit = &process["last_exit"];
    assert_eq!(exit["code"], 126, "{exit}");
    assert!(exit["reason"].to_string().contains("./web.py"), "{exit}");
}

#[test]
fn that_a_process_ignored_sigterm_and_was_killed_is_said() {
    let server = Server::start();
    let stubborn = "stubborn: trap '' TERM; while :; do sleep 0.1; done\n";
    let _repo = deploy(&server, "echo", stubborn);
    let pid = server.ready_pid("echo", "stubborn.1");
    server.act("echo", "stop").expect(200);
    assert!(!is_alive(pid));
    let said = server.log().lines().any(|line| {
        line.contains("stubborn.1") && line.contains("killed after 1s: ignored SIGTERM")
    });
    assert!(said, "{}", server.log());
}

#[test]
fn a_process_that_is_stopped_by_a_signal_can_be_stopped_for_good() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    send_signal(pid, Signal::SIGSTOP);
    server.act("echo", "stop").expect(200);
    assert!(!is_alive(pid));
}

#[test]
fn a_process_that_closes_its_output_is_supervised_like_any_other() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "mute: exec sleep 600 >&- 2>&-\n");
    let pid = server.ready_pid("echo", "mute.1");
    send_signal(pid, Signal::SIGKILL);
    let again = eventually("it is restarted", SOON, || {
        let process = server.process("echo", "mute.1");
        (process["state"] == "ready" && process["pid"] != pid).then_some(process)
    });
    assert_eq!(again["last_exit"]["signal"], 9, "{again}");
    server.act("echo", "stop").expect(200);
    assert!(
        again["pid"]
            .as_i64()
            .is_some_and(|pid| !is_alive(i32::try_from(pid).unwrap()))
    );
}

#[test]
fn a_port_that_a_stranger_took_is_left_to_it_and_the_stranger_is_named() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let port = server.process("echo", "web.1")["port"].as_u64().unwrap();
    server.act("echo", "stop").expect(200);
    let port = u16::try_from(port).unwrap();
    let stranger = eventually("the port is free", SOON, || {
        std::net::TcpListener::bind(("127.0.0.1", port)).ok()
    });
    server.act("echo", "start").expect(200);
    let process = server.process("echo", "web.1");
    assert_ne!(process["port"], port, "{process}");
    let own = std::process::id().to_string();
    eventually("a warning names who has it", SOON, || {
        let warnings = server.status("echo")["warnings"].to_string();
        (warnings.contains(&port.to_string()) && warnings.contains(&own)).then_some(())
    });
    server.visit("/echo/").expect(200);
    drop(stranger);
}

#[test]
fn what_never_listens_is_not_routed_and_the_failure_names_the_port() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[("Procfile", "web: exec sleep 600\n")]);
    let impatient = json!({ "health_check": { "interval": "100ms", "boot_timeout": "1s" } });
    let answer = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("echo", &repo), impatient),
    );
    let failure = answer.expect(422).json()["failure"].clone();
    assert_eq!(failure["step"], "start", "{failure}");
    let ports = regex::Regex::new(r"\b2\d{4}\b|\b3[0-2]\d{3}\b").unwrap();
    assert!(ports.is_match(&failure.to_string()), "{failure}");
    server.visit("/echo/").expect(503);
}
