//! What a server that was killed has left, wherever that is: ended or taken over by the next.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::daemon::limit_descriptors;
use super::deploy;
use crate::support::control_groups::group_of;
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_alive, is_root, processes_of, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// A user for the time of a test.
struct User(&'static str);

impl User {
    fn make(name: &'static str, uid: u32) -> Self {
        let uid = uid.to_string();
        let made = Command::new("useradd")
            .args([
                "--no-create-home",
                "--uid",
                &uid,
                "--no-user-group",
                "--gid",
                "nogroup",
                name,
            ])
            .output();
        assert!(made.unwrap().status.success());
        Self(name)
    }

    fn remove(&self) {
        let _gone = Command::new("userdel").args(["--force", self.0]).output();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.remove();
    }
}

#[test]
fn an_app_whose_user_was_removed_runs_no_more_and_one_made_anew_owns_its_files() {
    if !is_root() {
        return skip("a user of an app", "only root can make one");
    }
    let user = User::make("procserver-test-u", 61_234);
    let mut server = Server::start();
    let repo = web_repo("1");
    server.deploy(&with(document("echo", &repo), json!({ "user": user.0 })));
    let pid = server.ready_pid("echo", "web.1");
    let storage = server.directory().join("apps/echo/storage");
    std::fs::write(storage.join("kept"), "x").unwrap();
    std::os::unix::fs::chown(storage.join("kept"), Some(61_234), None).unwrap();

    server.kill();
    user.remove();
    server.start_again();
    eventually("it has ended", SOON, || (!is_alive(pid)).then_some(()));
    eventually("it says why", SOON, || {
        let status = server.status("echo");
        (status["state"] == "failed").then_some(())
    });

    server.kill();
    let _anew = User::make("procserver-test-u", 61_235);
    server.start_again();
    let now = server.ready_pid("echo", "web.1");
    let uid =
        |path: PathBuf| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap());
    assert_eq!(uid(format!("/proc/{now}").into()), 61_235);
    assert_eq!(uid(storage.clone()), 61_235);
    assert_eq!(uid(storage.join("kept")), 61_235);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(warnings.contains("61234"), "{warnings}");
}

#[test]
fn a_record_that_names_another_pid_costs_that_nothing_and_its_process_its_life() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let mut stranger = Command::new("setsid")
        .args(["sleep", "600"])
        .spawn()
        .unwrap();
    let start_time = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", stranger.id())).ok()?;
        let fields = stat.rsplit_once(") ")?.1.split(' ');
        fields
            .clone()
            .nth(19)?
            .parse::<u64>()
            .ok()
            .filter(|_| stat.contains("(sleep)"))
    };
    let start_time = eventually("it sleeps", SOON, start_time);
    server.kill();
    let record = records(&server.directory().join("run")).remove(0);
    let mut identity: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    identity["pid"] = stranger.id().into();
    identity["start_time"] = start_time.into();
    std::fs::write(&record, identity.to_string()).unwrap();

    server.start_again();
    let now = server.ready_pid("echo", "web.1");
    let untouched = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(untouched);
    assert!(!is_alive(pid) && now != pid);
    assert_eq!(processes_of(server.directory()).len(), 2);
}

/// The identity records below a runtime directory.
fn records(runtime: &Path) -> Vec<PathBuf> {
    let instances = std::fs::read_dir(runtime.join("apps/echo")).unwrap();
    instances
        .map(|entry| entry.unwrap().path().join("identity.json"))
        .collect()
}

#[test]
fn what_a_server_with_another_runtime_directory_left_is_ended() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    let other = server.directory().join("elsewhere");
    server.set_flag("--runtime-dir", &other.display().to_string());
    server.start_again();
    let now = server.ready_pid("echo", "web.1");
    assert!(!is_alive(pid) && now != pid);
    assert_eq!(processes_of(server.directory()).len(), 2);
    server.visit("/echo/").expect(200);
}

#[test]
fn a_fetch_that_outlived_its_server_is_ended_by_the_next() {
    let mut server = Setup::new().start();
    let repo = web_repo("1");
    // Takes the connection, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.git", silent.local_addr().unwrap());
    server.deploy(&document("echo", &repo));
    let changed = json!({ "repo": { "url": url } });
    server
        .send("PATCH", "/applications/echo", &changed)
        .expect(202);
    let fetches = || {
        let all = processes_of(server.directory());
        let is_git = |pid: &i32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.starts_with("git"))
        };
        all.into_iter().filter(is_git).collect::<Vec<_>>()
    };
    let left = eventually("it fetches", SOON, || {
        let found = fetches();
        (found.len() >= 2).then_some(found)
    });
    std::fs::write(
        server
            .directory()
            .join("apps/echo/repo.git/packed-refs.lock"),
        "",
    )
    .unwrap();
    let document = server.directory().join("config/echo.json");
    let mut text: Value = serde_json::from_slice(&std::fs::read(&document).unwrap()).unwrap();
    server.kill();
    // What the next server does by itself is not to be in the way.
    text["repo"]["url"] = repo.url().into();
    std::fs::write(&document, text.to_string()).unwrap();
    server.start_again();
    server.ready_pid("echo", "web.1");
    assert!(left.iter().all(|pid| !is_alive(*pid)), "{left:?}");
    server.act("echo", "redeploy").expect(200);
}

#[test]
fn control_groups_that_an_app_has_made_in_its_own_go_with_it() {
    let server = Server::start();
    if !server.log().contains("each process gets a control group") {
        return skip(
            "nested control groups",
            "there is no cgroup2 directory to use",
        );
    }
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let group = group_of(pid, "").unwrap();
    std::fs::create_dir_all(group.join("inner/innermost")).unwrap();
    std::fs::write(group.join("inner/innermost/cgroup.procs"), pid.to_string()).unwrap();
    server.act("echo", "stop").expect(200);
    eventually("it is gone", SOON, || (!group.exists()).then_some(()));
}

#[test]
fn what_lives_in_a_control_group_of_no_instance_is_ended_at_the_start() {
    let mut server = Server::start();
    if !server.log().contains("each process gets a control group") {
        return skip(
            "lost control groups",
            "there is no cgroup2 directory to use",
        );
    }
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    std::fs::remove_dir_all(server.directory().join("run/apps/echo")).unwrap();
    std::fs::remove_file(server.directory().join("config/echo.json")).unwrap();
    server.start_again();
    eventually("it has ended", SOON, || (!is_alive(pid)).then_some(()));
}

/// A group of the first version in which what is frozen does not die, for the time of a test.
struct Freezer(PathBuf);

impl Freezer {
    fn make() -> Option<Self> {
        let parent = Path::new("/sys/fs/cgroup/freezer");
        let own = parent.join(format!("procserver-test-freezer-{}", std::process::id()));
        std::fs::create_dir(&own).ok()?;
        own.join("freezer.state").exists().then_some(Self(own))
    }

    fn set(&self, state: &str) {
        std::fs::write(self.0.join("freezer.state"), state).unwrap();
    }

    fn freeze(&self, pid: i32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
        self.set("FROZEN");
        eventually("it is frozen", SOON, || {
            let state = std::fs::read_to_string(self.0.join("freezer.state"));
            (state.unwrap().trim() == "FROZEN").then_some(())
        });
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.set("THAWED");
        eventually("the group is empty", SOON, || {
            std::fs::remove_dir(&self.0).is_ok().then_some(())
        });
    }
}

#[test]
fn what_the_kernel_holds_is_told_of_and_others_start_beside_it() {
    let Some(freezer) = Freezer::make() else {
        return skip(
            "a frozen control group",
            "there is no freezer of cgroups of the first version",
        );
    };
    let mut server = Server::start();
    let _repo = deploy(
        &server,
        "echo",
        "child: sleep 600 & echo $! >$STORAGE_DIR/pid; exec sleep 600\n",
    );
    let _other = deploy(&server, "other", "");
    let file = server.directory().join("apps/echo/storage/pid");
    let frozen = eventually("it has a child", SOON, || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    });
    freezer.freeze(frozen);
    server.kill();
    let leader = server_less_pid(&server);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(leader),
        nix::sys::signal::SIGKILL,
    )
    .unwrap();
    server.start_again();
    server.visit("/other/").expect(200);
    server.ready_pid("echo", "child.1");
    let is_told = |server: &Server| {
        let warnings = server.status("echo")["warnings"].to_string();
        warnings.contains("do not die of SIGKILL") && warnings.contains(&frozen.to_string())
    };
    assert!(is_told(&server), "{}", server.status("echo"));
    assert!(!server.log().contains("not every application is known"));

    // Another, of a process that runs.
    freezer.set("THAWED");
    eventually("it is gone, and no longer told of", SOON, || {
        (!is_alive(frozen) && !is_told(&server)).then_some(())
    });
    drop(freezer);
}

#[test]
fn a_frozen_install_command_keeps_no_deploy_from_being_cancelled_nor_the_next_from_running() {
    let Some(freezer) = Freezer::make() else {
        return skip(
            "a frozen install command",
            "there is no freezer of cgroups of the first version",
        );
    };
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let install = json!({ "install": ["echo $$ >$STORAGE_DIR/pid; exec sleep 600"] });
    server
        .send("PATCH", "/applications/echo", &install)
        .expect(202);
    let file = server.directory().join("apps/echo/storage/pid");
    let frozen = eventually("it installs", SOON, || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    });
    freezer.freeze(frozen);
    let cancel = server.request("POST", "/applications/echo/deployments/2/cancel");
    cancel.send(&server.public()).expect(202);
    let none = json!({ "install": null });
    server
        .send_and_wait("PATCH", "/applications/echo", &none)
        .expect(200);
    server.act("echo", "redeploy").expect(200);
    let is_told = || {
        let warnings = server.status("echo")["warnings"].to_string();
        warnings.contains(&frozen.to_string())
    };
    eventually("it is told of", SOON, || is_told().then_some(()));
    drop(freezer);
    eventually("it is gone, and no longer told of", SOON, || {
        (!is_alive(frozen) && !is_told()).then_some(())
    });
}

#[test]
fn a_process_that_could_not_be_forked_leaves_no_control_group() {
    let server = Server::start();
    if !server.log().contains("each process gets a control group") {
        return skip(
            "the control group of a failed fork",
            "there is no cgroup2 directory to use",
        );
    }
    let _repo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let worker = server.ready_pid("echo", "worker.1");
    let group = group_of(worker, "").unwrap();
    limit_descriptors(server.pid(), "5:");
    send_signal(worker, nix::sys::signal::Signal::SIGKILL);
    eventually("the machine is blamed", SOON, || {
        let log = server.log();
        (log.contains("process.failed app=echo process=worker.1") && log.contains("os error 24"))
            .then_some(())
    });
    // That of the process which was killed has gone as well.
    eventually("there is none", SOON, || (!group.exists()).then_some(()));
    limit_descriptors(server.pid(), "10000:");
    let again = eventually("it is back", SOON, || {
        let process = server.process("echo", "worker.1");
        (process["state"] == "ready").then(|| process["pid"].as_i64())?
    });
    assert!(
        group_of(i32::try_from(again).unwrap(), "")
            .unwrap()
            .exists()
    );
}

/// The leader of `child.1`, by its record.
fn server_less_pid(server: &Server) -> i32 {
    let records = records(&server.directory().join("run"));
    let record = records
        .iter()
        .find(|path| path.to_string_lossy().contains("/child.1-"));
    let text = std::fs::read(record.unwrap()).unwrap();
    let identity: Value = serde_json::from_slice(&text).unwrap();
    i32::try_from(identity["pid"].as_i64().unwrap()).unwrap()
}
