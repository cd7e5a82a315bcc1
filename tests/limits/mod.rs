//! `limits` of the document: memory, CPU, tasks and files, as the machine enforces them.

mod disk;
mod groups;
mod quota;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::command::{finish, procserver};
use crate::support::control_groups::{group_of, groups_of};
use crate::support::fixture::{document, web_files, with};
use crate::support::machine::{is_root, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Takes 200 MiB when it is told to.
const HOG: &str = "hog: while [ ! -e $STORAGE_DIR/go ]; do sleep 0.05; done; rm $STORAGE_DIR/go; \
                   exec python3 -c 'x = b\"x\" * 200_000_000; import time; time.sleep(600)'\n";

/// The repository of the fixture with `entries` added to its Procfile.
fn repo(entries: &str) -> Repo {
    let procfile = format!("web: exec python3 web.py\n{entries}");
    let mut files = web_files("1");
    files[0].1 = &procfile;
    Repo::new(&files)
}

/// A server that can limit this by control groups.
fn server_with(controller: &str) -> Option<Server> {
    let server = Server::start();
    if server.log().contains(&format!("{controller} by cgroup")) {
        return Some(server);
    }
    skip(
        "limits",
        &format!("no control groups limit {controller} here"),
    );
    None
}

fn storage(server: &Server, file: &str) -> PathBuf {
    server.directory().join("apps/echo/storage").join(file)
}

/// What a process wrote, once it has written a whole line.
#[track_caller]
fn told(server: &Server, file: &str) -> String {
    let path = storage(server, file);
    eventually(&format!("{file} is written"), SOON, || {
        let text = std::fs::read_to_string(&path).ok()?;
        text.ends_with('\n').then(|| text.trim_end().to_owned())
    })
}

/// Lets the hog take its memory, and returns its last exit.
#[track_caller]
fn overflow(server: &Server) -> Value {
    std::fs::write(storage(server, "go"), "").unwrap();
    eventually("it has ended", SOON, || {
        let exit = server.process("echo", "hog.1")["last_exit"].clone();
        (!exit.is_null()).then_some(exit)
    })
}

#[test]
fn a_process_that_takes_more_memory_than_it_may_is_ended_and_told_so() {
    let Some(server) = server_with("memory") else {
        return;
    };
    let limits = json!({ "limits": { "hog": { "memory": "64M" } } });
    server.deploy(&with(document("echo", &repo(HOG)), limits));
    let exit = overflow(&server);
    assert_eq!(exit["oom"], true, "{exit}");
    let advice = "\"procserver set echo limits.hog.memory=128M\"";
    assert!(exit["reason"].as_str().unwrap().contains(advice), "{exit}");
    let is_told = |line: &&str| {
        line.contains("process.exited app=echo process=hog.1") && line.contains("out of memory")
    };
    assert!(
        server.log().lines().any(|l| is_told(&l)),
        "{}",
        server.log()
    );
    let mut ps = procserver();
    ps.args(["ps", "echo", "--server", &server.url(), "--token"]);
    let shown = finish(ps.arg(server.token())).success();
    assert!(shown.contains("oom (out of memory: "), "{shown}");
    assert_eq!(server.process("echo", "web.1")["restarts"], 0);

    // Another end is no such one.
    let pid = server.ready_pid("echo", "hog.1");
    crate::support::machine::send_signal(pid, nix::sys::signal::Signal::SIGKILL);
    let exit = eventually("it was ended", SOON, || {
        let process = server.process("echo", "hog.1");
        let exit = process["last_exit"].clone();
        (exit["oom"] != true).then_some(exit)
    });
    assert_eq!(
        (&exit["signal"], &exit["reason"]),
        (&json!(9), &Value::Null)
    );
}

#[test]
fn a_part_of_a_process_that_the_kernel_ends_for_memory_is_warned_of() {
    let Some(server) = server_with("memory") else {
        return;
    };
    let entries = "pool: while :; do python3 -c 'x = b\"x\" * 200_000_000' || sleep 600; done\n";
    let limits = json!({ "limits": { "pool": { "memory": "64M" } } });
    server.deploy(&with(document("echo", &repo(entries)), limits));
    eventually("it is told", SOON, || {
        let process = server.process("echo", "pool.1");
        let warnings = server.status("echo")["warnings"].to_string();
        // Where the kernel ends all of it, that is its exit.
        let is_told =
            warnings.contains("higher limits.pool.memory") || process["last_exit"]["oom"] == true;
        is_told.then_some(())
    });
}

#[test]
fn an_install_command_that_takes_more_memory_than_it_may_fails_with_that_reason() {
    let Some(server) = server_with("memory") else {
        return;
    };
    let limits = json!({
        "install": ["python3 -c 'x = b\"x\" * 200_000_000'"],
        "limits": { "memory": "64M", "install": { "memory": "48M" } },
    });
    let repo = repo("");
    let refused = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("echo", &repo), limits),
    );
    let failure = refused.expect(422).json()["failure"].clone();
    let reason = failure["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("out of memory:") && reason.contains("48M"),
        "{failure}"
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(
        hint.contains("procserver set echo limits.install.memory=96M"),
        "{failure}"
    );
    assert_eq!(groups_of(&server), Vec::<PathBuf>::new());

    // The limit of processes alone is none of a build.
    let more = json!({ "limits": { "install": null } });
    server
        .send_and_wait("PATCH", "/applications/echo", &more)
        .expect(200);
    server.ready_pid("echo", "web.1");
}

#[test]
fn processes_are_forked_up_to_tasks_and_no_further() {
    let Some(server) = server_with("pids") else {
        return;
    };
    let counter = r#"import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0:
            time.sleep(600)
        n += 1
except OSError as e:
    pass
open(os.environ["STORAGE_DIR"] + "/forked", "w").write(f"{n}\n")
time.sleep(600)
"#;
    let procfile = "web: exec python3 web.py\nbomb: exec python3 bomb.py\n";
    let mut files = web_files("1").to_vec();
    files[0].1 = procfile;
    files.push(("bomb.py", counter));
    let limits = json!({ "limits": { "tasks": 20 } });
    server.deploy(&with(document("echo", &Repo::new(&files)), limits));
    assert_eq!(told(&server, "forked"), "19");
    server.act("echo", "stop").expect(200);
    assert_eq!(groups_of(&server), Vec::<PathBuf>::new());
}

#[test]
fn a_process_that_computes_gets_no_more_than_its_share() {
    let Some(server) = server_with("cpu") else {
        return;
    };
    let limits = json!({ "limits": { "busy": { "cpu": 0.2 } } });
    let repo = repo("busy: exec python3 -c 'while True: pass'\n");
    server.deploy(&with(document("echo", &repo), limits));
    let used = || {
        server.process("echo", "busy.1")["cpu_seconds"]
            .as_f64()
            .unwrap()
    };
    let (begun, before) = (Instant::now(), used());
    let cores = eventually("it has computed for a while", SOON, || {
        let spent = used() - before;
        let past = begun.elapsed();
        (past > Duration::from_secs(3)).then(|| spent / past.as_secs_f64())
    });
    assert!(cores < 0.5, "{cores} cores");
    let pid = server.ready_pid("echo", "busy.1");
    let group = group_of(pid, "cpu").or_else(|| group_of(pid, "")).unwrap();
    let stat = std::fs::read_to_string(group.join("cpu.stat")).unwrap();
    let throttled = stat
        .lines()
        .find_map(|line| line.strip_prefix("nr_throttled "));
    assert_ne!(throttled, Some("0"), "{stat}");
}

#[test]
fn files_and_memory_are_limited_by_type_and_a_change_takes_new_processes_but_no_install() {
    let server = Server::start();
    let entries = "few: echo $(ulimit -Sn) $(ulimit -Hn) >$STORAGE_DIR/few; exec sleep 600\n\
                   usual: ulimit -Sn >$STORAGE_DIR/usual; exec sleep 600\n";
    let limits = json!({
        "install": ["echo . >>$STORAGE_DIR/installs"],
        "limits": { "few": { "files": 100 } },
    });
    server.deploy(&with(document("echo", &repo(entries)), limits));
    assert_eq!(told(&server, "few"), "100 100");
    assert_eq!(told(&server, "usual"), "1024");
    let web = server.ready_pid("echo", "web.1");

    std::fs::remove_file(storage(&server, "few")).unwrap();
    let patch = json!({ "limits": { "files": 300, "few": { "files": 200 } } });
    server
        .send_and_wait("PATCH", "/applications/echo", &patch)
        .expect(200);
    assert_eq!(told(&server, "few"), "200 200");
    assert_eq!(server.status("echo")["release"], 2);
    assert_ne!(server.ready_pid("echo", "web.1"), web);
    let disk = json!({ "limits": { "disk": "1G" } });
    server
        .send_and_wait("PATCH", "/applications/echo", &disk)
        .expect(200);
    assert_eq!(server.status("echo")["release"], 2, "no process has it");
    assert_eq!(told(&server, "installs"), ".");

    let wrong = json!({ "limits": { "memory": "1K", "web": { "cpus": 1 } } });
    let refused = server
        .send("PATCH", "/applications/echo", &wrong)
        .expect(422);
    let errors = refused.json()["errors"].clone();
    assert_eq!(errors[0]["pointer"], "/limits/memory", "{errors}");
    assert_eq!(errors[1]["pointer"], "/limits/web/cpus", "{errors}");
}

#[test]
fn limits_that_nothing_enforces_are_warned_of() {
    if !is_root() {
        return skip("the same without control groups", "only root can hide them");
    }
    let hide = "while read -r _ at kind _; do case $kind in cgroup*) umount -l $at;; esac; done </proc/mounts";
    let server = Setup::new().with_mounts(hide).start();
    let limits = json!({ "limits": { "memory": "512M", "cpu": 0.5, "tasks": 20 } });
    server.deploy(&with(document("echo", &repo("")), limits));
    let warnings = server.status("echo")["warnings"].to_string();
    for lack in [
        "limits.cpu",
        "limits.tasks",
        "limits.memory of all its processes together",
    ] {
        assert!(warnings.contains(lack), "{lack}: {warnings}");
    }
    let pid = server.ready_pid("echo", "web.1");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let data = limits
        .lines()
        .find(|line| line.starts_with("Max data size"));
    assert!(data.unwrap().contains("536870912"), "{limits}");
}
