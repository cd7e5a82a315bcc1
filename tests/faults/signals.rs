//! Signals: those that whoever started the server had ignored or blocked, and more of them than one.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::{deploy, lines};
use crate::support::machine::{is_alive, send_signal};
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Becomes its arguments with nearly everything ignored, and blocked as far as it can be.
const DEAF: &str = "\
import os, signal, sys
several = [getattr(signal, 'SIG' + n) for n in 'HUP INT QUIT PIPE USR1 USR2 CHLD TERM TTOU TTIN TSTP WINCH ALRM'.split()]
for one in several:
    signal.signal(one, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, several)
os.execvp(sys.argv[1], sys.argv[1:])
";

/// Signals 32 and 33, which libc keeps to itself: no program can set them (nptl(7)).
const OF_LIBC: u64 = 3 << 31;

#[test]
fn an_app_finds_every_signal_at_its_default_whatever_the_server_was_started_with() {
    let setup = Setup::new().launched_by(&["python3", "-c", DEAF]);
    let mut server = setup.start();
    let shows = "shows: cat /proc/self/status; exec sleep 600\n";
    let _repo = deploy(&server, "echo", shows);
    let shown = eventually("it has shown them", SOON, || {
        let shown = lines(&server, "echo", "stdout?process=shows.1");
        shown
            .iter()
            .any(|line| line.starts_with("SigCgt"))
            .then_some(shown)
    });
    let masks: BTreeMap<&str, u64> = shown
        .iter()
        .filter_map(|line| line.split_once(":\t"))
        .filter(|(name, _)| ["SigBlk", "SigCgt", "SigIgn"].contains(name))
        .map(|(name, mask)| (name, u64::from_str_radix(mask, 16).unwrap() & !OF_LIBC))
        .collect();
    let expected = ["SigBlk", "SigCgt", "SigIgn"].map(|name| (name, 0));
    assert_eq!(masks, BTreeMap::from(expected));

    // It is told how its children end, and can be told to end.
    let pid = server.ready_pid("echo", "shows.1");
    send_signal(pid, Signal::SIGKILL);
    eventually("its end is known", SOON, || {
        (server.process("echo", "shows.1")["last_exit"]["signal"] == 9).then_some(())
    });
    assert!(server.terminate().success());
}

#[test]
fn a_storm_of_sighup_and_a_second_sigterm_change_nothing() {
    let mut server = Setup::new().start();
    let slow = "slow: trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.1; done\n";
    let _repo = deploy(&server, "echo", slow);
    let pids = ["web.1", "slow.1"].map(|id| server.ready_pid("echo", id));
    for _ in 0..2000 {
        send_signal(server.pid(), Signal::SIGHUP);
    }
    server.visit("/echo/").expect(200);
    assert_eq!(
        ["web.1", "slow.1"].map(|id| server.ready_pid("echo", id)),
        pids
    );
    let daemon = server.pid();
    send_signal(daemon, Signal::SIGTERM);
    eventually("it stops", SOON, || {
        server.log().contains("SIGTERM: stopping").then_some(())
    });
    send_signal(daemon, Signal::SIGTERM);
    send_signal(daemon, Signal::SIGHUP);
    assert!(server.ended().success());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    let exited = server
        .log()
        .lines()
        .filter(|line| line.contains("slow.1") && line.contains("exit code 0"))
        .count();
    assert_eq!(
        exited,
        1,
        "it ended by itself, and that is told once:\n{}",
        server.log()
    );
}
