//! What goes on when the server is replaced: apps, their exits, descriptors, systemd, containers.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::{program, reload, status};
use crate::support::command::BINARY;
use crate::support::fixture::{document, web_repo};
use crate::support::machine::{is_alive, is_root, send_signal, skip};
use crate::support::setup::{Setup, install};
use crate::support::wait::{SOON, eventually};

#[test]
fn the_server_is_replaced_and_its_apps_run_on() {
    let server = Setup::new().with_own_program().start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    for reloads in 1..=3 {
        install(BINARY.as_ref(), &program(&server));
        reload(&server).success();
        assert_eq!(status(&server)["reload"], reloads);
        assert_eq!(status(&server)["pid"], server.pid());
        server.visit("/echo/").expect(200);
        assert_eq!(server.ready_pid("echo", "web.1"), pid);
    }
    let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = parent.rsplit(')').next().unwrap().split_whitespace().nth(1);
    assert_eq!(parent, Some(server.pid().to_string().as_str()));
    // It is owned, not only watched.
    server.act("echo", "stop").expect(200);
}

#[test]
fn an_app_that_exits_while_the_server_is_replaced_is_told_once_with_its_code() {
    let server = Setup::new().with_own_program().start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    for code in 40..43 {
        let pid = server.ready_pid("echo", "web.1");
        // It ends while the next server is at its start: the file is gone once that has begun.
        let held = server.failpoint("before the tree");
        let until = server.directory().join("go on");
        std::fs::write(&held, format!("wait {}", until.display())).unwrap();
        std::thread::scope(|scope| {
            let reloading = scope.spawn(|| reload(&server));
            eventually("the next server begins", SOON, || {
                (!held.exists()).then_some(())
            });
            let port = port_of(pid);
            let end = format!("GET /exit?code={code} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut direct = TcpStream::connect(("127.0.0.1", port)).unwrap();
            direct.write_all(end.as_bytes()).unwrap();
            let _ended = direct.read(&mut [0]);
            eventually("it has ended", SOON, || (!is_alive(pid)).then_some(()));
            std::fs::write(&until, "").unwrap();
            reloading.join().unwrap().success();
        });
        std::fs::remove_file(&until).unwrap();
        assert_ne!(server.ready_pid("echo", "web.1"), pid);
        let log = server.log();
        let told = log.lines().filter(|line| line.contains("process.exited"));
        let told: Vec<_> = told
            .filter(|line| line.contains(&format!("pid={pid} ")))
            .collect();
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains(&format!("\"code\":{code}")), "{told:?}");
    }
}

/// The port that a process was told.
fn port_of(pid: i32) -> u16 {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let port = environment
        .split('\0')
        .find_map(|v| v.strip_prefix("PORT="));
    port.unwrap().parse().unwrap()
}

#[test]
fn no_zombie_and_no_descriptor_is_left_behind() {
    let server = Setup::new().with_own_program().start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let open = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
            .unwrap()
            .count()
    };
    reload(&server).success();
    let before = open();
    for _ in 0..3 {
        reload(&server).success();
    }
    eventually("no more descriptors than before", SOON, || {
        (open() <= before + 2).then_some(())
    });
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    eventually("no zombie", SOON, || {
        let children = std::fs::read_to_string(&children).unwrap();
        let mut all = children.split_whitespace();
        all.all(|child| is_alive(child.parse().unwrap()))
            .then_some(())
    });
    // An app has none of the server's: its own files, and its FIFOs.
    let pid = server.ready_pid("echo", "web.1");
    server.act("echo", "restart").expect(200);
    let fresh = server.ready_pid("echo", "web.1");
    assert_ne!(fresh, pid);
    let links = std::fs::read_dir(format!("/proc/{fresh}/fd"))
        .unwrap()
        .flatten();
    let links: Vec<_> = links
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .collect();
    assert!(
        !links.iter().any(|link| link.ends_with("procserver")),
        "{links:?}"
    );
}

#[test]
fn systemd_is_told_and_hands_over_the_same_sockets_after_a_crash() {
    let mut server = Setup::new().with_own_program().for_systemd().start();
    let address = server.address();
    reload(&server).success();
    let messages = server.service_manager().messages();
    let at = |text: &str| messages.iter().rposition(|message| message.contains(text));
    let reloading = at("RELOADING=1").expect("it is told");
    assert!(
        messages[reloading].contains("MONOTONIC_USEC="),
        "{messages:?}"
    );
    assert!(at("READY=1") > Some(reloading), "{messages:?}");
    let stored = messages
        .iter()
        .filter(|message| message.contains("FDSTORE=1"))
        .count();
    assert_eq!(stored, 2, "{messages:?}");
    server.kill();
    server.start_again();
    assert_eq!(server.address(), address);
    assert_eq!(status(&server)["state"], "none");
}

#[test]
fn below_the_first_process_of_a_container_it_is_replaced_as_anywhere() {
    if !is_root() {
        return skip("a pid namespace", "only root can make one");
    }
    let words = "unshare --pid --fork --kill-child --mount-proc";
    let words: Vec<&str> = words.split(' ').collect();
    let mut server = Setup::new().with_own_program().launched_by(&words).start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    let own = status(&server)["pid"].clone();
    install(BINARY.as_ref(), &program(&server));
    reload(&server).success();
    assert_eq!(status(&server)["state"], "done");
    assert_eq!(
        (
            status(&server)["pid"].clone(),
            server.ready_pid("echo", "web.1")
        ),
        (own, pid)
    );
    server.visit("/echo/").expect(200);
    // What unshare has started is told to end: unshare itself hands no signal on.
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    let first = std::fs::read_to_string(children).unwrap();
    send_signal(first.trim().parse().unwrap(), Signal::SIGTERM);
    assert!(server.ended().success());
}
