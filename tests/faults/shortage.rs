//! The machine has too little of something: processes, room on the disk.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use super::deploy;
use crate::support::machine::{is_alive, is_root, send_signal};
use crate::support::setup::Setup;
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
    let setup = if is_root() {
        Setup::new().as_nobody()
    } else {
        Setup::new()
    };
    let server = setup.start();
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
    assert_ne!(again["crashlooping"], true, "it is no fault of the app: {again}");
    assert_eq!(server.ready_pid("echo", "web.1"), web, "it was left alone");
    assert!(!server.log().contains("panic"), "{}", server.log());
}
