//! What was accepted (202) is done by the next server, if this one ends before.

use std::fs::File;
use std::io::Write;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use super::deploy;
use crate::support::machine::{is_alive, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

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
        // A server that ends before that finds a process which nobody has told to stop: it goes on with this one.
        eventually("it stops", SOON, || {
            let status = server.status("echo");
            let mut processes = status["processes"].as_array().unwrap().iter();
            processes.find(|p| p["id"] == "slow.1" && p["state"] == "stopping")?;
            Some(())
        });
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

/// Asks for something, and kills the server while it writes that down; whether it was accepted.
fn is_accepted_by_a_server_that_dies(server: &mut Server, method: &str, target: &str) -> bool {
    // Who reads a FIFO waits for who writes to it.
    let failpoint = server.failpoint("before echo state.json");
    nix::unistd::mkfifo(&failpoint, Mode::S_IRWXU).unwrap();
    let (request, public) = (server.request(method, target), server.public());
    let asked = std::thread::spawn(move || request.try_send(&public));
    let mut writes = File::options().write(true).open(&failpoint).unwrap();
    // An answer that does not wait for the disk comes before this one.
    server.get("/applications").expect(200);
    writes.write_all(b"kill").unwrap();
    drop(writes);
    server.wait_for_death();
    server.start_again();
    let answer = asked.join().unwrap();
    answer.is_ok_and(|answer| answer.status == 202)
}

#[test]
fn nothing_is_accepted_that_a_killed_server_forgets() {
    if !cfg!(debug_assertions) {
        return skip("accepted", "there are no failpoints in this build");
    }
    let mut server = Server::start();
    let _repo = deploy(&server, "echo", "");
    if is_accepted_by_a_server_that_dies(&mut server, "POST", "/applications/echo/stop") {
        assert_eq!(server.status("echo")["state"], "stopped");
    }
    server.act("echo", "stop");
    if is_accepted_by_a_server_that_dies(&mut server, "POST", "/applications/echo/start") {
        server.ready_pid("echo", "web.1");
    }
    server.act("echo", "start");
    if is_accepted_by_a_server_that_dies(&mut server, "DELETE", "/applications/echo") {
        eventually("its files are gone", SOON, || {
            let files = server.directory().join("apps/echo");
            (!files.exists()).then_some(())
        });
    }
}
