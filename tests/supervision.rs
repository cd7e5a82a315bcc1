//! Processes that end, and what they leave behind.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request};
use crate::support::machine::{is_alive, is_root, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Makes the app's process do something after which it gives no answer.
fn provoke(server: &Server, app: &str, path: &str) {
    let port = server.process(app, "web.1")["port"]
        .as_u64()
        .expect("a web process has a port");
    let peer = Peer::Tcp(([127, 0, 0, 1], u16::try_from(port).unwrap()).into());
    assert!(
        Request::get(path).try_send(&peer).is_err(),
        "{path} answered"
    );
}

#[test]
fn a_process_killed_by_a_signal_is_restarted_and_the_signal_is_shown() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    send_signal(pid, Signal::SIGKILL);
    let process = eventually("another process is ready", SOON, || {
        let process = server.process("echo", "web.1");
        (process["state"] == "ready" && process["pid"] != pid).then_some(process)
    });
    assert_eq!(process["last_exit"]["signal"], 9, "{process}");
    assert_eq!(process["restarts"], 1, "{process}");
    server.visit("/echo/").expect(200);
}

#[test]
fn a_web_process_that_exits_0_is_restarted_like_after_a_crash() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    provoke(&server, "echo", "/exit?code=0");
    let process = eventually("another process is ready", SOON, || {
        let process = server.process("echo", "web.1");
        (process["state"] == "ready" && process["pid"] != pid).then_some(process)
    });
    assert_eq!(process["last_exit"]["code"], 0, "{process}");
}

#[test]
fn nothing_an_app_started_survives_its_stop() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let answer = server.visit("/echo/spawn").expect(200).json();
    let children: Vec<i32> = serde_json::from_value(answer["children"].clone()).unwrap();
    assert!(
        children.iter().all(|pid| is_alive(*pid)),
        "{children:?} run"
    );
    server.act("echo", "stop").expect(200);
    let left: Vec<i32> = children.into_iter().filter(|pid| is_alive(*pid)).collect();
    assert!(left.is_empty(), "they survived: {left:?}");
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_after_its_grace() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[(
        "Procfile",
        "web: exec python3 web.py\nstubborn: trap '' TERM; while :; do sleep 1; done\n",
    )]);
    server.deploy(&with(
        document("echo", &repo),
        json!({ "stop": { "timeout": "1s" } }),
    ));
    let pid = server.ready_pid("echo", "stubborn.1");
    server.act("echo", "stop").expect(200);
    assert!(!is_alive(pid));
}

#[test]
fn a_crash_loop_is_shown_with_the_last_lines_and_a_restart_begins_anew() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    provoke(&server, "echo", "/crash");
    // Five crashes, with delays of 0, 1, 2 and 4 seconds between them.
    let status = eventually("the crash loop is shown", Duration::from_secs(40), || {
        let status = server.status("echo");
        (status["state"] == "crashlooping").then_some(status)
    });
    let process = &status["processes"][0];
    assert_eq!(process["last_exit"]["code"], 3, "{status}");
    assert!(
        process["last_lines"]
            .to_string()
            .contains("dying on purpose"),
        "{status}"
    );
    server.visit("/echo/").expect(503);

    std::fs::remove_file(server.directory().join("apps/echo/storage/crash")).unwrap();
    server.act("echo", "restart").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
    server.visit("/echo/").expect(200);
}

#[test]
fn a_command_that_is_not_found_is_127_and_named() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[("Procfile", "web: ./no-such-command\n")]);
    let impatient = json!({ "health_check": { "interval": "100ms", "boot_timeout": "3s" } });
    let answer = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("echo", &repo), impatient),
    );
    let failure = answer.expect(422).json()["failure"].to_string();
    assert!(
        failure.contains("127") && failure.contains("no-such-command"),
        "{failure}"
    );
}

#[test]
fn apps_run_as_their_own_user_without_the_groups_of_root() {
    if !is_root() {
        return skip("apps run as their own user", "only root can switch users");
    }
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "user": "www-data", "group": "www-data" }),
    ));
    let seen = server.visit("/echo/").expect(200).json();
    let account = nix::unistd::User::from_name("www-data")
        .unwrap()
        .expect("Debian has www-data");
    assert_eq!(seen["uid"], account.uid.as_raw(), "{seen}");
    let groups: Vec<u32> = serde_json::from_value(seen["groups"].clone()).unwrap();
    assert!(!groups.contains(&0), "{groups:?}");
}

#[test]
fn an_app_runs_as_root_only_where_the_settings_allow_it() {
    if !is_root() {
        return skip("an app runs as root", "only root can");
    }
    let (server, repo) = (
        Setup::new().flag("--allow-root-apps", "true").start(),
        web_repo("1"),
    );
    server.deploy(&with(document("echo", &repo), json!({ "user": "root" })));
    assert_eq!(server.visit("/echo/").expect(200).json()["uid"], 0);
}

#[test]
fn the_formation_is_as_scaled_and_every_process_has_a_port_of_its_own() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[(
        "Procfile",
        "web: exec python3 web.py\nclock: exec sleep 600\nidle: exec sleep 600\n",
    )]);
    server.deploy(&with(
        document("echo", &repo),
        json!({ "scale": { "web": 3, "idle": 0 } }),
    ));
    let status = server.status("echo");
    let processes = status["processes"].as_array().unwrap();
    let mut ids: Vec<&str> = processes.iter().filter_map(|p| p["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["clock.1", "web.1", "web.2", "web.3"], "{status}");
    let mut ports: Vec<u64> = processes
        .iter()
        .filter_map(|p| p["port"].as_u64())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4, "{status}");
}
