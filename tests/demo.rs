//! `procserver demo --once`: the whole way once through, by the program itself.

use crate::support::command::{finish, procserver};
use crate::support::machine::processes_of;
use crate::support::setup::world_readable_directory;

#[test]
fn the_demo_checks_itself_leaves_nothing_and_exits_0() {
    let directory = world_readable_directory();
    let demo = finish(
        procserver()
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
