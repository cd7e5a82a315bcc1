//! Install commands and the release phase.

use std::time::Duration;

use procserver::install::instances;
use procserver::install::record::Step;
use procserver::process::stop;
use procserver::supervision::Exit;

use super::world::{World, eventually, runs};

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// A command that stays: of this run of the tests, others may be at work on this machine.
fn sleep(seconds: u32) -> String {
    format!("sleep {seconds}.{}", std::process::id())
}

#[test]
fn commands_run_in_order_in_the_release_with_its_environment() {
    let mut world = World::new(&[PROCFILE, (".env", "A=file\nB=file\n")]);
    world.config.env.insert("B".into(), "configured".into());
    world.install(&[
        "echo \"$A $B $HOME $TMPDIR\" > built && touch $STORAGE_DIR/kept $TMPDIR/t $HOME/h",
        "cat built; echo problem >&2; env | cut -d= -f1 | sort > names",
    ]);
    let outcome = world.deploy();
    let release = outcome.release();
    assert_eq!(
        outcome.finished,
        [Step::Fetch, Step::Checkout, Step::Install]
    );
    let built = std::fs::read_to_string(release.directory.join("built")).unwrap();
    let home = world.dirs.home();
    assert!(
        built.starts_with(&format!("file configured {}", home.display())),
        "{built}"
    );
    assert!(
        outcome.logged("$ cat built")
            && outcome.logged("file configured")
            && outcome.logged("problem")
    );
    let names = std::fs::read_to_string(release.directory.join("names")).unwrap();
    assert!(
        !names.contains("CARGO"),
        "the daemon's environment leaks: {names}"
    );
    assert!(world.dirs.storage().join("kept").exists());
}

#[test]
fn the_first_failure_ends_it_and_nothing_is_left() {
    let mut world = World::new(&[PROCFILE]);
    world.install(&["echo one; echo two; exit 3", "echo never"]);
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert_eq!((failure.step, failure.exit_code), (Step::Install, Some(3)));
    assert!(
        failure.log_tail.ends_with(&["one".into(), "two".into()]),
        "{failure:?}"
    );
    assert!(!outcome.lines.iter().any(|line| line == "never"));
    assert!(world.left().is_empty());
    world.install(&["no-such-command-here"]);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.exit_code, Some(127));
    assert!(failure.hint.is_some_and(|h| h.contains("`packages`")));
    world.install(&["kill -9 $$"]);
    assert_eq!(world.deploy().failure().signal, Some(9));
}

#[test]
fn stdin_is_empty_and_endless_output_ends_by_the_timeout() {
    let mut world = World::new(&[PROCFILE]);
    world.install(&["cat; echo read everything"]);
    assert!(world.deploy().logged("read everything"));
    world.timeouts.install = Duration::from_secs(2);
    let left = sleep(4321);
    world.install(&[&format!(
        "head -c 1000000 /dev/zero | tr '\\0' x; yes | head -c 3000000; {left}"
    )]);
    let outcome = world.deploy();
    assert!(
        outcome.failure().reason.contains("took more than"),
        "{:?}",
        outcome.failure()
    );
    assert!(outcome.lines.iter().all(|line| line.len() <= 16 * 1024));
    assert!(outcome.failure().log_tail.len() <= 20);
    assert!(!runs(&left));
    assert_eq!(world.left(), ["1", "1.json"]);
}

#[test]
fn what_a_command_leaves_behind_is_ended() {
    let mut world = World::new(&[PROCFILE]);
    let [one, other] = [4322, 4323].map(sleep);
    world.install(&[&format!("{one} & (setsid {other} &) ; echo done")]);
    world.deploy().release();
    assert!(!runs(&one) && !runs(&other));
}

#[test]
fn a_cancelled_deploy_leaves_no_process_and_no_release() {
    let mut world = World::new(&[PROCFILE]);
    let [one, other] = [4324, 4325].map(sleep);
    world.install(&[&format!("(setsid {one} &); echo at work; {other}")]);
    let outcome = world.cancel(|line| line == "at work", true);
    assert!(outcome.result.is_none());
    assert_eq!(outcome.exit, Exit::Shutdown);
    assert!(outcome.logged("=== install cancelled"));
    assert!(!runs(&one) && !runs(&other));
    assert!(world.left().is_empty());
}

#[test]
fn a_killed_installer_leaves_no_process_either() {
    let mut world = World::new(&[PROCFILE]);
    let left = sleep(4326);
    world.install(&[&format!("echo at work; {left}")]);
    let outcome = world.cancel(|line| line == "at work", false);
    assert_eq!(
        (outcome.exit, outcome.result.is_none()),
        (Exit::Killed, true)
    );
    eventually("the command ends", || !runs(&left));
    world.install(&[]);
    world.deploy().release();
    assert_eq!(world.left(), ["2", "2.json"]);
}

#[test]
fn the_release_phase_runs_once_in_the_finished_release() {
    let mut world = World::new(&[(
        "Procfile",
        "web: ./serve\nrelease: echo \"$PS $A\" >> $STORAGE_DIR/migrated\n",
    )]);
    world.config.env.insert("A".into(), "b".into());
    let outcome = world.deploy();
    assert_eq!(
        outcome.finished,
        [Step::Fetch, Step::Checkout, Step::Release]
    );
    let migrated = std::fs::read_to_string(world.dirs.storage().join("migrated")).unwrap();
    assert_eq!(migrated, "release.1 b\n");
    for quantity in [0, 1, 2] {
        world.config.scale.insert("release".into(), quantity);
        let last = world.deploy().finished.pop();
        assert_eq!(last, Some(Step::Release), "scale.release = {quantity}");
    }
    let migrated = std::fs::read_to_string(world.dirs.storage().join("migrated")).unwrap();
    assert_eq!(migrated.lines().count(), 4, "once per deploy");
}

#[test]
fn a_failing_release_phase_fails_the_deploy() {
    let mut world = World::new(&[(
        "Procfile",
        "web: ./serve\nrelease: echo no database; exit 2\n",
    )]);
    let failure = world.deploy().failure().clone();
    assert_eq!((failure.step, failure.exit_code), (Step::Release, Some(2)));
    assert_eq!(failure.log_tail, ["no database"]);
    assert!(world.left().is_empty());
}

#[test]
fn a_release_cannot_be_written_to_when_it_is_done() {
    let mut world = World::new(&[PROCFILE, ("d/x", "1")]);
    world.install(&["mkdir -p made/deep && touch made/deep/file && chmod 777 made"]);
    let outcome = world.deploy();
    let directory = &outcome.release().directory;
    for path in ["", "d", "d/x", "made", "made/deep", "made/deep/file"] {
        let meta = std::fs::metadata(directory.join(path)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        assert_eq!(mode & 0o222, 0, "{path}");
    }
}

#[test]
fn what_a_killed_daemon_left_building_is_ended_by_the_next_deploy() {
    let mut world = World::new(&[PROCFILE]);
    // As the exec helper marks it; nobody of this process holds it.
    let marker = format!(
        "PROCSERVER_INSTANCE={}#install",
        world.dirs.releases().display()
    );
    let command = sleep(4327);
    let mut left = std::process::Command::new("env")
        .args(["-i", &marker, "setsid", "--wait", "sh", "-c", &command])
        .spawn()
        .unwrap();
    eventually("it runs", || runs(&command));
    world.deploy().release();
    eventually("it ends", || !runs(&command));
    left.wait().unwrap();
}

#[test]
fn one_look_tells_which_apps_a_killed_daemon_left_building() {
    let (busy, idle) = (World::new(&[PROCFILE]), World::new(&[PROCFILE]));
    let run = |world: &World, suffix: &str| {
        let releases = world.dirs.releases();
        let marker = format!("PROCSERVER_INSTANCE={}{suffix}", releases.display());
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("4328").env_clear().env("PATH", "/usr/bin:/bin");
        let (name, value) = marker.split_once('=').unwrap();
        sleep.env(name, value).spawn().unwrap()
    };
    let mut started = [run(&busy, "#install"), run(&idle, "#installed")];
    eventually("it is seen", || {
        instances::has_remains(&busy.dirs, &stop::Marked::look())
    });
    let marked = stop::Marked::look();
    assert!(!instances::has_remains(&idle.dirs, &marked));
    instances::kill_remains(&busy.dirs);
    assert!(!started[0].wait().unwrap().success());
    assert!(!instances::has_remains(&busy.dirs, &stop::Marked::look()));
    started[1].kill().unwrap();
    started[1].wait().unwrap();
}
