//! The machine has too little of something: processes, room on the disk.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{deploy, lines, print};
use crate::support::command::{finish, launched};
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_alive, is_root, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::{Setup, world_readable_directory};
use crate::support::wait::{SOON, eventually};

/// Lets the user of the running daemon have so many processes, as far as this daemon may add to them.
fn limit_processes(pid: i32, limit: &str) {
    // As the daemon's own user: root may set limits of others only with CAP_SYS_RESOURCE, which containers lack.
    let user = std::fs::metadata(format!("/proc/{pid}")).unwrap();
    let mut command = Command::new("prlimit");
    command.uid(user.uid()).gid(user.gid());
    command.args(["--pid", &pid.to_string(), &format!("--nproc={limit}:")]);
    assert!(command.status().unwrap().success());
}

/// The soft limit, as the kernel shows it.
fn process_limit(pid: i32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max processes"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.expect("proc_pid_limits(5)").to_owned()
}

#[test]
fn when_the_machine_has_no_process_left_it_is_to_blame_and_what_runs_goes_on() {
    // Root has no such limit.
    let server = Setup::new().not_by_root().start();
    let _repo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let ids = ["web.1", "worker.1"];
    let [web, worker] = ids.map(|id| server.ready_pid("echo", id));
    let before = process_limit(server.pid());
    limit_processes(server.pid(), "1");
    // Longer than idle threads live: what needs one then cannot have it either.
    std::thread::sleep(std::time::Duration::from_secs(12));
    send_signal(worker, Signal::SIGKILL);
    let blamed = eventually("the machine is blamed", SOON, || {
        let process = server.process("echo", "worker.1");
        let warnings = server.status("echo")["warnings"].to_string();
        (process["state"] == "backoff" && warnings.contains("this machine")).then_some(warnings)
    });
    assert!(blamed.contains("os error 11"), "{blamed}");
    assert!(is_alive(web));
    server.visit("/echo/").expect(200);
    limit_processes(server.pid(), &before);
    let again = eventually("it is back", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["state"] == "ready").then_some(process)
    });
    assert_ne!(again["pid"], worker);
    assert_ne!(
        again["crashlooping"], true,
        "it is no fault of the app: {again}"
    );
    assert_eq!(server.ready_pid("echo", "web.1"), web, "it was left alone");
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// A server with one of its directories on a disk of so many KiB, seen only by it.
struct SmallDisk {
    server: Server,
    directory: PathBuf,
}

impl SmallDisk {
    fn start(name: &str, size: u32) -> Option<Self> {
        if !is_root() {
            skip("a full disk", "only root can mount a small one");
            return None;
        }
        let setup = Setup::new();
        let at = setup.directory().join(name);
        std::fs::create_dir_all(&at).unwrap();
        let mount = format!(
            "mount -t tmpfs -o size={size}k,mode=755 tmpfs {}",
            at.display()
        );
        let server = setup.with_mounts(&mount).start();
        // Here the directory is empty: it is looked at as the server sees it.
        let within = format!("/proc/{}/root{}", server.pid(), at.display());
        let directory = PathBuf::from(within);
        Some(Self { server, directory })
    }

    /// Uses all that is left.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.directory.join(".ballast")).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn empty(&self) {
        std::fs::remove_file(self.directory.join(".ballast")).unwrap();
    }

    /// The files, without the one that fills it.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != ".ballast");
        names.sort();
        names
    }
}

#[test]
fn a_configuration_that_the_disk_has_no_room_for_is_refused_with_507_and_the_old_one_stays() {
    let Some(disk) = SmallDisk::start("config", 64) else {
        return;
    };
    let server = &disk.server;
    let _repo = deploy(server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let before = server.get("/applications/echo").expect(200).json();
    disk.fill();
    let more = with(
        before.clone(),
        json!({ "env": { "MORE": "x".repeat(8192) } }),
    );
    let refused = server.send("PUT", "/applications/echo", &more).expect(507);
    assert!(
        refused.text().contains("No space left"),
        "{}",
        refused.text()
    );
    let patch = json!({ "env": { "MORE": "x".repeat(8192) } });
    let patch = server
        .request("PATCH", "/applications/echo")
        .header("Content-Type", "application/merge-patch+json")
        .body(patch.to_string());
    patch.send(&server.public()).expect(507);
    let other = with(more.clone(), json!({ "name": "other" }));
    server.send("POST", "/applications", &other).expect(507);
    server.get("/applications/other").expect(404);
    assert_eq!(server.get("/applications/echo").expect(200).json(), before);
    assert_eq!(disk.files(), ["echo.json"]);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    server.visit("/echo/").expect(200);
    disk.empty();
    server
        .send_and_wait("PUT", "/applications/echo", &more)
        .expect(200);
    assert_eq!(
        server.visit("/echo/").expect(200).json()["env"]["MORE"],
        "x".repeat(8192)
    );
}

#[test]
fn on_a_full_disk_a_deploy_fails_the_app_runs_on_and_what_is_lost_of_its_log_is_counted() {
    let Some(disk) = SmallDisk::start("apps", 8192) else {
        return;
    };
    let server = &disk.server;
    let repo = deploy(server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    print(server, "echo", "before");
    eventually("it is in the log", SOON, || {
        lines(server, "echo", "stdout?tail=all")
            .contains(&"before".to_owned())
            .then_some(())
    });
    disk.fill();

    repo.commit(&[("VERSION", "2")]);
    let failed = server.act("echo", "redeploy").expect(422).json();
    let reason = failed["failure"]["reason"].to_string();
    assert!(reason.contains("disk"), "{failed}");
    let text = "x".repeat(4000);
    (0..4).for_each(|_| print(server, "echo", &text));
    server.act("echo", "stop").expect(200);
    assert!(!is_alive(pid));
    server.act("echo", "start").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    let releases = disk.directory.join("echo/releases");
    let names: Vec<_> = std::fs::read_dir(releases)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(names.iter().all(|n| n == "1" || n == "1.json"), "{names:?}");

    disk.empty();
    print(server, "echo", "after");
    eventually("the log goes on, and says what is missing", SOON, || {
        let log = lines(server, "echo", "stdout?tail=all");
        let told = log
            .iter()
            .any(|line| line.contains("lines are missing here"));
        (told && log.last()? == "after").then_some(())
    });
    // What happened meanwhile is on record, also for the next daemon: nothing is half written.
    eventually("the deployment's failure is on record", SOON, || {
        let record = std::fs::read(disk.directory.join("echo/deployments/2.json")).ok()?;
        let record: Value = serde_json::from_slice(&record).expect("it is whole");
        (record["state"] == "failed").then_some(())
    });
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
}

#[test]
fn what_fails_on_a_full_disk_without_a_word_is_told_so() {
    let Some(disk) = SmallDisk::start("apps", 8192) else {
        return;
    };
    let server = &disk.server;
    let repo = deploy(server, "echo", "");
    // It stays where it is: the release's directory goes with the failed deploy.
    let silent = "head -c 9000000 /dev/zero >$STORAGE_DIR/big 2>/dev/null || exit 3";
    let install = json!({ "install": [silent] });
    let failed = server.send_and_wait("PATCH", "/applications/echo", &install);
    let reason = failed.expect(422).json()["failure"]["reason"].to_string();
    assert!(reason.contains("the disk is full"), "{reason}");
    std::fs::remove_file(disk.directory.join("echo/storage/big")).unwrap();
    // The checkout leaves git no room to look for more.
    for number in 0..9 {
        let name = format!("part{number}");
        let text = format!("{number}").repeat(1 << 20);
        repo.commit(&[(&name, &text)]);
    }
    let none = json!({ "install": null });
    let patched = server.send_and_wait("PATCH", "/applications/echo", &none);
    patched.expect(200);
    let failed = server.act("echo", "redeploy").expect(422).json();
    let reason = failed["failure"]["reason"].to_string();
    assert!(reason.contains("the disk is full"), "{failed}");
    server.visit("/echo/").expect(200);
}

#[test]
fn with_too_few_descriptors_for_itself_a_server_does_not_start_and_with_those_it_names_it_deploys()
{
    let starts = |count: u64| {
        let limit = format!("--nofile={count}:{count}");
        let home = world_readable_directory();
        let mut serve = launched(&["prlimit".to_owned(), limit]);
        serve.args(["serve", "--workers", "2", "--listen", "127.0.0.1:0"]);
        finish(serve.arg("--data-dir").arg(home.path()))
    };
    for count in [24, 48] {
        let ended = starts(count);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let said = format!("{count} file descriptors (LimitNOFILE, ulimit -n) are too few");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        assert!(ended.stderr.contains("need 64"), "{}", ended.stderr);
    }
    // The soft limit alone is raised.
    for limit in ["--nofile=64:64", "--nofile=24:1000"] {
        let server = Setup::new()
            .flag("--workers", "2")
            .launched_by(&["prlimit", limit])
            .start();
        let repo = deploy(&server, "echo", "");
        server.visit("/echo/").expect(200);
        repo.commit(&[("VERSION", "2")]);
        server.act("echo", "redeploy").expect(200);
        assert!(!server.log().contains("os error 24"), "{}", server.log());
    }
}

#[test]
fn a_start_without_threads_ends_with_a_reason_and_no_panic() {
    if !is_root() {
        return skip("a user with few threads", "only root can become another");
    }
    for limit in ["1", "3", "4", "6", "8"] {
        let home = world_readable_directory();
        // Nobody else is of this user, whose processes the limit counts.
        std::os::unix::fs::chown(home.path(), Some(61_301), Some(61_301)).unwrap();
        let limit = format!("--nproc={limit}");
        let words = [
            "setpriv",
            "--reuid=61301",
            "--regid=61301",
            "--clear-groups",
            "prlimit",
            &limit,
        ];
        let mut serve = launched(&words.map(str::to_owned));
        serve.args([
            "serve",
            "--workers",
            "1",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
        ]);
        let ended = finish(serve.arg(home.path()).env("HOME", home.path()));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("threads that it needs"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn who_wants_more_ports_than_are_left_starts_nothing_and_others_deploy() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let repo = web_repo("1");
    let pid = server.ready_pid("echo", "web.1");
    // A server of a test has fewer ports.
    let many = json!({"scale": {"web": 50}});
    let greedy = with(document("greedy", &repo), many.clone());
    let refused = server.send_and_wait("POST", "/applications", &greedy);
    let failure = refused.expect(422).json()["failure"].clone();
    let reason = failure["reason"].as_str().unwrap();
    assert_eq!(failure["step"], "start", "{failure}");
    assert!(
        reason.contains("50 processes") && reason.contains("are free"),
        "{failure}"
    );
    let refused = server.send_and_wait("PATCH", "/applications/echo", &many);
    assert!(refused.status >= 400, "{}", refused.text());
    assert!(
        refused.text().contains("49 processes"),
        "{}",
        refused.text()
    );
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    let processes = server.status("echo")["processes"].clone();
    assert_eq!(processes.as_array().unwrap().len(), 1, "{processes}");
    server.deploy(&document("other", &repo));
}
