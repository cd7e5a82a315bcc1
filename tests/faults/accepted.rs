//! What was accepted (202) is done by the next server, if this one ends before.

use nix::sys::signal::Signal;

use super::deploy;
use crate::support::machine::{is_alive, send_signal};
use crate::support::setup::Setup;

/// Takes a second to stop.
const SLOW: &str = "slow: trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done\n";

#[test]
fn a_start_that_waits_for_a_stop_is_not_forgotten_when_the_server_is_killed_or_ended() {
    let mut server = Setup::new().start();
    let _repo = deploy(&server, "echo", SLOW);
    for ended in [Signal::SIGKILL, Signal::SIGTERM] {
        let slow = server.ready_pid("echo", "slow.1");
        let ask = |action: &str| {
            let target = format!("/applications/echo/{action}");
            server.request("POST", &target).send(&server.public())
        };
        ask("stop").expect(202);
        ask("start").expect(202);
        assert!(is_alive(slow), "it still stops");
        send_signal(server.pid(), ended);
        server.wait_for_death();
        server.start_again();
        let again = server.ready_pid("echo", "slow.1");
        assert!(again != slow && !is_alive(slow));
        server.visit("/echo/").expect(200);
    }
}
