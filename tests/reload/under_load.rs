//! No request fails, and tunnels live to the end of the drain.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{program, reload, status, tunnel};
use crate::support::command::BINARY;
use crate::support::fixture::{document, web_repo};
use crate::support::setup::{Setup, install};
use crate::support::wait::{SOON, eventually};

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

#[test]
fn a_tunnel_that_is_cut_and_comes_again_at_once_finds_the_next_server() {
    let setup = Setup::new()
        .with_own_program()
        .flag("--timeouts-drain", "2s");
    let server = setup.start();
    server.deploy(&document("echo", &web_repo("1")));
    let (mut cut, stays) = (tunnel(&server), tunnel(&server));
    let mut again = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&server));
        assert_eq!(cut.read(&mut [0; 16]).unwrap(), 0);
        // The other one does not close its side: the server that goes waits for it.
        let again = tunnel(&server);
        reloading.join().unwrap().success();
        again
    });
    again.write_all(b"x").unwrap();
    again.read_exact(&mut [0]).unwrap();
    drop(stays);
}
