//! The server is replaced in place: `procserver reload`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::command::{BINARY, Finished, finish, procserver};
use crate::support::fixture::{document, web_repo};
use crate::support::machine::{is_alive, is_root, send_signal, skip};
use crate::support::server::Server;
use crate::support::setup::{Setup, install};
use crate::support::wait::{SOON, eventually};
use crate::tls;

fn reload(server: &Server) -> Finished {
    let mut command = procserver();
    let socket = format!("unix:{}", server.socket().display());
    finish(command.args(["reload", "--server", &socket]))
}

fn program(server: &Server) -> PathBuf {
    server.directory().join("procserver")
}

/// Installs a script in place of the program.
fn install_script(server: &Server, script: &str) {
    let path = server.directory().join("script");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    install(&path, &program(server));
}

fn status(server: &Server) -> Value {
    server.get("/-/reload").expect(200).json()
}

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
    std::fs::write(program(&server), "nothing that runs").unwrap();
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

/// A client under load: how many were answered, what failed, and the longest that one waited.
#[derive(Default)]
struct Tally {
    answered: usize,
    failed: Vec<String>,
    longest: Duration,
}

/// What a client does with its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connections {
    /// It has the next request on the same one, as long as the server keeps it.
    Kept,
    /// It opens one for each request.
    New,
}

fn load(address: SocketAddr, kind: Connections, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while !over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        match exchange(address, &mut connection, kind) {
            Ok(()) => tally.answered += 1,
            Err(error) => tally
                .failed
                .push(format!("{error} after {:?}", begun.elapsed())),
        }
        tally.longest = tally.longest.max(begun.elapsed());
    }
    tally
}

/// One request. A connection that the server has said it closes is not used again.
fn exchange(
    address: SocketAddr,
    connection: &mut Option<BufReader<TcpStream>>,
    kind: Connections,
) -> std::io::Result<()> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(address)?),
    };
    let closes = kind == Connections::New;
    let option = if closes { "Connection: close\r\n" } else { "" };
    let request = format!("GET /echo/ HTTP/1.1\r\nHost: a\r\n{option}\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length, mut is_last) = (String::new(), 0, false);
    stream.read_line(&mut status)?;
    if !status.starts_with("HTTP/1.1 200") {
        return Err(std::io::Error::other(format!("{status:?}")));
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("connection", value)) => is_last = value == "close",
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    if !is_last && !closes {
        *connection = Some(stream);
    }
    Ok(())
}

/// How often the server is replaced under load.
fn rounds() -> u64 {
    let rounds = std::env::var("PROCSERVER_TEST_RELOADS").ok();
    rounds.map_or(3, |text| text.parse().unwrap())
}

#[test]
fn no_request_fails_while_the_server_is_replaced_again_and_again() {
    let setup = Setup::new().with_own_program();
    let server = setup.flag("--timeouts-drain", "2s").start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    let (over, address) = (AtomicBool::new(false), server.address());
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let clients = (0..64).map(|number| {
            let over = &over;
            let kind = [Connections::Kept, Connections::New][number % 2];
            scope.spawn(move || load(address, kind, over))
        });
        let clients: Vec<_> = clients.collect();
        let mut longest = Duration::ZERO;
        for _ in 0..rounds() {
            install(BINARY.as_ref(), &program(&server));
            let tunnels: Vec<TcpStream> = (0..100).map(|_| tunnel(&server)).collect();
            let begun = Instant::now();
            let finished = reload(&server);
            for mut tunnel in tunnels {
                assert_eq!(
                    tunnel.read(&mut [0; 16]).unwrap(),
                    0,
                    "it ends in good order"
                );
            }
            longest = longest.max(begun.elapsed());
            if finished.code != Some(0) {
                over.store(true, Ordering::SeqCst);
                panic!("{finished:?}");
            }
        }
        over.store(true, Ordering::SeqCst);
        for client in clients {
            let tally = client.join().unwrap();
            all.answered += tally.answered;
            all.failed.extend(tally.failed);
            all.longest = all.longest.max(tally.longest);
        }
        tell(&format!(
            "{} reloads, at most {longest:?} each: {} requests answered, {} failed, the longest took {:?}",
            rounds(),
            all.answered,
            all.failed.len(),
            all.longest
        ));
    });
    assert_eq!(all.failed, Vec::<String>::new());
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert_eq!(status(&server)["reload"], rounds());
}

/// Says what was measured, past the harness.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn tunnels_live_until_the_time_to_drain_is_over() {
    const DRAIN: Duration = Duration::from_secs(3);
    let setup = Setup::new()
        .with_own_program()
        .flag("--timeouts-drain", "3s");
    let server = setup.start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let mut tunnels: Vec<TcpStream> = (0..100).map(|_| tunnel(&server)).collect();
    let begun = Instant::now();
    let reloading = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&server));
        // All of them work, and new clients are served, while the server waits for them.
        eventually("it waits", SOON, || {
            (status(&server)["waits_for"][0] == "requests and tunnels").then_some(())
        });
        while begun.elapsed() < DRAIN - Duration::from_secs(1) {
            for tunnel in &mut tunnels {
                tunnel.write_all(b"x").unwrap();
                tunnel.read_exact(&mut [0]).unwrap();
            }
            server.visit("/echo/").expect(200);
        }
        // Nothing is lost on their way: each ends in good order, and not before its time.
        for tunnel in &mut tunnels {
            assert_eq!(tunnel.read(&mut [0; 16]).unwrap(), 0);
        }
        assert!(begun.elapsed() >= DRAIN, "{:?}", begun.elapsed());
        reloading.join().unwrap()
    });
    reloading.success();
    assert!(
        begun.elapsed() < DRAIN + Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let mut again = tunnel(&server);
    again.write_all(b"x").unwrap();
    again.read_exact(&mut [0]).unwrap();
}

fn tunnel(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = "GET /echo/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
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

#[test]
fn no_request_by_tls_fails_be_it_http_1_or_2() {
    let mut setup = Setup::new().with_own_program();
    let directory = setup.directory().to_owned();
    let trusted = tls::certificate(&directory, "a", "a.test");
    let port = setup.spare_port();
    setup.set_flag("--tls-listen", &format!("127.0.0.1:{port}"));
    setup.set_flag("--tls-certificate", &tls::pair(&directory, "a"));
    let server = setup.start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let over = AtomicBool::new(false);
    let config = tls::trusting(&[trusted]);
    let failed = std::thread::scope(|scope| {
        let clients = (0..4).map(|number| {
            let (over, mut config) = (&over, rustls::ClientConfig::clone(&config));
            scope.spawn(move || match number % 2 {
                0 => by_http1(port, &Arc::new(config), over),
                _ => {
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_all().build().unwrap();
                    runtime.block_on(by_http2(port, Arc::new(config), over))
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let reloaded: Vec<_> = (0..3).map(|_| reload(&server)).collect();
        over.store(true, Ordering::SeqCst);
        let failed = clients.into_iter().flat_map(|client| {
            let (answered, failed) = client.join().unwrap();
            assert!(answered > 20, "{answered}");
            failed
        });
        let failed: Vec<String> = failed.collect();
        assert!(reloaded.iter().all(|r| r.code == Some(0)), "{reloaded:?}");
        failed
    });
    assert_eq!(failed, Vec::<String>::new());
}

fn by_http1(
    port: u16,
    config: &Arc<rustls::ClientConfig>,
    over: &AtomicBool,
) -> (usize, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        let asked = tls::connect_at(port, config, "a.test");
        match asked.and_then(|mut stream| tls::exchange(&mut stream, tls::LAST)) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => answered += 1,
            other => failed.push(format!("{other:?}")),
        }
    }
    (answered, failed)
}

/// A connection that the server gives up in good order is followed by another one (RFC 9113 §6.8).
async fn by_http2(
    port: u16,
    config: Arc<rustls::ClientConfig>,
    over: &AtomicBool,
) -> (usize, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    let connector = tokio_rustls::TlsConnector::from(config);
    while !over.load(Ordering::SeqCst) {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
        let stream = match connector.connect(name, stream).await {
            Ok(stream) => stream,
            Err(error) => {
                failed.push(format!("handshake: {error}"));
                continue;
            }
        };
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        while !over.load(Ordering::SeqCst) {
            let Ok(mut ready) = send.clone().ready().await else {
                break;
            };
            let request = http::Request::get("https://a.test/echo/").body(()).unwrap();
            let Ok((response, _)) = ready.send_request(request, true) else {
                break;
            };
            match response.await {
                Ok(response) if response.status() == 200 => {
                    let mut body = response.into_body();
                    while let Some(piece) = body.data().await {
                        match piece {
                            Ok(piece) => drop(body.flow_control().release_capacity(piece.len())),
                            Err(error) => failed.push(format!("body: {error}")),
                        }
                    }
                    answered += 1;
                }
                Err(error)
                    if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) =>
                {
                    break;
                }
                other => {
                    failed.push(format!("{other:?}"));
                    break;
                }
            }
        }
    }
    (answered, failed)
}
