//! What other users of the machine may try against the server's records.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use super::deploy;
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;

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
