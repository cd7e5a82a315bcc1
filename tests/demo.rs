//! `procserver demo --once`: the whole way once through, by the program itself.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

#[test]
fn the_commands_that_it_shows_can_be_run_as_they_are_until_ctrl_c() {
    let _alone = DEMOS.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = world_readable_directory();
    let mut demo = procserver()
        .arg("demo")
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open: without a reader the demo ends.
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let told: Vec<String> = lines
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("The log follows"))
        .collect();
    let commands: Vec<&str> = told
        .iter()
        .filter(|line| line.starts_with("  "))
        .filter_map(|line| {
            let begin = line.find("curl ").or_else(|| line.find("/"));
            Some(&line[begin?..]).filter(|command| command.contains(' '))
        })
        .collect();
    let ran: Vec<_> = ["sh", "bash"]
        .iter()
        .flat_map(|shell| commands.iter().map(move |command| (shell, command)))
        .map(|(shell, command)| (command, finish(Command::new(shell).args(["-c", command]))))
        .collect();
    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = demo.wait().unwrap();
    assert_eq!(commands.len(), 8, "{told:#?}");
    for (command, ran) in ran {
        let said = ran.success();
        assert!(!said.contains("\"status\""), "{command}: {said}");
    }
    assert!(status.success(), "{told:#?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
