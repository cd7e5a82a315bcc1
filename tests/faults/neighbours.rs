//! What other users of the machine may try against the server's records.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::deploy;
use crate::support::command::launched;
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_root, skip};
use crate::support::own_users::useradd;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// The user `nobody`, as whom no app of these tests runs.
fn nobody() -> (u32, u32) {
    let nobody = nix::unistd::User::from_name("nobody").unwrap();
    let nobody = nobody.expect("it is on every machine");
    (nobody.uid.as_raw(), nobody.gid.as_raw())
}

/// A program of another user that says of itself that it is this instance.
fn pretender(instance: &Path) -> Child {
    let (uid, gid) = nobody();
    let mut sleep = Command::new("sleep");
    sleep.arg("600").env("PROCSERVER_INSTANCE", instance);
    sleep.uid(uid).gid(gid).spawn().unwrap()
}

/// Tries to open each path of its input, for reading and for writing, and prints those that it can.
const TRY_ALL: &str = r#"
import os, sys
for path in sys.stdin.read().split("\0"):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK))
            print(oct(flags), path)
        except OSError:
            pass
"#;

/// What nobody can open of everything below `directory`.
fn open_to_nobody(directory: &Path) -> String {
    let (uid, gid) = nobody();
    let found = Command::new("find").arg(directory).arg("-print0").output();
    let mut python = Command::new("python3")
        .args(["-c", TRY_ALL])
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin
        .write_all(found.unwrap().stdout.trim_ascii_end())
        .unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn another_user_can_open_nothing_of_the_data_and_runtime_directories() {
    if !is_root() {
        return skip("another user", "only root can become one");
    }
    let setup = Setup::new();
    let (data, run) = (setup.directory().to_owned(), setup.directory().join("run"));
    // As an older server made them.
    for directory in [data.join("apps"), run.clone(), run.join("apps")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    std::fs::write(data.join("lock"), "1").unwrap();
    let mut server = setup.start();
    let _repo = deploy(&server, "echo", "");
    server.act("echo", "redeploy").expect(200);
    server.visit("/echo/").expect(200);
    assert_eq!(
        open_to_nobody(&data),
        format!("0o0 {}/daemon.log\n", data.display())
    );
    // While no server runs, nobody keeps the next from starting.
    server.kill();
    assert_eq!(
        open_to_nobody(&data),
        format!("0o0 {}/daemon.log\n", data.display())
    );
    server.start_again();
    server.ready_pid("echo", "web.1");
}

#[test]
fn a_state_that_is_a_fifo_or_a_directory_is_set_aside_and_the_app_goes_on() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let state = server.directory().join("apps/echo/state.json");
    let lock = server.directory().join("lock");
    server.kill();
    for place in [&state, &lock] {
        std::fs::remove_file(place).unwrap();
        nix::unistd::mkfifo(place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    server.start_again();
    server.ready_pid("echo", "web.1");
    let status = server.status("echo");
    assert!(
        status["warnings"]
            .to_string()
            .contains("is not a regular file"),
        "{status}"
    );
    server.kill();
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    server.start_again();
    server.ready_pid("echo", "web.1");
}

/// A name of root's for the time of a test.
struct Alias;

impl Alias {
    const NAME: &str = "procserver-test-toor";

    fn make() -> Self {
        useradd(&[
            "--non-unique",
            "--uid",
            "0",
            "--gid",
            "0",
            "--no-create-home",
            Self::NAME,
        ]);
        Self
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        // --force: processes of root's run.
        let _gone = Command::new("userdel")
            .args(["--force", Self::NAME])
            .output();
    }
}

#[test]
fn root_under_another_name_is_refused_in_a_config_file_in_the_api_and_as_default() {
    if !is_root() {
        return skip("another name of root", "only root can make one");
    }
    let _alias = Alias::make();
    let repo = web_repo("1");
    let hidden = with(document("echo", &repo), json!({ "user": Alias::NAME }));
    let server = Setup::new()
        .config_file("echo.json", &hidden.to_string())
        .start();
    eventually("its deploy failed, and says why", SOON, || {
        let deployments = server.get("/applications/echo/deployments").text();
        deployments.contains("allow_root_apps").then_some(())
    });
    assert_eq!(server.status("echo")["state"], "failed");
    let mut other = hidden;
    other["name"] = "other".into();
    let refused = server.send("POST", "/applications", &other).expect(422);
    assert!(refused.text().contains("allow_root_apps"));

    let start = launched(&[])
        .args([
            "serve",
            "--default-user",
            Alias::NAME,
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(server.directory().join("second"))
        .output()
        .unwrap();
    assert!(!start.status.success());
    assert!(String::from_utf8_lossy(&start.stderr).contains("allow_root_apps"));
}

#[test]
fn what_another_user_writes_into_an_environment_removes_no_file_and_ends_no_process() {
    if !is_root() {
        return skip("programs of another user", "only root can start them");
    }
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    let apps = server.directory().join("run/apps");
    let prey = server.directory().join("prey");
    std::fs::create_dir(&prey).unwrap();
    let record = std::fs::read_dir(apps.join("echo")).unwrap().next();
    let record = record.unwrap().unwrap().path();

    let lies = [
        apps.join("../../prey"),
        apps.join("echo/../../../prey"),
        apps.join("echo/web.1-77"),
        record.clone(),
    ];
    let mut pretenders: Vec<Child> = lies.iter().map(|lie| pretender(lie)).collect();
    server.kill();
    server.start_again();
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    server.act("echo", "restart").expect(200);
    server.act("echo", "stop").expect(200);
    let alive = |child: &mut Child| child.try_wait().unwrap().is_none();
    let untouched: Vec<bool> = pretenders.iter_mut().map(alive).collect();
    for pretender in &mut pretenders {
        pretender.kill().unwrap();
        pretender.wait().unwrap();
    }
    assert_eq!(untouched, [true; 4]);
    assert!(prey.exists());
}
