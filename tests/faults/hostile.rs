//! What an operator, or another program of the machine, may do to a server that runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{deploy, lines, print};
use crate::support::command::procserver;
use crate::support::fixture::{document, web_repo};
use crate::support::machine::{is_alive, is_root, processes_of, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Prints numbered lines for ever.
const COUNTER: &str = "count: n=0; while :; do n=$((n+1)); echo count-$n; sleep 0.01; done\n";

/// The runtime directories of an app's processes.
fn instances(server: &Server, app: &str) -> Vec<PathBuf> {
    let directory = server.directory().join("run/apps").join(app);
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits for another pid than `before`.
#[track_caller]
fn replaced(server: &Server, id: &str, before: i32) -> i32 {
    eventually(&format!("another process is {id}"), SOON, || {
        let pid = server.ready_pid("echo", id);
        (pid != before && !is_alive(before)).then_some(pid)
    })
}

#[track_caller]
fn assert_each_counted_once(server: &Server) {
    let counted = lines(server, "echo", "stdout?tail=all&process=count.1");
    let numbers: Vec<u64> = counted
        .iter()
        .map(|l| l.strip_prefix("count-").unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_daemon_that_was_stopped_for_a_while_goes_on_as_if_nothing_had_been() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", COUNTER);
    let ids = ["web.1", "count.1"];
    let pids = ids.map(|id| server.ready_pid("echo", id));
    send_signal(server.pid(), Signal::SIGSTOP);
    // Long enough for a pipe to fill at a test's pace, and for every short timer to be due.
    let seconds = std::env::var("PROCSERVER_TEST_STOPPED").map_or(3, |text| text.parse().unwrap());
    std::thread::sleep(Duration::from_secs(seconds));
    send_signal(server.pid(), Signal::SIGCONT);
    server.visit("/echo/").expect(200);
    assert_eq!(ids.map(|id| server.ready_pid("echo", id)), pids);
    server.act("echo", "stop").expect(200);
    assert_each_counted_once(&server);
}

#[test]
fn who_lost_the_runtime_directory_runs_on_and_with_the_next_daemon_anew() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let (web, worker) = (
        server.ready_pid("echo", "web.1"),
        server.ready_pid("echo", "worker.1"),
    );
    std::fs::remove_dir_all(server.directory().join("run/apps")).unwrap();
    server.visit("/echo/").expect(200);
    send_signal(worker, Signal::SIGKILL);
    let worker = replaced(&server, "worker.1", worker);
    assert!(is_alive(web));

    // Nothing says any more what `web.1` is: it is ended, not run beside another one.
    server.kill();
    server.start_again();
    let again = server.ready_pid("echo", "web.1");
    assert!(again != web && !is_alive(web), "{web} {again}");
    assert_eq!(
        server.ready_pid("echo", "worker.1"),
        worker,
        "it has its record"
    );
    server.visit("/echo/").expect(200);
}

#[test]
fn a_file_a_link_or_nothing_in_place_of_a_fifo_costs_a_restart_at_most() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let secret = server.directory().join("secret");
    std::fs::write(&secret, "untouched").unwrap();
    let harm: [&dyn Fn(&Path); 3] = [
        &|fifo| std::fs::write(fifo, "a file").unwrap(),
        &|fifo| std::os::unix::fs::symlink(&secret, fifo).unwrap(),
        &|_| {},
    ];
    let mut pid = server.ready_pid("echo", "web.1");
    for (number, harm) in harm.iter().enumerate() {
        for instance in instances(&server, "echo") {
            let fifo = instance.join("stdout");
            std::fs::remove_file(&fifo).unwrap();
            harm(&fifo);
        }
        // It has the old one open, and so has the daemon.
        print(&server, "echo", &format!("old-{number}"));
        send_signal(pid, Signal::SIGKILL);
        pid = replaced(&server, "web.1", pid);
        print(&server, "echo", &format!("new-{number}"));
        eventually("both lines are in the log", SOON, || {
            let log = lines(&server, "echo", "stdout?tail=all");
            let has = |text: String| log.contains(&text);
            (has(format!("old-{number}")) && has(format!("new-{number}"))).then_some(())
        });
    }
    assert_eq!(std::fs::read(secret).unwrap(), b"untouched");
}

#[test]
fn a_survivor_without_its_fifo_is_started_anew_by_the_next_daemon() {
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    std::fs::remove_file(instances(&server, "echo")[0].join("stdout")).unwrap();
    server.start_again();
    assert_ne!(server.ready_pid("echo", "web.1"), pid);
    assert!(!is_alive(pid), "else its output would stop it one day");
    print(&server, "echo", "anew");
    eventually("it is in the log", SOON, || {
        lines(&server, "echo", "stdout?tail=all")
            .contains(&"anew".to_owned())
            .then_some(())
    });
}

#[test]
fn logs_that_are_removed_under_it_go_on_in_new_files() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let logs = server.directory().join("apps/echo/logs");
    for text in ["one", "two", "three"] {
        print(&server, "echo", text);
        eventually("the line is in the log", SOON, || {
            lines(&server, "echo", "stdout?tail=all")
                .contains(&text.to_owned())
                .then_some(())
        });
        std::fs::remove_dir_all(&logs).unwrap();
    }
}

#[test]
fn a_data_directory_that_is_closed_for_a_while_ends_nothing() {
    let server = Setup::new().not_by_root().start();
    let _repo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let (web, worker) = (
        server.ready_pid("echo", "web.1"),
        server.ready_pid("echo", "worker.1"),
    );
    let token = server.token();
    let data = server.directory().to_owned();
    let mode = |mode| {
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
    };
    mode(0o000);
    send_signal(worker, Signal::SIGKILL);
    let status = |part: &str| {
        let request = crate::support::http::Request::get("/applications/echo/status");
        let answer = request.header("Authorization", &format!("Bearer {token}"));
        let status = answer.send(&server.public()).expect(200).text();
        status.contains(part).then_some(status)
    };
    let said = eventually("it says what is wrong", SOON, || {
        status("Permission denied")
    });
    assert!(said.contains(&data.display().to_string()), "{said}");
    server.visit("/echo/").expect(200);
    mode(0o755);
    let worker = replaced(&server, "worker.1", worker);
    assert!(is_alive(worker));
    assert_eq!(server.ready_pid("echo", "web.1"), web);
    server.act("echo", "redeploy").expect(200);
}

#[test]
fn of_servers_that_start_at_the_same_instant_on_the_same_data_one_lives() {
    let directory = tempfile::tempdir().unwrap();
    let mut all: Vec<_> = (0..6)
        .map(|_| {
            let mut command = procserver();
            command
                .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(directory.path());
            command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    eventually("all but one have ended", SOON, || {
        let living = all
            .iter_mut()
            .filter_map(|child| child.try_wait().unwrap().is_none().then_some(()))
            .count();
        (living == 1).then_some(())
    });
    let socket = directory.path().join("run/procserver.sock");
    eventually("that one serves", SOON, || {
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    for mut child in all {
        let lives = child.try_wait().unwrap().is_none();
        if lives {
            send_signal(i32::try_from(child.id()).unwrap(), Signal::SIGTERM);
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!lives)));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.contains("is in use by procserver"), !lives, "{said}");
    }
}

#[test]
fn helpers_that_are_killed_before_they_become_the_command_are_tried_again() {
    let server = Server::start();
    let _repo = deploy(&server, "echo", "");
    let mut pid = server.ready_pid("echo", "web.1");
    for _ in 0..3 {
        let mut killed = 0;
        send_signal(pid, Signal::SIGKILL);
        // They live for a few milliseconds.
        eventually("some were killed", SOON, || {
            for helper in processes_of(server.directory()) {
                let words = std::fs::read(format!("/proc/{helper}/cmdline")).unwrap_or_default();
                if words.starts_with(b"procserver\0exec\0") {
                    send_signal(helper, Signal::SIGKILL);
                    killed += 1;
                }
            }
            (killed > 0 || server.process("echo", "web.1")["state"] == "ready").then_some(())
        });
        pid = replaced(&server, "web.1", pid);
    }
    server.visit("/echo/").expect(200);
}

#[test]
fn rubbish_in_the_output_is_kept_as_it_is_and_told_as_text() {
    let server = Server::start();
    let repo = web_repo("1");
    let script = "import os, sys, time\n\
        sys.stdout.buffer.write(bytes(range(256)) * 40 + b'\\n' + '漢'.encode() * 50000 + b'\\nend\\n')\n\
        sys.stdout.flush()\ntime.sleep(600)\n";
    repo.commit(&[
        ("Procfile", "rubbish: exec python3 rubbish.py\n"),
        ("rubbish.py", script),
    ]);
    server.deploy(&document("echo", &repo));
    let read = |kind: &str| {
        let log = server
            .request("GET", "/applications/echo/logs/stdout?tail=all")
            .header("Accept", kind);
        log.send(&server.public()).expect(200)
    };
    let records: Vec<Value> = eventually("all of it is in the log", SOON, || {
        let text = read("application/x-ndjson").text();
        let records: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect();
        (records.last()?["text"] == "end").then_some(records)
    });
    let text = |record: &Value| record["text"].as_str().unwrap().to_owned();
    let kanji: String = records
        .iter()
        .map(text)
        .filter(|text| text.starts_with('漢'))
        .collect();
    assert_eq!(kanji, "漢".repeat(50_000), "no character is cut in two");
    // Byte for byte on disk.
    let logs = std::fs::read_dir(server.directory().join("apps/echo/logs")).unwrap();
    let stored: Vec<u8> = logs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("stdout-0"))
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    let beginning: Vec<u8> = (0..10).collect();
    assert!(
        stored.windows(10).any(|w| w == &beginning[..]),
        "the first bytes, up to the first newline"
    );
    let high: Vec<u8> = (11..=255).chain(0..10).collect();
    assert!(stored.windows(high.len()).any(|w| w == &high[..]));
}

#[test]
fn a_sigterm_while_it_starts_and_a_kill_while_it_stops_leave_one_set_of_processes() {
    let mut server = Server::start();
    let slow = "slow: trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done\n";
    let _repo = deploy(&server, "echo", slow);
    for _ in 0..2 {
        send_signal(server.pid(), Signal::SIGTERM);
        eventually("it stops", SOON, || {
            server.log().contains("SIGTERM: stopping").then_some(())
        });
        server.kill();
        server.start_again();
        server.ready_pid("echo", "web.1");
        server.visit("/echo/").expect(200);
        let own = |pid: &i32| {
            nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(*pid)))
                .is_ok_and(|s| s.as_raw() == *pid)
        };
        eventually("nothing runs twice", SOON, || {
            let all = processes_of(server.directory());
            let mut leaders: Vec<i32> = all
                .into_iter()
                .filter(own)
                .filter(|pid| *pid != server.pid())
                .collect();
            leaders.sort_unstable();
            // What was adopted may still be ending of the signal before the kill, and is replaced then.
            let mut expected = ["web.1", "slow.1"].map(|id| server.ready_pid("echo", id));
            expected.sort_unstable();
            (leaders == expected).then_some(())
        });
    }
    // At any moment of its start, too.
    server.terminate();
    for milliseconds in [0, 5, 20, 50, 100, 200] {
        let mut starting = Command::new(procserver().get_program());
        starting
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(server.directory());
        let mut starting = starting
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        send_signal(i32::try_from(starting.id()).unwrap(), Signal::SIGTERM);
        eventually("it ends", SOON, || starting.try_wait().unwrap());
    }
    server.start_again();
    server.ready_pid("echo", "slow.1");
    server.visit("/echo/").expect(200);
}

#[test]
fn a_user_who_sees_only_processes_of_its_own_stops_all_of_an_app() {
    if !is_root() {
        return skip("/proc with hidepid", "only root can mount it");
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc; exec setpriv --reuid={} --regid={} --clear-groups --inh-caps=-all \"$@\"",
        nobody.uid, nobody.gid
    );
    let server = Setup::new().by_nobody().with_mounts(&script).start();
    let children = "double: (setsid env -i sh -c 'cd /; exec sleep 600 <&- >/dev/null 2>&1' &) ; exec sleep 600\n";
    let _repo = deploy(&server, "echo", children);
    let of_nobody = || {
        let found = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let limits = std::fs::read_to_string(entry.path().join("limits")).ok()?;
                let line = limits
                    .lines()
                    .find(|line| line.starts_with("Max realtime timeout"))?;
                (is_alive(pid) && !line.contains("unlimited")).then(|| (pid, line.to_owned()))
            });
        found.collect::<Vec<_>>()
    };
    let web = server.ready_pid("echo", "double.1");
    let brand = of_nobody()
        .into_iter()
        .find(|(pid, _)| *pid == web)
        .expect("it is branded")
        .1;
    let family = || {
        of_nobody()
            .into_iter()
            .filter(|(_, line)| *line == brand)
            .count()
    };
    eventually("the child is there", SOON, || (family() == 2).then_some(()));
    server.act("echo", "stop").expect(200);
    assert_eq!(family(), 0);
}
