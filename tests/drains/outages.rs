//! A receiver that is away for much longer than the log has room, and a server that is killed.

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{LONG, all_is_sent, deploy, drain_is, lines_repo, logged, numbers, run, write_up_to};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::eventually;

/// Each line that was taken: its number, or how many are said to be missing in its place.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Line(u64),
    Missing(u64),
}

fn got(receiver: &Receiver) -> Vec<Got> {
    let taken = receiver.taken();
    let lines = taken.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line["line"].as_str().unwrap();
        match text.split_once(" missing here in stdout") {
            Some((count, _)) if line["process"] == "procserver" => {
                Got::Missing(count.split(' ').next().unwrap().parse().unwrap())
            }
            _ => Got::Line(numbers([text])[0]),
        }
    });
    lines.collect()
}

/// Every line came once and in order, or is counted as missing where it is missing; answers how many are missing.
fn account_for(got: &[Got]) -> (u64, u64) {
    let (mut last, mut missing) = (0, 0);
    for one in got {
        match one {
            Got::Line(number) => {
                assert_eq!(*number, last + 1, "{missing} missing before it");
                last = *number;
            }
            Got::Missing(count) => {
                last += count;
                missing += count;
            }
        }
    }
    (last, missing)
}

#[test]
fn away_for_longer_than_the_log_has_room_lines_are_dropped_counted_and_said_and_the_rest_comes() {
    // 16 KiB in two files: some 250 lines.
    let small = Setup::new()
        .flag("--log-size", "8K")
        .flag("--log-files", "2");
    let server = small.start();
    let mut receiver = Receiver::start(false, |_| Answer::Take);
    let url = format!("http://{}/", receiver.address());
    deploy(&server, &lines_repo(), json!([{"url": url}]));
    write_up_to(&server, 100);
    logged(&server, 100);
    all_is_sent(&server);
    receiver.go_away();
    let memory = crate::support::machine::memory(server.pid());
    // More than a hundred times what there is room for.
    for step in 1..=30 {
        write_up_to(&server, 100 + step * 1000);
        logged(&server, 100 + step * 1000);
    }
    let drain = drain_is(&server, "it fails", |drain| drain["state"] == "failing");
    // What the log has gone on over waits no more, and all that was written since is either.
    let (waiting, dropped) = (drain["waiting"].as_u64(), drain["dropped"].as_u64());
    assert!(waiting < Some(5000) && dropped > Some(25_000), "{drain}");
    assert_eq!(waiting.unwrap() + dropped.unwrap(), 30_000, "{drain}");
    let is_said = || server.log().contains("drain.dropped").then_some(());
    eventually("it is said while it lasts", LONG, is_said);
    let warnings = server.status("noisy")["warnings"].to_string();
    assert!(
        warnings.contains("it has taken nothing since"),
        "{warnings}"
    );
    let grown = crate::support::machine::memory(server.pid()).saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more");
    receiver.come_back();
    write_up_to(&server, 30_200);
    logged(&server, 30_200);
    let drain = all_is_sent(&server);
    let (last, missing) = account_for(&got(&receiver));
    assert_eq!(last, 30_200);
    assert!(missing > 25_000, "{missing}");
    assert_eq!(drain["dropped"], missing);
    // It has to be well for a while first.
    eventually("both are said", LONG, || {
        let log = server.log();
        (log.contains("drain.failing") && log.contains("drain.recovered")).then_some(())
    });
}

#[test]
fn a_server_that_is_killed_and_one_that_is_stopped_send_nothing_again_that_was_taken() {
    let receiver = Receiver::start(false, |_| Answer::Take);
    let mut server = Server::start();
    let url = format!("http://{}/", receiver.address());
    deploy(&server, &lines_repo(), json!([{"url": url}]));
    let mut last = 0;
    for how in ["kill", "stop", "kill", "stop"] {
        // A process that is started anew begins anew.
        let begin = if how == "stop" { last } else { 0 };
        last = begin + 700;
        write_up_to(&server, last);
        logged(&server, last);
        all_is_sent(&server);
        match how {
            "kill" => server.kill(),
            _ => drop(server.terminate()),
        }
        if how == "stop" {
            write_up_to(&server, 0);
            last = 0;
        }
        server.start_again();
        server.ready_pid("noisy", "lines.1");
        if how == "kill" {
            let (taken, _) = account_for_lives(&got(&receiver));
            assert_eq!(taken, last);
        }
    }
    let (_, lives) = account_for_lives(&got(&receiver));
    assert_eq!(lives, 2, "{:?}", got(&receiver).len());
}

/// As [`account_for`], where a process began anew: the last number and how many lives there were.
fn account_for_lives(got: &[Got]) -> (u64, u64) {
    let (mut last, mut lives) = (0, 0);
    for one in got {
        let Got::Line(number) = one else {
            panic!("{one:?}")
        };
        lives += u64::from(*number == 1);
        assert!(*number == last + 1 || *number == 1, "{number} after {last}");
        last = *number;
    }
    (last, lives)
}

#[test]
fn a_drain_that_panics_is_started_again_and_nothing_else_is() {
    let receiver = Receiver::start(false, |_| Answer::Take);
    let server = Server::start();
    let url = format!("http://{}/", receiver.address());
    deploy(&server, &lines_repo(), json!([{"url": url}]));
    let pid = server.ready_pid("noisy", "lines.1");
    server.arm("a drain delivers");
    write_up_to(&server, 50);
    eventually("it panics", LONG, || {
        server.has_fired("a drain delivers").then_some(())
    });
    all_is_sent(&server);
    assert_eq!(account_for(&got(&receiver)), (50, 0));
    assert_eq!(server.ready_pid("noisy", "lines.1"), pid);
    let log = server.log();
    assert!(
        log.contains("actor.ended") && log.contains("a drain"),
        "{log}"
    );
    // Nor does the end of the actor that keeps them cost a line, or send one twice.
    server.arm("Drainer");
    eventually("it panics", LONG, || {
        // It is polled when something is wanted of it.
        let other = json!({"drains": [{"url": url}, {"url": "syslog+udp://127.0.0.1:9"}]});
        let none = json!({"drains": [{"url": url}]});
        for drains in [other, none] {
            server.send("PATCH", "/applications/noisy", &drains);
        }
        server.has_fired("Drainer").then_some(())
    });
    write_up_to(&server, 100);
    eventually("all lines are there", LONG, || {
        (account_for(&got(&receiver)) == (100, 0)).then_some(())
    });
    assert_eq!(server.ready_pid("noisy", "lines.1"), pid);
    // With the application its drains go, and what they remember.
    run(&server, &["rm", "noisy", "--yes"]).success();
    assert!(!server.directory().join("apps/noisy").exists());
}
