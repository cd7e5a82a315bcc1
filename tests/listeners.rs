//! Listening sockets outlive the server: clients wait for the next one, and none is refused.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::json;

use crate::support::fixture::{document, web_repo};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Clients that connect again and again, and count.
struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(address: SocketAddr, socket: PathBuf) -> Self {
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..8).map(|number| {
            let (over, answered, socket) = (over.clone(), answered.clone(), socket.clone());
            std::thread::spawn(move || {
                let mut refused = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let asked = match number % 2 {
                        0 => TcpStream::connect(address).map(ask),
                        _ => UnixStream::connect(&socket).map(ask),
                    };
                    match asked {
                        Ok(true) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        // The server was killed while it answered.
                        Ok(false) => {}
                        // The queue of the Unix socket is full.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) => refused.push(error.to_string()),
                    }
                }
                refused
            })
        });
        let threads = threads.collect();
        Self {
            over,
            answered,
            threads,
        }
    }

    /// Waits until many more were answered.
    #[track_caller]
    fn go_on(&self) {
        let before = self.answered.load(Ordering::SeqCst);
        eventually("clients are answered", SOON, || {
            (self.answered.load(Ordering::SeqCst) > before + 50).then_some(())
        });
    }

    /// Ends them; what was refused.
    fn refused(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        let all = self.threads.into_iter();
        all.flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn ask(mut stream: impl Read + Write) -> bool {
    let mut answer = Vec::new();
    let asked = stream
        .write_all(GET)
        .and_then(|()| stream.read_to_end(&mut answer));
    asked.is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

fn inode(server: &Server) -> u64 {
    std::fs::symlink_metadata(server.socket()).unwrap().ino()
}

#[test]
fn no_client_is_refused_while_a_killed_or_restarted_server_is_away() {
    let mut server = Setup::new().for_systemd().start();
    let (address, file) = (server.address(), inode(&server));
    let clients = Clients::start(address, server.socket());
    for is_killed in [true, false, true] {
        clients.go_on();
        match is_killed {
            true => server.kill(),
            false => drop(server.terminate()),
        }
        // They wait in the queue of a socket that no process of the server has.
        TcpStream::connect(address).unwrap();
        UnixStream::connect(server.socket()).unwrap();
        server.start_again();
        assert_eq!((server.address(), inode(&server)), (address, file));
    }
    clients.go_on();
    assert_eq!(clients.refused(), Vec::<String>::new());
    let kept = server.service_manager().messages();
    let kept = kept.iter().filter(|message| message.contains("FDSTORE=1"));
    assert_eq!(kept.count(), 2, "each socket is given away once");
    server.terminate();
    server.service_manager().release();
    let gone = TcpStream::connect(address).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
    server.start_again();
}

#[test]
fn a_socket_that_no_setting_names_any_more_is_closed() {
    let mut server = Setup::new().for_systemd().start();
    let before = server.address();
    let other = server.spare_port();
    server.set_flag(
        "--listen",
        Box::leak(format!("127.0.0.1:{other}").into_boxed_str()),
    );
    server.kill();
    server.start_again();
    assert_eq!(server.address().port(), other);
    server.service_manager().told("FDSTOREREMOVE=1");
    let closed = || {
        let gone = TcpStream::connect(before).err()?;
        (gone.kind() == ErrorKind::ConnectionRefused).then_some(())
    };
    eventually("the former address is closed", SOON, closed);
    let mut stored = server.service_manager().stored();
    stored.sort();
    let own = format!("listen-127.0.0.1.{other}");
    assert_eq!(stored, ["api".to_owned(), own]);
}

#[test]
fn the_port_of_an_application_is_kept_as_long_as_it_has_it() {
    let (mut server, repo) = (Setup::new().for_systemd().start(), web_repo("1"));
    let port = server.spare_port();
    let mut document = document("echo", &repo);
    document["port"] = json!(port);
    server.deploy(&document);
    let own = SocketAddr::from(([127, 0, 0, 1], port));
    server.kill();
    let mut early = TcpStream::connect(own).expect("it waits");
    early
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    server.start_again();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    document.as_object_mut().unwrap().remove("port");
    server
        .send_and_wait("PUT", "/applications/echo", &document)
        .expect(200);
    eventually("the port is closed", SOON, || TcpStream::connect(own).err());
    let name = format!("app-127.0.0.1.{port}");
    eventually("systemd forgets it", SOON, || {
        (!server.service_manager().stored().contains(&name)).then_some(())
    });
}

#[test]
fn a_socket_whose_file_was_replaced_is_made_again() {
    let mut server = Setup::new().for_systemd().start();
    server.kill();
    let (path, aside) = (server.socket(), server.directory().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    let stranger = std::os::unix::net::UnixListener::bind(&path).unwrap();
    server.start_again();
    drop(stranger);
    assert!(ask(UnixStream::connect(&path).unwrap()));
    // What systemd had is of no use, and it is told so before it gets the new one.
    eventually("systemd has the new one alone", SOON, || {
        let lost = UnixStream::connect(&aside).err()?;
        let stored = server.service_manager().stored().into_iter();
        let is_one = stored.filter(|name| name == "api").count() == 1;
        (is_one && lost.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    // Removed while it runs, it is made again, too, and that one is kept.
    let handed_over = |server: &Server| {
        let messages = server.service_manager().messages().into_iter();
        let is_ours = |line: &str| line == "FDNAME=api";
        let ours = messages.filter(|m| m.contains("FDSTORE=1") && m.lines().any(is_ours));
        ours.count()
    };
    let before = handed_over(&server);
    std::fs::remove_file(&path).unwrap();
    // Clients can connect a moment before systemd has it.
    eventually("it is made again", SOON, || {
        (handed_over(&server) > before).then_some(())
    });
    server.kill();
    UnixStream::connect(&path).expect("it is kept");
    server.start_again();
}

#[test]
fn the_watchdog_is_fed_until_a_worker_hangs_and_the_log_says_which() {
    let setup = Setup::new().variable("WATCHDOG_USEC", "1600000");
    let mut server = setup.flag("--workers", "2").for_systemd().start();
    let fed = |server: &Server| {
        let messages = server.service_manager().messages().into_iter();
        messages.filter(|m| m.contains("WATCHDOG=1")).count()
    };
    eventually("it is fed", SOON, || (fed(&server) > 3).then_some(()));
    std::fs::write(server.failpoint("front worker 2"), "hang").unwrap();
    eventually("the log says which", SOON, || {
        let log = server.log();
        log.contains("front worker 2 has not answered")
            .then_some(())
    });
    // Other worker threads go on, and nobody feeds it for them.
    assert!(!server.log().contains("the control thread has not"));
    let hungry = fed(&server);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(fed(&server), hungry);
    server.kill();
    server.start_again();
    eventually("it is fed again", SOON, || {
        (fed(&server) > hungry + 3).then_some(())
    });
}

#[test]
fn what_is_handed_over_and_is_no_listener_is_left_alone() {
    let mut server = Setup::new().for_systemd().start();
    server.kill();
    let file = std::fs::File::open("/dev/null").unwrap();
    server.service_manager().store("web", file.into());
    server.start_again();
    assert_eq!(server.visit("/healthz").status, 200);
    assert!(
        server.log().contains("is of no use here"),
        "{}",
        server.log()
    );
}
