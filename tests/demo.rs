//! `procserver demo --once`: the whole way once through, by the program itself.

use std::time::Duration;

use crate::support::machine::processes_of;
use crate::support::setup::{procserver, world_readable_directory};
use crate::support::wait::eventually;

#[test]
fn the_demo_checks_itself_leaves_nothing_and_exits_0() {
    let directory = world_readable_directory();
    let output = directory.path().join("output");
    let file = std::fs::File::create(&output).unwrap();
    let mut demo = procserver()
        .args(["demo", "--once"])
        .env("TMPDIR", directory.path())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let status = eventually("the demo ends", Duration::from_secs(60), || {
        demo.try_wait().unwrap()
    });
    let printed = std::fs::read_to_string(&output).unwrap();
    assert!(status.success(), "{status}:\n{printed}");
    assert!(
        printed.contains("http://127.0.0.1:"),
        "it shows URLs:\n{printed}"
    );
    let left = processes_of(directory.path());
    assert!(left.is_empty(), "they remain: {left:?}\n{printed}");
    let files: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(files, ["output"], "temporary files remain");
}
