//! `procserver demo --once`: the whole way once through, by the program itself.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::support::command::{finish, launched, procserver};
use crate::support::machine::{is_root, processes_of, skip};
use crate::support::setup::world_readable_directory;

#[test]
fn the_demo_checks_itself_leaves_nothing_and_exits_0() {
    leaves_nothing(procserver());
}

#[test]
fn so_it_does_where_its_session_is_led_from_outside_its_pid_namespace() {
    if !is_root() {
        return skip("a pid namespace", "only root can make one");
    }
    let words = "unshare --pid --fork --kill-child --mount-proc";
    let launcher: Vec<String> = words.split(' ').map(str::to_owned).collect();
    leaves_nothing(launched(&launcher));
}

/// One at a time: two that start at the same instant can try for the same port.
static DEMOS: Mutex<()> = Mutex::new(());

#[track_caller]
fn leaves_nothing(mut program: Command) {
    let _alone = DEMOS.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = world_readable_directory();
    let demo = finish(
        program
            .args(["demo", "--once"])
            .env("TMPDIR", directory.path()),
    );
    let left = processes_of(directory.path());
    assert!(left.is_empty(), "they remain: {left:?}\n{demo:?}");
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "files remain: {demo:?}"
    );
    let printed = demo.success();
    assert!(
        printed.contains("http://127.0.0.1:"),
        "it shows URLs:\n{printed}"
    );
}
