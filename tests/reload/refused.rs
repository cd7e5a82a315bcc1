//! What cannot serve: another program, wrong settings, newer data, a panic after the trial.

use std::net::TcpListener;

use super::{install_script, program, reload, status, tunnel};
use crate::support::command::{BINARY, finish, procserver};
use crate::support::fixture::{document, web_repo};
use crate::support::server::Server;
use crate::support::setup::{Setup, install, write_script};
use crate::support::wait::{SOON, eventually};

#[test]
fn a_program_that_could_not_serve_changes_nothing() {
    let mut server = Setup::new().with_own_program().start();
    let refused = |server: &Server, why: &str| {
        let finished = reload(server);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(why), "{finished:?}");
        assert_eq!(status(server)["state"], "failed");
        assert!(server.visit("/healthz").status == 200);
    };
    install_script(&server, "echo 'error: no such library' >&2; exit 1");
    refused(&server, "no such library");
    install_script(&server, "exit 0");
    refused(&server, "it is no procserver");
    install_script(&server, "kill -SEGV $$");
    refused(&server, "signal: 11");
    write_script(&program(&server), "nothing that runs");
    refused(&server, "Exec format error");
    std::fs::remove_file(program(&server)).unwrap();
    refused(&server, "No such file");
    install(BINARY.as_ref(), &program(&server));
    // Settings that have become wrong since, and a data directory of a newer server.
    let version = server.directory().join("version");
    let own = std::fs::read(&version).unwrap();
    std::fs::write(&version, r#"{"state": 99, "procserver": "7.0"}"#).unwrap();
    refused(&server, "of procserver 7.0 or newer");
    std::fs::write(&version, own).unwrap();
    reload(&server).success();
    assert_eq!(status(&server)["state"], "done");
    server.terminate();
    std::fs::write(&version, r#"{"state": 99, "procserver": "7.0"}"#).unwrap();
    let mut start = procserver();
    start.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    let refused = finish(start.arg(server.directory()));
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("of procserver 7.0 or newer"),
        "{refused:?}"
    );
    std::fs::remove_file(&version).unwrap();
    server.start_again();
}

/// As the former server would read the same settings, nobody could come back once they are wrong.
#[test]
fn settings_that_cannot_be_served_change_nothing() {
    let plain = "listen = [\"127.0.0.1:0\"]\n";
    let server = Setup::new().with_settings(plain).start();
    let settings = |text: &str| {
        std::fs::write(server.directory().join("procserver.toml"), text).unwrap();
    };
    let refused = |why: &str| {
        let finished = reload(&server);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(why), "{finished:?}");
        assert_eq!(server.visit("/healthz").status, 200);
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    settings(&format!("listen = [\"127.0.0.1:0\", \"{address}\"]\n"));
    refused("Address already in use");
    drop(taken);

    // They are well when they are tried, and wrong when the others have been waited for.
    settings(plain);
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let busy = tunnel(&server);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&server));
        eventually("it waits", SOON, || {
            (status(&server)["waits_for"][0] == "requests and tunnels").then_some(())
        });
        settings("listen = = 1\n");
        drop(busy);
        let finished = reloading.join().unwrap();
        assert_eq!(finished.code, Some(1), "{finished:?}");
    });
    assert_eq!(status(&server)["state"], "failed");
    assert_eq!(server.visit("/echo/").status, 200);
    settings(plain);
    reload(&server).success();
}

#[test]
fn a_program_that_fails_once_it_has_taken_over_gives_way_to_the_former_one() {
    let server = Setup::new().with_own_program().start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    install(BINARY.as_ref(), &program(&server));
    for _ in 0..2 {
        server.arm("before the tree");
        let finished = reload(&server);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(
            finished.stderr.contains("the former server goes on"),
            "{finished:?}"
        );
        assert!(finished.stderr.contains("it panicked"), "{finished:?}");
        assert_eq!(server.ready_pid("echo", "web.1"), pid);
        server.visit("/echo/").expect(200);
        let warnings = server.get("/-/status").expect(200).json()["warnings"].to_string();
        assert!(warnings.contains("the last reload failed"), "{warnings}");
    }
    // It has come back from a file that is gone, and goes forward again.
    reload(&server).success();
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    eventually("its name is its own", SOON, || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", server.pid())).ok()?;
        (name.trim() == "procserver").then_some(())
    });
}
