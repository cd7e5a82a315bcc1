//! The daemon itself is killed, starved, started twice, or finds what another boot left.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{deploy, lines, port_of};
use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::{is_alive, processes_of, send_signal};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// How often the daemon is killed; more by `PROCSERVER_TEST_KILLS`.
fn kills() -> u32 {
    let more = std::env::var("PROCSERVER_TEST_KILLS");
    more.map_or(20, |text| text.parse().expect("a number"))
}

/// Prints numbered lines as fast as is sane, for ever.
const COUNTER: &str = "count: n=0; while :; do n=$((n+1)); echo count-$n; sleep 0.005; done\n";

#[test]
fn killed_over_and_over_under_load_it_loses_no_process_no_line_and_no_port() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", COUNTER);
    let ids = ["web.1", "count.1"];
    let pids = ids.map(|id| server.ready_pid("echo", id));
    let port = server.process("echo", "web.1")["port"].clone();
    let direct = port_of(&server, "echo", "web.1");
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // The app itself is never away, whatever happens to the daemon.
            while !over.load(Ordering::Relaxed) {
                Request::get("/").send(&direct).expect(200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        let cycles = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..kills() {
                server.kill();
                server.start_again();
                eventually("it serves again", SOON, || {
                    (server.visit("/echo/").status == 200).then_some(())
                });
            }
        }));
        over.store(true, Ordering::Relaxed);
        cycles.unwrap();
    });
    assert!(answered.into_inner() > 0);
    assert_eq!(ids.map(|id| server.ready_pid("echo", id)), pids);
    assert_eq!(server.process("echo", "web.1")["port"], port);
    assert_eq!(
        processes_of(server.directory())
            .into_iter()
            .filter(|pid| has_started_by_hand(*pid))
            .collect::<BTreeSet<_>>(),
        BTreeSet::from(pids),
        "nothing twice"
    );
    server.act("echo", "stop").expect(200);
    assert_no_line_is_missing(&server);
}

/// Whether it leads a session: a process of an app, not the `sleep` of its shell.
fn has_started_by_hand(pid: i32) -> bool {
    let own = nix::unistd::Pid::from_raw(pid);
    nix::unistd::getsid(Some(own)).is_ok_and(|session| session == own)
}

#[track_caller]
fn assert_no_line_is_missing(server: &Server) {
    let counted = lines(server, "echo", "stdout?tail=all&process=count.1");
    let numbers: Vec<u64> = counted
        .iter()
        .map(|line| line.strip_prefix("count-").unwrap().parse().unwrap())
        .collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert!(numbers.len() > 100, "{}", numbers.len());
    assert_eq!(numbers, expected, "each once, in order");
}

#[test]
fn a_process_that_ended_while_the_daemon_was_away_is_found_dead_and_restarted() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", COUNTER);
    let pids = ["web.1", "count.1"].map(|id| server.ready_pid("echo", id));
    server.kill();
    pids.iter()
        .for_each(|pid| send_signal(*pid, Signal::SIGKILL));
    server.start_again();
    for (id, pid) in ["web.1", "count.1"].into_iter().zip(pids) {
        assert_ne!(server.ready_pid("echo", id), pid, "{id}");
    }
    server.visit("/echo/").expect(200);
}

#[test]
fn records_of_another_boot_are_nobody_and_who_has_their_pid_now_is_left_alone() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let its_pid = i32::try_from(stranger.id()).unwrap();
    server.kill();
    send_signal(pid, Signal::SIGKILL);
    let runtime = server.directory().join("run/apps/echo");
    let entry = std::fs::read_dir(&runtime)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let record = entry.path().join("identity.json");
    let mut identity: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    identity["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    identity["pid"] = stranger.id().into();
    std::fs::write(&record, identity.to_string()).unwrap();

    server.start_again();
    let now = server.ready_pid("echo", "web.1");
    let untouched = is_alive(its_pid);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(untouched && now != its_pid && now != pid);
    server.visit("/echo/").expect(200);
}

#[test]
fn a_second_server_on_the_same_data_names_the_first_and_changes_nothing() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let mut second = procserver();
    second.arg("serve").args(["--listen", "127.0.0.1:0"]);
    let second = finish(second.arg("--data-dir").arg(server.directory()));
    assert_eq!(second.code, Some(1), "{second:?}");
    let named = second.stderr.contains(&format!("pid {}", server.pid()));
    assert!(named, "{}", second.stderr);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    server.visit("/echo/").expect(200);
}

#[test]
fn so_is_one_on_the_same_runtime_directory_and_one_that_finds_no_lock_file() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let data = server.directory();
    std::fs::remove_file(data.join("lock")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for (data, in_use) in [
        (data, data.to_owned()),
        (elsewhere.path(), data.join("run")),
    ] {
        let mut second = procserver();
        second.arg("serve").args(["--listen", "127.0.0.1:0"]);
        second.arg("--data-dir").arg(data).arg("--runtime-dir");
        let second = finish(second.arg(server.directory().join("run")));
        let said = format!("{} is in use by procserver", in_use.display());
        assert!(second.stderr.contains(&said), "{}", second.stderr);
    }
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert!(server.socket().exists());
}

/// Lets the running daemon have so many descriptors.
pub(super) fn limit_descriptors(pid: i32, limit: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]);
    assert!(command.status().unwrap().success());
}

#[test]
fn without_descriptors_nothing_dies_and_with_some_all_goes_on() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let (web, worker) = (
        server.ready_pid("echo", "web.1"),
        server.ready_pid("echo", "worker.1"),
    );
    // Fewer than it has, so that not one more can be opened. The hard limit stays, so that it can be given back.
    limit_descriptors(server.pid(), "5:");
    send_signal(worker, Signal::SIGKILL);
    eventually("the daemon says that it cannot", SOON, || {
        server.log().contains("os error 24").then_some(())
    });
    assert!(is_alive(web));
    limit_descriptors(server.pid(), "10000:");
    eventually("it serves", SOON, || {
        (server.try_visit("/echo/")? == 200).then_some(())
    });
    let again = eventually("what ended is back", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["state"] == "ready").then_some(process)
    });
    assert_ne!(again["pid"], worker);
    assert_eq!(server.ready_pid("echo", "web.1"), web, "it was left alone");
    let blamed = server.process("echo", "worker.1")["last_exit"]["signal"].clone();
    assert_eq!(blamed, 9);
}

/// The first core that this process may run on, as `taskset` is told it.
fn a_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.expect("proc_pid_status(5)").trim();
    list.chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn when_everything_starts_at_once_no_more_than_four_for_each_core_start_at_a_time() {
    // One core, so that fewer than all may start.
    let setup = Setup::new().launched_by(&["taskset", "--cpu-list", &a_core()]);
    let (cores, count) = (1, 12);
    let (mut server, repo) = (setup.start(), web_repo("1"));
    repo.commit(&[("Procfile", "web: sleep 0.2; exec python3 web.py\n")]);
    let scale = json!({ "scale": { "web": count } });
    server.deploy(&with(document("echo", &repo), scale));
    server.terminate();
    server.start_again();
    for number in 1..=count {
        server.ready_pid("echo", &format!("web.{number}"));
    }
    let (mut starting, mut most, mut ready) = (0, 0, 0);
    let all = server
        .request("GET", "/events")
        .header("Last-Event-ID", "0");
    let all = all.open(&server.public()).unwrap().into_body();
    for line in BufReader::new(all).lines() {
        let line = line.unwrap();
        starting += usize::from(line.contains("\"process.started\""));
        most = most.max(starting);
        if line.contains("\"process.ready\"") {
            (starting, ready) = (starting - 1, ready + 1);
        }
        if ready == count {
            break;
        }
    }
    assert!((2..=4 * cores).contains(&most), "{most} at a time");
}

#[test]
fn a_socket_that_somebody_removed_is_made_again() {
    let server = Server::start();
    std::fs::remove_file(server.socket()).unwrap();
    eventually("it is there again", SOON, || {
        std::os::unix::net::UnixStream::connect(server.socket()).ok()
    });
    std::fs::remove_dir_all(server.socket().parent().unwrap()).unwrap();
    eventually("so it is with its directory", SOON, || {
        std::os::unix::net::UnixStream::connect(server.socket()).ok()
    });
}
