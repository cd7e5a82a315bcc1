//! Commands that are started through the real exec helper, and stopped with everything they started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procserver::account::Account;
use procserver::document::config::{StopPolicy, StopTo};
use procserver::document::limits::Limits;
use procserver::document::shell::Shell;
use procserver::exit_status::ExitStatus;
use procserver::process::exec::Step;
use procserver::process::exec_spec::{Exec, ExecSpec, Output};
use procserver::process::lent::Lent;
use procserver::process::spawn::{self, SpawnError, Spawned};
use procserver::process::stop::{self, Stopped};
use tokio::io::AsyncReadExt;

use crate::support::machine::skip;
use crate::support::setup::write_script;

/// The helper is the binary under test, not the test binary.
pub(crate) fn use_real_helper() {
    spawn::set_executable(PathBuf::from(env!("CARGO_BIN_EXE_procserver")));
}

/// Waits until `condition` holds; fails with `what` when it never does.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether a process runs (a zombie does not).
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    })
}

/// The pid that a command wrote to `file`, once it has.
pub(crate) async fn pid_in(file: &Path) -> u32 {
    let read = || {
        std::fs::read_to_string(file)
            .ok()?
            .strip_suffix('\n')?
            .parse()
            .ok()
    };
    until("a pid is written", || read().is_some()).await;
    read().expect("was there")
}

fn spec(directory: &Path, command: &str) -> ExecSpec {
    use_real_helper();
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    ExecSpec {
        command: Exec::Shell(Shell::Sh, command.to_owned()),
        directory: directory.to_owned(),
        account: None,
        environment: BTreeMap::from([("PATH".to_owned(), path)]),
        instance: directory.to_string_lossy().into_owned(),
        output: Output::Pipe,
        identity: None,
        mounts: None,
        landlock: None,
        limits: Limits::default(),
        nice: None,
        umask: 0o027,
        lent: Lent::default(),
    }
}

async fn run(spec: &ExecSpec) -> (ExitStatus, String) {
    let mut spawned = spawn::spawn(spec).await.expect("spawns");
    let mut output = String::new();
    let mut pipe = spawned.output.take().expect("a pipe");
    let status = spawned.wait().await;
    pipe.read_to_string(&mut output).await.expect("output");
    (status, output)
}

async fn output_of(command: &str) -> String {
    let directory = tempfile::tempdir().expect("tempdir");
    run(&spec(directory.path(), command)).await.1
}

async fn status_of(command: &str) -> ExitStatus {
    let directory = tempfile::tempdir().expect("tempdir");
    run(&spec(directory.path(), command)).await.0
}

#[actix::test]
async fn a_command_gets_exactly_its_environment_and_directory() {
    let directory = tempfile::tempdir().expect("tempdir");
    let here = directory.path().canonicalize().expect("path");
    let mut spec = spec(&here, "");
    spec.command = Exec::Program(vec!["env".into()]);
    spec.environment.insert("A".into(), "1 = 'x'\n2".into());
    let expected = format!(
        "A=1 = 'x'\n2\nPATH=/usr/local/bin:/usr/bin:/bin\nPROCSERVER_INSTANCE={}\n",
        here.display()
    );
    assert_eq!(run(&spec).await, (ExitStatus::Code(0), expected));
    spec.command = Exec::Shell(Shell::Sh, "pwd; umask".into());
    assert_eq!(run(&spec).await.1, format!("{}\n0027\n", here.display()));
}

#[actix::test]
async fn both_streams_come_in_order_and_stdin_has_ended() {
    assert_eq!(
        output_of("echo 1; echo 2 >&2; cat; echo 3").await,
        "1\n2\n3\n"
    );
}

#[actix::test]
async fn a_command_holds_nothing_of_the_daemon_but_its_streams() {
    let listing = output_of("ls /proc/$$/fd").await;
    let numbers: Vec<&str> = listing.split_ascii_whitespace().collect();
    assert_eq!(numbers, ["0", "1", "2"]);
}

#[actix::test]
async fn exits_are_told_as_they_were() {
    assert_eq!(status_of("exit 7").await, ExitStatus::Code(7));
    assert_eq!(status_of("kill -9 $$").await, ExitStatus::Signal(9));
    assert_eq!(status_of("/no/such/command").await, ExitStatus::Code(127));
    assert_eq!(status_of("/etc/passwd").await, ExitStatus::Code(126));
    // It is ignored in every Rust program; a command must not inherit that.
    assert_eq!(
        status_of("kill -PIPE $$; exit 0").await,
        ExitStatus::Signal(13)
    );
}

#[actix::test]
async fn a_failed_set_up_names_the_step_and_leaves_nothing() {
    let mut spec = spec(Path::new("/no/such/directory"), "true");
    let error = spawn::spawn(&spec).await.expect_err("no directory");
    assert!(
        matches!(&error, SpawnError::Setup { step: Step::Directory, reason } if reason.starts_with("/no/such/directory: No such file")),
        "{error}"
    );
    assert!(!error.blames_host());
    spec.directory = "/".into();
    spec.command = Exec::Program(vec!["no-such-program".into()]);
    let error = spawn::spawn(&spec).await.expect_err("no program");
    assert!(
        matches!(
            &error,
            SpawnError::Setup {
                step: Step::Exec,
                ..
            }
        ),
        "{error}"
    );
}

#[actix::test]
async fn as_another_user_root_is_gone_for_good() {
    if !Account::current().is_ok_and(|account| account.is_root()) {
        skip(
            "as another user root is gone for good",
            "switching users needs root",
        );
        return;
    }
    let account = Account::look_up("nobody", None).expect("nobody");
    let mut spec = spec(
        Path::new("/"),
        "id -u; id -G; grep -E 'NoNewPrivs|CapEff|CapAmb' /proc/self/status",
    );
    spec.account = Some(account.clone());
    let expected = format!(
        "{}\n{}\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n",
        account.uid, account.gid
    );
    assert_eq!(run(&spec).await.1, expected);
}

#[actix::test]
async fn instructions_larger_than_a_pipe_arrive() {
    let mut spec = spec(Path::new("/"), "printf %s \"$LARGE\" | wc -c");
    // A single string of execve(2) may have 128 KiB.
    spec.environment.insert("LARGE".into(), "x".repeat(120_000));
    assert_eq!(run(&spec).await.1.trim(), "120000");
}

fn policy(timeout: Duration) -> StopPolicy {
    let signal = 15;
    let to = StopTo::All;
    StopPolicy {
        signal,
        timeout,
        to,
    }
}

/// Starts `command`, which writes the pid of something it started to `child`, and waits for that.
async fn with_child(directory: &Path, command: &str) -> (Spawned, u32) {
    let spawned = spawn::spawn(&spec(directory, command))
        .await
        .expect("spawns");
    let child = pid_in(&directory.join("child")).await;
    assert!(is_alive(child));
    (spawned, child)
}

#[actix::test]
async fn what_ends_on_the_signal_is_not_killed() {
    let directory = tempfile::tempdir().expect("tempdir");
    let command = "trap 'exit 5' TERM; echo $$ >child; while :; do sleep 0.01; done";
    let (spawned, _) = with_child(directory.path(), command).await;
    let outcome = stop::gracefully(&spawned.running, &policy(Duration::from_secs(20))).await;
    assert_eq!(outcome, Stopped::InTime);
    assert_eq!(spawned.wait().await, ExitStatus::Code(5));
}

#[actix::test]
async fn what_ignores_the_signal_is_killed_after_the_grace() {
    let directory = tempfile::tempdir().expect("tempdir");
    let command = "trap '' TERM; echo $$ >child; while :; do sleep 0.01; done";
    let (spawned, _) = with_child(directory.path(), command).await;
    let outcome = stop::gracefully(&spawned.running, &policy(Duration::from_millis(100))).await;
    assert_eq!(outcome, Stopped::Killed);
    assert_eq!(spawned.wait().await, ExitStatus::Signal(9));
}

#[actix::test]
async fn a_stopped_process_can_be_stopped() {
    let directory = tempfile::tempdir().expect("tempdir");
    let (spawned, _) =
        with_child(directory.path(), "echo $$ >child; kill -STOP $$; sleep 77").await;
    let stat = format!("/proc/{}/stat", spawned.pid);
    let is_stopped = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
    until("it is stopped", is_stopped).await;
    let outcome = stop::gracefully(&spawned.running, &policy(Duration::from_secs(20))).await;
    assert_eq!(outcome, Stopped::InTime);
    spawned.wait().await;
}

#[actix::test]
async fn nothing_that_was_started_survives_a_stop() {
    for command in [
        // In the group; in a session of its own; twice forked away; in the group, but without the marker.
        "sleep 77 & echo $! >child; wait",
        "setsid sh -c 'echo $$ >child; exec sleep 77' & wait",
        "(setsid sh -c 'sh -c \"echo \\$\\$ >child; exec sleep 77\" &' &); sleep 77",
        "env -i /bin/sleep 77 & echo $! >child; wait",
        // In a session of its own and without the marker, but with its parent.
        "setsid env -i /bin/sleep 77 & echo $! >child; wait",
        "trap '' TERM; (trap '' TERM; sleep 77) & echo $! >child; wait; sleep 77",
    ] {
        let directory = tempfile::tempdir().expect("tempdir");
        let (spawned, child) = with_child(directory.path(), command).await;
        stop::gracefully(&spawned.running, &policy(Duration::from_millis(200))).await;
        spawned.wait().await;
        assert!(!is_alive(child) && !is_alive(spawned.pid), "{command}");
    }
}

#[actix::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    for command in [
        "setsid sleep 77 & echo $! >child",
        "env -i /bin/sleep 77 & echo $! >child",
    ] {
        let directory = tempfile::tempdir().expect("tempdir");
        let (spawned, child) = with_child(directory.path(), command).await;
        assert_eq!(spawned.wait().await, ExitStatus::Code(0));
        assert!(!is_alive(child), "{command}");
    }
}

#[actix::test]
async fn a_tree_that_keeps_forking_away_is_dead_within_two_seconds() {
    let directory = tempfile::tempdir().expect("tempdir");
    // Each generation is in a session of its own and starts the next before it ends.
    let script = "#!/bin/sh\ntrap '' TERM\necho $$ >>generations\nsleep 0.01\nsetsid ./again &\nsetsid sleep 77 &\n";
    write_script(&directory.path().join("again"), script);
    let command = "./again; echo $$ >child; wait; sleep 77";
    let (spawned, _) = with_child(directory.path(), command).await;
    let generations = directory.path().join("generations");
    let lines = || std::fs::read_to_string(&generations).map_or(0, |text| text.lines().count());
    until("it has forked a few times", || lines() > 5).await;
    let begun = Instant::now();
    stop::kill(&spawned.running).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    spawned.wait().await;
    let marker = format!("PROCSERVER_INSTANCE={}", directory.path().display());
    assert_eq!(marked(&marker), Vec::<String>::new());
}

/// The processes that carry `marker` in their environment.
fn marked(marker: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok);
    entries
        .filter(|entry| {
            std::fs::read(entry.path().join("environ")).is_ok_and(|environ| {
                environ
                    .split(|byte| *byte == 0)
                    .any(|one| one == marker.as_bytes())
            })
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// On SIGTERM it takes its time, then writes to `saved` and exits with 7.
const SLOW: &str = r#"
import os, signal, sys, time
def save(*_):
    time.sleep(0.3)
    open("saved", "a").write("saved\n")
    os._exit(7)
signal.signal(signal.SIGTERM, save)
open("child", "w").write(f"{os.getpid()}\n")
while True:
    time.sleep(60)
"#;

/// Stops `command`, which runs `slow.py`, with a long grace; what was saved, and how it ended.
async fn stop_slow(command: &str, to: StopTo) -> (Stopped, String, ExitStatus) {
    let directory = tempfile::tempdir().expect("tempdir");
    std::fs::write(directory.path().join("slow.py"), SLOW).expect("script");
    let (spawned, _) = with_child(directory.path(), command).await;
    let policy = StopPolicy {
        to,
        ..policy(Duration::from_secs(30))
    };
    let outcome = stop::gracefully(&spawned.running, &policy).await;
    let marker = format!("PROCSERVER_INSTANCE={}", directory.path().display());
    assert_eq!(marked(&marker), Vec::<String>::new(), "{command}");
    let status = spawned.wait().await;
    let saved = std::fs::read_to_string(directory.path().join("saved")).unwrap_or_default();
    (outcome, saved, status)
}

#[actix::test]
async fn the_grace_is_that_of_what_a_shell_has_started_and_its_exit_is_reported() {
    for command in [
        "exec python3 slow.py",
        "python3 slow.py",
        "cd . && python3 slow.py",
        "python3 slow.py; echo never >saved",
        "true | python3 slow.py",
        "sleep 77 & python3 slow.py",
        "python3 slow.py & wait",
    ] {
        let (outcome, saved, status) = stop_slow(command, StopTo::All).await;
        assert_eq!(outcome, Stopped::InTime, "{command}");
        assert_eq!(saved, "saved\n", "{command}");
        assert_eq!(status, ExitStatus::Code(7), "{command}");
    }
}

#[actix::test]
async fn what_is_deeper_or_has_left_the_session_has_the_same_grace() {
    for command in [
        "(python3 slow.py)",
        "sh -c '(python3 slow.py; true); true'",
        "setsid python3 slow.py & exec sleep 77",
        "(setsid python3 slow.py &) ; sleep 77",
        "setsid env -i /usr/bin/python3 slow.py & wait",
    ] {
        let (outcome, saved, _) = stop_slow(command, StopTo::All).await;
        assert_eq!(outcome, Stopped::InTime, "{command}");
        assert_eq!(saved, "saved\n", "{command}");
    }
}

#[actix::test]
async fn a_signal_to_the_main_command_alone_reaches_the_rest_when_that_has_ended() {
    let script = "#!/bin/sh\ntrap 'echo main >>saved; exit 4' TERM\npython3 slow.py &\nwait\n";
    let directory = tempfile::tempdir().expect("tempdir");
    std::fs::write(directory.path().join("main"), script).expect("script");
    let copied = format!("cp {}/main . && exec sh ./main", directory.path().display());
    let (outcome, saved, status) = stop_slow(&copied, StopTo::Main).await;
    assert_eq!(
        (outcome, saved.as_str()),
        (Stopped::InTime, "main\nsaved\n")
    );
    assert_eq!(status, ExitStatus::Code(4));
    let (outcome, saved, status) = stop_slow("python3 slow.py; true", StopTo::Main).await;
    assert_eq!((outcome, saved.as_str()), (Stopped::InTime, "saved\n"));
    assert_eq!(status, ExitStatus::Code(7));
}

#[actix::test]
async fn one_of_three_that_ignores_the_signal_is_killed_and_the_others_have_ended_well() {
    let directory = tempfile::tempdir().expect("tempdir");
    std::fs::write(directory.path().join("slow.py"), SLOW).expect("script");
    let command = "(trap '' TERM; exec sleep 77) & python3 slow.py & exec sleep 77";
    let (spawned, _) = with_child(directory.path(), command).await;
    let outcome = stop::gracefully(&spawned.running, &policy(Duration::from_secs(3))).await;
    assert_eq!(outcome, Stopped::RestKilled);
    assert_eq!(spawned.wait().await, ExitStatus::Signal(15));
    let saved = std::fs::read_to_string(directory.path().join("saved"));
    assert_eq!(saved.expect("saved"), "saved\n");
    let marker = format!("PROCSERVER_INSTANCE={}", directory.path().display());
    assert_eq!(marked(&marker), Vec::<String>::new());
}

#[actix::test]
async fn what_a_dead_leader_has_left_has_its_grace_too() {
    let directory = tempfile::tempdir().expect("tempdir");
    std::fs::write(directory.path().join("slow.py"), SLOW).expect("script");
    let (spawned, _) = with_child(directory.path(), "python3 slow.py & wait").await;
    let leader = rustix::process::Pid::from_raw(spawned.pid.cast_signed()).expect("pid");
    rustix::process::kill_process(leader, rustix::process::Signal::KILL).expect("kill");
    spawned.running.exited().await;
    let outcome = stop::gracefully(&spawned.running, &policy(Duration::from_secs(30))).await;
    assert_eq!(outcome, Stopped::InTime);
    assert_eq!(spawned.wait().await, ExitStatus::Signal(9));
    let saved = std::fs::read_to_string(directory.path().join("saved"));
    assert_eq!(saved.expect("saved"), "saved\n");
}

#[actix::test]
async fn a_stop_at_any_moment_of_the_start_leaves_nothing_and_needs_no_kill() {
    for delay in 0..20 {
        let directory = tempfile::tempdir().expect("tempdir");
        let command = "(setsid sh -c 'sleep 77; sleep 77' &); sh -c 'sleep 77; true'; sleep 77";
        let spawned = spawn::spawn(&spec(directory.path(), command))
            .await
            .expect("spawns");
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let outcome = stop::gracefully(&spawned.running, &policy(Duration::from_secs(30))).await;
        assert_eq!(outcome, Stopped::InTime);
        spawned.wait().await;
        let marker = format!("PROCSERVER_INSTANCE={}", directory.path().display());
        assert_eq!(marked(&marker), Vec::<String>::new());
    }
}
