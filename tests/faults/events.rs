//! What happens is told, to followers and in the log.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::deploy;
use crate::support::http::Stream;
use crate::support::machine::send_signal;
use crate::support::server::Server;

/// Follows `target` from now on.
#[track_caller]
fn follow(server: &Server, target: &str, last: Option<u64>) -> Stream {
    let mut request = server.request("GET", target);
    if let Some(id) = last {
        request = request.header("Last-Event-ID", &id.to_string());
    }
    let mut stream = request.open(&server.public()).unwrap();
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.next_line(), ": following");
    stream
}

/// The next event of a kind.
#[track_caller]
fn next(stream: &mut Stream, kind: &str) -> Value {
    loop {
        if let Some(data) = stream.next_line().strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn a_deploy_and_a_crash_are_told_to_who_follows_and_in_the_log() {
    let server = Server::start();
    let mut all = follow(&server, "/events", None);
    let mut other = follow(&server, "/events?app=other", None);
    let _echo = deploy(&server, "echo", "");
    let started = next(&mut all, "deployment.started");
    assert_eq!(
        (&started["app"], &started["deployment"]),
        (&"echo".into(), &1.into())
    );
    assert_eq!(next(&mut all, "deployment.step")["step"], "fetch");
    let ready = next(&mut all, "process.ready");
    let routed = next(&mut all, "route.changed");
    assert_eq!(routed["backends"][0], ready["address"], "{routed}");
    assert_eq!(next(&mut all, "deployment.finished")["state"], "succeeded");

    let pid = server.ready_pid("echo", "web.1");
    send_signal(pid, Signal::SIGKILL);
    let exited = next(&mut all, "process.exited");
    assert_eq!(exited["pid"], pid);
    assert_eq!(exited["exit"]["signal"], 9);
    assert_eq!(exited["next"], "it is restarted");
    let again = next(&mut all, "process.started");
    assert_eq!(
        (&again["process"], &again["adopted"]),
        (&"web.1".into(), &false.into())
    );
    next(&mut all, "process.ready");

    // Who comes back with the last id it saw is told what it missed.
    let mut back = follow(&server, "/events?app=echo", exited["id"].as_u64());
    assert_eq!(next(&mut back, "process.started"), again);

    let _other = deploy(&server, "other", "");
    let first = next(&mut other, "deployment.started");
    assert_eq!(first["app"], "other", "and nothing before it");
    let line = format!("process.exited app=echo process=web.1 release=1 batch=1 pid={pid} ");
    assert!(server.log().contains(&line), "{}", server.log());
}

#[test]
fn an_unknown_parameter_or_a_name_that_cannot_be_is_refused() {
    let server = Server::start();
    for target in ["/events?ap=echo", "/events?app=-", "/events?app=%2F"] {
        assert_eq!(server.get(target).status, 422, "{target}");
    }
    server.visit("/events").expect(401);
}
