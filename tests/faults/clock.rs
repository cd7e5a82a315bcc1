//! The wall clock is set, forward and back. For the server alone: a library that is loaded before libc shifts what it is
//! told; the machine's own clock is everybody's.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::deploy;
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::{is_alive, is_root, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Adds the seconds in the file named by CLOCK_OFFSET to the wall clock of its process, whatever they are by then.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none, *offset = &none;

__attribute__((constructor)) static void prepare(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) offset = map;
    if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"#;

const DAY: i64 = 24 * 3600;

/// A server whose wall clock can be set.
pub(crate) struct Clocked {
    pub(crate) server: Server,
    offset: std::fs::File,
}

impl Clocked {
    pub(crate) fn start() -> Self {
        let setup = Setup::new();
        let [source, library, offset] =
            ["shim.c", "shim.so", "offset"].map(|name| setup.directory().join(name));
        std::fs::write(&source, SHIM).unwrap();
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source);
        assert!(
            compiler
                .status()
                .expect("cc links every Rust program")
                .success()
        );
        std::fs::write(&offset, 0_i64.to_ne_bytes()).unwrap();
        let text = |path: &Path| path.display().to_string();
        let server = setup
            .variable("LD_PRELOAD", &text(&library))
            .variable("CLOCK_OFFSET", &text(&offset))
            .start();
        let offset = std::fs::File::options().write(true).open(offset).unwrap();
        Self { server, offset }
    }

    /// Sets the clock so many seconds from the true time.
    pub(crate) fn set(&self, seconds: i64) {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// Prints numbered lines for ever.
const COUNTER: &str = "count: n=0; while :; do n=$((n+1)); echo count-$n; sleep 0.02; done\n";

fn counted(server: &Server, more: &str) -> Vec<Value> {
    let target = format!("/applications/echo/logs/stdout?process=count.1&{more}");
    let answer = server
        .request("GET", &target)
        .header("Accept", "application/x-ndjson");
    let text = answer.send(&server.public()).expect(200).text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn is_near(record: &Value, seconds: i64) -> bool {
    let time: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
    (time.as_second() - Timestamp::now().as_second() - seconds).abs() < 600
}

/// Waits until lines are stamped with the changed time: the clock has really changed for the server.
#[track_caller]
fn wait_for_stamp(server: &Server, seconds: i64) {
    eventually("lines have the new time", SOON, || {
        is_near(counted(server, "tail=1").last()?, seconds).then_some(())
    });
}

#[track_caller]
fn assert_each_line_once(records: &[Value]) {
    let numbers: Vec<u64> = records
        .iter()
        .map(|r| {
            r["text"]
                .as_str()
                .unwrap()
                .strip_prefix("count-")
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    let from = numbers[0];
    assert_eq!(
        numbers,
        (from..from + numbers.len() as u64).collect::<Vec<_>>()
    );
    assert!(
        records.iter().map(|r| r["id"].as_u64()).is_sorted(),
        "ids grow"
    );
}

#[test]
fn a_clock_that_is_set_forward_and_back_restarts_kills_ends_and_loses_nothing() {
    let mut clocked = Clocked::start();
    let _repo = deploy(&clocked.server, "echo", COUNTER);
    let ids = ["web.1", "count.1"];
    let pids = ids.map(|id| clocked.server.ready_pid("echo", id));
    let follow = "/applications/echo/logs/stdout?follow=true&tail=all&process=count.1";
    let follower = clocked
        .server
        .request("GET", follow)
        .header("Accept", "application/x-ndjson");
    let follower = follower.open(&clocked.server.public()).unwrap();

    for seconds in [DAY, -DAY, 0] {
        clocked.set(seconds);
        wait_for_stamp(&clocked.server, seconds);
        clocked.server.visit("/echo/").expect(200);
        // Lines of a time that is yet to come are no older than an hour.
        let recent = counted(&clocked.server, "since=1h");
        assert!(is_near(recent.last().unwrap(), seconds));
    }
    assert_eq!(ids.map(|id| clocked.server.ready_pid("echo", id)), pids);
    let last = counted(&clocked.server, "tail=1")[0].clone();
    let followed: Vec<Value> = BufReader::new(follower.into_body())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .scan(false, |over, record: Value| {
            let go_on = !*over;
            *over = record["id"] == last["id"];
            go_on.then_some(record)
        })
        .collect();
    assert_each_line_once(&followed);

    // A daemon that comes back at another time knows its processes: what they are does not depend on any clock.
    for seconds in [-DAY, DAY] {
        clocked.server.kill();
        clocked.set(seconds);
        clocked.server.start_again();
        assert_eq!(ids.map(|id| clocked.server.ready_pid("echo", id)), pids);
        wait_for_stamp(&clocked.server, seconds);
    }
    assert_each_line_once(&counted(&clocked.server, "tail=all"));
    let restarts = ids.map(|id| clocked.server.process("echo", id)["restarts"].clone());
    assert_eq!(restarts, [json!(0), json!(0)]);
}

#[test]
fn a_daemon_that_counts_the_time_since_boot_otherwise_takes_nobody_for_another() {
    if !is_root() {
        return skip("another time namespace", "only root can make one");
    }
    let setup = Setup::new();
    let launcher = setup.directory().join("launcher");
    std::fs::write(&launcher, "env").unwrap();
    let words = format!("exec $(cat {}) \"$@\"", launcher.display());
    let mut server = setup.launched_by(&["sh", "-c", &words, "sh"]).start();
    let _repo = deploy(&server, "echo", COUNTER);
    let ids = ["web.1", "count.1"];
    let pids = ids.map(|id| server.ready_pid("echo", id));
    server.kill();
    // proc(5) then shows other start times of the same processes.
    std::fs::write(
        &launcher,
        "unshare --time --boottime 100000 --monotonic 100000",
    )
    .unwrap();
    server.start_again();
    let again = ids.map(|id| server.ready_pid("echo", id));
    for (old, new) in pids.into_iter().zip(again) {
        assert!(old == new || !is_alive(old), "{old} runs beside {new}");
    }
    server.visit("/echo/").expect(200);
    // Once they are known by its own time, it is as ever.
    server.kill();
    server.start_again();
    assert_eq!(ids.map(|id| server.ready_pid("echo", id)), again);
}

#[test]
fn what_is_under_way_when_the_clock_is_set_neither_times_out_nor_waits_longer() {
    let clocked = Clocked::start();
    let (server, repo) = (&clocked.server, web_repo("1"));
    // It gets ready when it is told to, and its web process dies when it is told to.
    repo.commit(&[(
        "Procfile",
        "web: until [ -e $STORAGE_DIR/go ]; do sleep 0.05; done; exec python3 web.py\nworker: exec sleep 600\n",
    )]);
    let patient = json!({ "health_check": { "interval": "100ms", "boot_timeout": "1h" } });
    let document = with(document("echo", &repo), patient);
    let accepted = server.send("POST", "/applications", &document).expect(202);
    let place = accepted.header("location").expect("where it is").to_owned();
    eventually("web is starting", SOON, || {
        let log = server.log();
        (log.contains("web.1") && server.status("echo")["processes"][0]["state"] == "starting")
            .then_some(())
    });
    let storage = server.directory().join("apps/echo/storage");
    std::thread::scope(|threads| {
        // Held until there is a backend.
        let held = threads.spawn(|| Request::get("/echo/").send(&server.public()).status);
        for seconds in [DAY, -DAY] {
            clocked.set(seconds);
            let state = server.get(&place).expect(200).json()["state"].clone();
            assert!(state != "failed" && state != "succeeded", "{state}");
        }
        std::fs::write(storage.join("go"), "").unwrap();
        assert_eq!(held.join().unwrap(), 200);
    });
    eventually("the deployment ends well", SOON, || {
        (server.get(&place).expect(200).json()["state"] == "succeeded").then_some(())
    });
    // The first restart is at once, also while the clock is a day behind its start.
    let worker = server.ready_pid("echo", "worker.1");
    send_signal(worker, Signal::SIGKILL);
    eventually("it is restarted", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["restarts"] == 1 && process["state"] == "ready").then_some(())
    });
}
