//! A panic in each kind of actor: a fresh one takes its place; no OS process and no other app notices.

use nix::sys::signal::Signal;

use super::{deploy, lines, port_of, print};
use crate::support::fixture::{document, web_files, web_repo};
use crate::support::http::Request;
use crate::support::machine::{is_alive, processes_of, send_signal, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

const IDS: [(&str, &str); 3] = [("echo", "web.1"), ("echo", "worker.1"), ("other", "web.1")];

/// Two apps, one of them with a process that is not routed.
fn server_with_two_apps() -> (Server, [Repo; 2]) {
    let server = Server::start();
    let echo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let other = deploy(&server, "other", "");
    (server, [echo, other])
}

fn pids(server: &Server) -> [i32; 3] {
    IDS.map(|(app, id)| server.ready_pid(app, id))
}

/// Lets an actor of `kind` panic, does what wakes it, and expects all to be as before.
#[track_caller]
fn panics_unnoticed(kind: &str, wake: impl Fn(&Server)) {
    if !cfg!(debug_assertions) {
        return skip(kind, "there are no failpoints in this build");
    }
    let (server, _repos) = server_with_two_apps();
    let before = pids(&server);
    server.arm(kind);
    eventually("it panics", SOON, || {
        wake(&server);
        server.has_fired(kind).then_some(())
    });
    for app in ["echo", "other"] {
        eventually("the app serves", SOON, || {
            (server.try_visit(&format!("/{app}/"))? == 200).then_some(())
        });
    }
    assert_eq!(pids(&server), before, "the same processes");
    eventually("it is reported", SOON, || {
        server
            .log()
            .contains(&format!("failpoint {kind}"))
            .then_some(())
    });
    assert_is_in_charge(&server, before);
}

/// Fresh actors do everything that the old ones did.
#[track_caller]
fn assert_is_in_charge(server: &Server, before: [i32; 3]) {
    print(server, "echo", "afterwards");
    eventually("what is printed is in the log", SOON, || {
        let log = lines(server, "echo", "stdout");
        log.contains(&"afterwards".to_owned()).then_some(())
    });
    send_signal(before[1], Signal::SIGKILL);
    eventually("what ends is restarted", SOON, || {
        let worker = server.process("echo", "worker.1");
        (worker["state"] == "ready" && worker["pid"] != before[1]).then_some(())
    });
    server.act("echo", "redeploy").expect(200);
    for app in ["echo", "other"] {
        server.act(app, "stop").expect(200);
    }
    assert_eq!(processes_of(server.directory()).len(), 1, "nothing is left");
}

fn ignore_answer(server: &Server, target: &str) {
    // The actor that is to answer panics: any answer will do, or none.
    let _ = server.request("GET", target).try_send(&server.public());
}

#[test]
fn a_panic_of_an_app_supervisor() {
    panics_unnoticed("App", |server| {
        ignore_answer(server, "/applications/echo/status");
    });
}

#[test]
fn a_panic_of_the_supervisor_of_all_apps() {
    panics_unnoticed("Apps", |server| ignore_answer(server, "/applications"));
}

#[test]
fn a_panic_of_a_log() {
    panics_unnoticed("Log", |server| print(server, "echo", "a-line"));
}

#[test]
fn a_panic_of_the_access_log() {
    panics_unnoticed("AccessLog", |server| {
        let _ = server.try_visit("/other/");
    });
}

#[test]
fn the_access_log_goes_on_after_panics_and_tells_what_was_lost() {
    if !cfg!(debug_assertions) {
        return skip("the access log", "there are no failpoints in this build");
    }
    let server = Server::start();
    let path = server.directory().join("logs/access.log");
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    for turn in 0..2 {
        server.arm("AccessLog");
        eventually("it panics", SOON, || {
            server.try_visit("/healthz");
            server.has_fired("AccessLog").then_some(())
        });
        let id = format!("after-{turn}");
        let request = Request::get("/healthz").header("X-Request-ID", &id);
        request.send(&server.public()).expect(200);
        eventually("a fresh one writes", SOON, || {
            text().contains(&id).then_some(())
        });
        let told = text().matches("\"lost\":").count();
        assert_eq!(told, turn + 1, "{}", text());
    }
    let reported = server.log().matches("offender=AccessLog").count();
    assert_eq!(reported, 2, "{}", server.log());
}

#[test]
fn a_panic_of_a_process_actor() {
    panics_unnoticed("Process", |server| {
        // A fresh log makes itself known to the processes of its app.
        server.arm("Log");
        print(server, "echo", "a-line");
        eventually("the log panics", SOON, || {
            server.has_fired("Log").then_some(())
        });
    });
}

#[test]
fn a_panic_of_a_routing_replica() {
    panics_unnoticed("Replica", |server| {
        let _ = server.try_visit("/other/");
    });
}

#[test]
fn a_panic_of_the_router() {
    panics_unnoticed("Router", add_and_remove_an_app);
}

#[test]
fn a_panic_of_the_front_while_it_starts_and_while_it_stops() {
    if !cfg!(debug_assertions) {
        return skip("a front", "there are no failpoints in this build");
    }
    let setup = Setup::new();
    setup.arm("Front");
    let mut server = setup.start();
    let (_repo, fired) = (deploy(&server, "echo", ""), server.has_fired("Front"));
    assert!(fired);
    let pid = server.ready_pid("echo", "web.1");
    server.visit("/echo/").expect(200);
    server.arm("Front");
    assert!(server.terminate().success(), "it ends all the same");
    assert!(server.has_fired("Front") && !is_alive(pid));
}

/// It changes the routing table twice.
fn add_and_remove_an_app(server: &Server) {
    let repo = web_repo("1");
    server.deploy(&document("third", &repo));
    let delete = server.request("DELETE", "/applications/third");
    let delete = delete.header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
}

#[test]
fn a_panic_of_an_installer_fails_its_deploy_and_nothing_else() {
    if !cfg!(debug_assertions) {
        return skip("an installer", "there are no failpoints in this build");
    }
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    repo.commit(&web_files("2"));
    server.arm("Installer");
    let failure = server.act("echo", "redeploy").expect(422).json()["failure"].clone();
    assert!(failure.to_string().contains("installer"), "{failure}");
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
}

#[test]
fn a_process_actor_that_panics_while_it_starts_leaves_one_process_in_its_slot() {
    if !cfg!(debug_assertions) {
        return skip(
            "a starting process",
            "there are no failpoints in this build",
        );
    }
    let server = Server::start();
    let _repo = deploy(&server, "echo", "worker: exec sleep 600\n");
    for _ in 0..3 {
        server.arm("Process");
        server.act("echo", "restart").expect(200);
        assert!(server.has_fired("Process"));
        let mut expected = ["web.1", "worker.1"].map(|id| server.ready_pid("echo", id));
        expected.sort_unstable();
        let daemon = server.pid();
        eventually("there is one each", SOON, || {
            let mut running = processes_of(server.directory());
            running.retain(|pid| *pid != daemon);
            running.sort_unstable();
            (running == expected).then_some(())
        });
    }
}

#[test]
fn a_process_actor_that_panics_while_it_stops_leaves_nothing() {
    if !cfg!(debug_assertions) {
        return skip(
            "a stopping process",
            "there are no failpoints in this build",
        );
    }
    let server = Server::start();
    let _repo = deploy(
        &server,
        "echo",
        "slow: trap '' TERM; while :; do sleep 0.1; done\n",
    );
    let stop = server.request("POST", "/applications/echo/stop");
    stop.send(&server.public()).expect(202);
    server.arm("Process");
    server.act("echo", "stop").expect(200);
    assert!(server.has_fired("Process"));
    assert_eq!(processes_of(server.directory()).len(), 1);
    // The log has let go of its FIFOs, which are removed.
    eventually("nothing that is removed is held open", SOON, || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
        let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
        let mut held = open.flatten().filter_map(target);
        let is_fifo = |path: std::path::PathBuf| path.ends_with("stdout (deleted)");
        (!held.any(is_fifo)).then_some(())
    });
}

#[test]
fn when_even_the_root_supervisor_panics_the_apps_run_on_and_the_next_daemon_has_them() {
    if !cfg!(debug_assertions) {
        return skip("the root", "there are no failpoints in this build");
    }
    let (mut server, _repos) = server_with_two_apps();
    let before = pids(&server);
    server.arm("Root");
    server.arm("Apps");
    ignore_answer(&server, "/applications");
    assert_eq!(server.ended().code(), Some(1), "systemd starts it again");
    assert!(before.iter().all(|pid| is_alive(*pid)));
    server.start_again();
    assert_eq!(pids(&server), before);
    server.visit("/echo/").expect(200);
}

#[test]
fn an_actor_that_keeps_panicking_takes_its_supervisor_with_it_and_no_process() {
    if !cfg!(debug_assertions) {
        return skip("a log", "there are no failpoints in this build");
    }
    let (server, _repos) = server_with_two_apps();
    let before = pids(&server);
    // More than five times within a minute, which is the most that an app restarts its actors.
    let echo = port_of(&server, "echo", "web.1");
    for _ in 0..7 {
        server.arm("Log");
        eventually("the log panics", SOON, || {
            Request::get("/print?text=a-line").send(&echo).expect(200);
            server.has_fired("Log").then_some(())
        });
    }
    eventually("the app's supervisor was replaced", SOON, || {
        let log = server.log();
        let mut ends = log.lines().filter(|line| line.contains("actor.ended"));
        ends.any(|line| line.contains("more than 5 restarts"))
            .then_some(())
    });
    assert_eq!(pids(&server), before);
    assert_is_in_charge(&server, before);
}

#[test]
fn two_panics_at_once_are_two_fresh_actors() {
    if !cfg!(debug_assertions) {
        return skip("two panics", "there are no failpoints in this build");
    }
    let (server, _repos) = server_with_two_apps();
    let before = pids(&server);
    let other = port_of(&server, "other", "web.1");
    for kind in ["App", "Log"] {
        server.arm(kind);
    }
    Request::get("/print?text=a-line").send(&other).expect(200);
    ignore_answer(&server, "/applications/echo/status");
    eventually("both panic", SOON, || {
        (server.has_fired("App") && server.has_fired("Log")).then_some(())
    });
    assert_eq!(pids(&server), before);
    assert_is_in_charge(&server, before);
}
