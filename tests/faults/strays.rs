//! What a process leaves behind: nothing of it may outlive a stop, a restart or a removal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::deploy;
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_alive, is_root, processes_of, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Processes that leave children in every way: beside them, in a session of their own, by a double fork. Each writes its
/// pid to a file.
const LEAVING: &str = r#"beside: sleep 600 & echo $! >$STORAGE_DIR/beside; exec sleep 600
session: (setsid sh -c 'echo $$ >$STORAGE_DIR/session; exec sleep 600' &) ; exec sleep 600
double: (sh -c '(sleep 600 & echo $! >$STORAGE_DIR/double) &' &) ; exec sleep 600
"#;

/// Ones that also forget the environment they were given, and then everything else that a daemon forgets: descriptors
/// and directory.
const BARE: &str = r#"bare: (setsid env -i sh -c 'echo $$ >'$STORAGE_DIR'/bare; exec sleep 600' &) ; exec sleep 600
daemon: (setsid env -i sh -c 'cd /; echo $$ >'$STORAGE_DIR'/daemon; exec sleep 600 <&- >/dev/null 2>&1' &) ; exec sleep 600
"#;

/// Whether apps get control groups here.
fn has_cgroups(server: &Server) -> bool {
    server.log().contains("each process gets a control group")
}

/// The pids that the children wrote, once all have; the files are gone afterwards.
#[track_caller]
fn children(server: &Server, names: &[&str]) -> Vec<i32> {
    let storage = server.directory().join("apps/echo/storage");
    let pid_in = |path: PathBuf| {
        eventually(&format!("{} holds a pid", path.display()), SOON, || {
            let pid = std::fs::read_to_string(&path).ok()?.trim().parse().ok()?;
            std::fs::remove_file(&path).ok()?;
            Some(pid)
        })
    };
    let pids: Vec<i32> = names.iter().map(|n| pid_in(storage.join(n))).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
    pids
}

#[track_caller]
fn assert_gone(pids: &[i32], after: &str) {
    // A restart is done when the new processes serve; the old ones end meanwhile.
    eventually(&format!("{pids:?} are gone after {after}"), SOON, || {
        pids.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
}

#[test]
fn no_child_survives_a_crash_a_restart_a_stop_or_a_removal() {
    let server = Server::start();
    if !has_cgroups(&server) {
        skip("control groups", "there is no cgroup2 directory to use");
    }
    no_child_survives(&server);
}

#[test]
fn no_child_survives_where_there_are_no_control_groups() {
    if !is_root() {
        return skip("the same without cgroup2", "only root can hide it");
    }
    let server = Setup::new().without_cgroups().start();
    assert!(!has_cgroups(&server), "{}", server.log());
    no_child_survives(&server);
}

#[test]
fn no_child_survives_where_the_server_is_not_root() {
    if !is_root() {
        return skip("the same as nobody", "the tests are not root as it is");
    }
    let server = Setup::new().by_nobody().start();
    assert!(!has_cgroups(&server), "{}", server.log());
    no_child_survives(&server);
}

/// Lets processes leave children in all ways, and end in all ways.
#[track_caller]
fn no_child_survives(server: &Server) {
    let names = ["beside", "session", "double", "bare", "daemon"];
    let _repo = deploy(server, "echo", &format!("{LEAVING}{BARE}"));

    let crashed = children(server, &names);
    for name in &names {
        let id = format!("{name}.1");
        let pid = server.ready_pid("echo", &id);
        send_signal(pid, Signal::SIGKILL);
        eventually("it is restarted", SOON, || {
            let process = server.process("echo", &id);
            (process["restarts"] == 1 && process["state"] == "ready").then_some(())
        });
    }
    assert_gone(&crashed, "a crash");

    let restarted = children(server, &names);
    server.act("echo", "restart").expect(200);
    assert_gone(&restarted, "a restart");

    let stopped = children(server, &names);
    server.act("echo", "stop").expect(200);
    assert_gone(&stopped, "a stop");

    server.act("echo", "start").expect(200);
    let removed = children(server, &names);
    let delete = server.request("DELETE", "/applications/echo");
    let delete = delete.header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
    assert_gone(&removed, "a removal");
    assert_eq!(processes_of(server.directory()).len(), 1);
}

/// Forks as fast as it can, up to a limit that the machine survives; every child does the same.
const BOMB: &str = r#"
import os, resource
resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
"#;

#[test]
fn a_fork_bomb_is_dead_soon_after_the_stop_and_the_api_answers_meanwhile() {
    if !is_root() {
        return skip("a fork bomb", "only root can give it a user of its own");
    }
    stops_a_bomb(&Setup::new().in_session().start(), "games");
}

#[test]
fn a_fork_bomb_is_dead_soon_also_where_there_are_no_control_groups() {
    if !is_root() {
        return skip("the same without cgroup2", "only root can hide it");
    }
    let server = Setup::new().without_cgroups().in_session().start();
    assert!(!has_cgroups(&server), "{}", server.log());
    stops_a_bomb(&server, "news");
}

/// One at a time: two hundred processes that fork are enough for a machine.
static BOMBS: Mutex<()> = Mutex::new(());

#[track_caller]
fn stops_a_bomb(server: &Server, user: &str) {
    let _alone = BOMBS.lock().unwrap_or_else(PoisonError::into_inner);
    let repo = web_repo("1");
    repo.commit(&[
        (
            "Procfile",
            "web: exec python3 web.py\nbomb: exec python3 bomb.py\n",
        ),
        ("bomb.py", BOMB),
    ]);
    // Nobody else runs as this user: the limit of processes counts them by user.
    let changes = json!({
        "user": user, "group": user, "scale": { "bomb": 0 }, "stop": { "timeout": "1s" },
    });
    server.deploy(&with(document("echo", &repo), changes.clone()));
    let mut document = with(document("echo", &repo), changes);
    document["scale"] = json!({ "bomb": 1 });
    server
        .send_and_wait("PUT", "/applications/echo", &document)
        .expect(200);
    eventually("it has forked", SOON, || {
        (processes_of(server.directory()).len() > 50).then_some(())
    });
    server.status("echo");
    let begun = Instant::now();
    server.act("echo", "stop").expect(200);
    let took = begun.elapsed();
    assert_eq!(processes_of(server.directory()).len(), 1);
    // Two seconds, and as much again for requests on a machine full of it; more where each has to be found.
    let limit = if has_cgroups(server) { 4 } else { 15 };
    assert!(took < Duration::from_secs(limit), "{took:?}");
}

/// Field 19 of proc_pid_stat(5): the nice value.
fn nice_of(stat: &Path) -> i32 {
    let line = std::fs::read_to_string(stat).unwrap();
    let (_, rest) = line.rsplit_once(')').unwrap();
    rest.split_ascii_whitespace()
        .nth(16)
        .unwrap()
        .parse()
        .unwrap()
}

/// Whether a priority can be raised here: by root, where that has CAP_SYS_NICE.
fn can_come_first(own: i32) -> bool {
    let raised = Command::new("nice").args(["-n", "-10", "nice"]).output();
    String::from_utf8(raised.unwrap().stdout).unwrap().trim() == (own - 10).to_string()
}

#[test]
fn the_server_comes_before_its_apps_and_neither_proxy_nor_logs_do() {
    let own = nice_of(Path::new("/proc/self/stat"));
    if !can_come_first(own) {
        return skip("priorities", "they cannot be raised here");
    }
    let server = Setup::new().in_session().start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let pids = processes_of(server.directory());
    let daemon = server.pid();
    for pid in pids {
        let expected = if pid == daemon { own - 10 } else { own };
        let stat = format!("/proc/{pid}/stat");
        assert_eq!(nice_of(Path::new(&stat)), expected, "{pid}");
    }
    let threads = std::fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
    let ordinary =
        threads.filter(|thread| nice_of(&thread.as_ref().unwrap().path().join("stat")) == own);
    // The workers, and the logs' thread.
    assert!(ordinary.count() > 1);
}
