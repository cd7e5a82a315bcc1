//! Where containers differ from a machine of one's own: the server is the first process, or runs under an id that no
//! passwd knows, or with a mask of modes that somebody else chose.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{deploy, lines};
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_root, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// The children of a process, as this test sees them.
fn children(pid: i32) -> Vec<i32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.unwrap_or_default();
    listed
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The first process of the namespace that `unshare` made.
fn first_process(server: &Server) -> i32 {
    children(server.pid())[0]
}

#[test]
fn as_the_first_process_it_waits_for_orphans_and_ends_when_it_is_told_to() {
    if !is_root() {
        return skip("a pid namespace", "only root can make one");
    }
    let words = "unshare --pid --fork --kill-child --mount-proc";
    let words: Vec<&str> = words.split(' ').collect();
    let mut server = Setup::new().launched_by(&words).start();
    let orphans = "orphans: while :; do (sleep 0.01 & echo orphan); sleep 0.05; done\n";
    let _repo = deploy(&server, "echo", orphans);
    eventually("some have lost their parent", SOON, || {
        let said = lines(&server, "echo", "stdout?process=orphans.1&tail=all");
        (said.len() > 20).then_some(())
    });
    let first = first_process(&server);
    let is_zombie = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    };
    // It may be about to be waited for.
    eventually("none of them stays", SOON, || {
        (!children(first).iter().any(is_zombie)).then_some(())
    });
    send_signal(first, Signal::SIGTERM);
    assert!(
        server.ended().success(),
        "the signal is handed on, and how it ended"
    );
    assert!(server.log().contains("SIGTERM: stopping"));
}

#[test]
fn an_id_that_passwd_does_not_know_runs_apps() {
    if !is_root() {
        return skip("another id", "only root can take one");
    }
    const ID: u32 = 54_321;
    let setup = Setup::new();
    chown(setup.directory(), Some(ID), Some(ID)).unwrap();
    let home = setup.directory().display().to_string();
    let (user, group) = (format!("--reuid={ID}"), format!("--regid={ID}"));
    let words = [
        "setpriv",
        &user,
        &group,
        "--clear-groups",
        "--inh-caps=-all",
    ];
    let server = setup.variable("HOME", &home).launched_by(&words).start();
    let _repo = deploy(&server, "echo", "");
    let said = server.visit("/echo/").expect(200).json();
    assert_eq!(said["uid"], ID);
    assert_eq!(said["env"]["USER"], ID.to_string());
}

#[test]
fn the_modes_of_what_it_makes_are_its_own_whatever_the_umask_was() {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    for umask in ["077", "000"] {
        let script = format!("umask {umask}; exec \"$@\"");
        let setup = Setup::new().launched_by(&["sh", "-c", &script, "sh"]);
        let way = setup.directory().join("on");
        let config = way.join("the/way").display().to_string();
        let server = setup.flag("--config-dir", &config).start();
        assert_eq!(mode(&way), 0o755, "umask {umask}");
        assert_eq!(mode(Path::new(&config)), 0o700, "umask {umask}");
        assert_eq!(
            mode(&server.directory().join("lock")),
            0o600,
            "umask {umask}"
        );
    }
}

#[test]
fn a_limit_of_the_size_of_files_costs_lines_but_not_the_server() {
    let setup = Setup::new().launched_by(&["prlimit", "--fsize=200000"]);
    let server = setup.start();
    let _repo = deploy(&server, "echo", "much: seq 100000; exec sleep 600\n");
    eventually("lines are lost", SOON, || {
        server.log().contains("dropping lines").then_some(())
    });
    server.visit("/echo/").expect(200);
}

#[test]
fn what_protects_the_server_is_not_passed_on_to_applications_and_builds() {
    let script = "umask 077; echo 321 > /proc/self/oom_score_adj; exec \"$@\"";
    let server = Setup::new()
        .launched_by(&["sh", "-c", script, "sh"])
        .start();
    let repo = web_repo("1");
    let install = json!({ "install": ["echo $(cat /proc/self/oom_score_adj) $(umask) > VERSION"] });
    server.deploy(&with(document("echo", &repo), install));
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "0 0022"
    );
    let pid = server.ready_pid("echo", "web.1");
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(read("oom_score_adj"), "0\n");
    assert!(read("status").contains("Umask:\t0022\n"));
}
