//! Whether a process answers, and whether it is that process which does: a connection is verified to lead to the process
//! before anything is asked on it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

pub use super::health::Unready;
use super::listeners::Tables;
use super::owner::Owner;
use super::port_holder::Holder;
use super::probe::{ask, connect};
use super::socket::SocketDirectory;
use crate::document::config::HealthCheck;
use crate::router::address::Address;
use crate::router::socket_file::SocketFile;

/// How long a process that is not routed must have lived to be ready.
const ALIVE: Duration = Duration::from_secs(1);

/// How old a socket table may be to look for a process in it. Processes that get ready together share one reading.
const FRESH: Duration = Duration::from_millis(50);

/// Where a process is to answer, and who it is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(super) port: u16,
    /// Where its SOCKET is, which is preferred.
    pub(super) socket: Option<SocketDirectory>,
    /// The processes of which one must listen on the port.
    pub(super) owner: Owner,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    by: Evidence,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Evidence {
    /// The sockets that listen on the port, all of them its own.
    Listeners(BTreeSet<u64>),
    /// The inode of its socket, and when that was connected to.
    File(u64, Instant),
}

/// How many intervals pass between two connections to a Unix socket that has no path to be asked.
const SELDOM: u32 = 10;

/// The host of a check over a Unix socket.
const LOCAL: &str = "localhost";

/// Resolves when a process that is not routed counts as ready, if it still lives then.
pub(super) async fn alive() {
    sleep(ALIVE).await;
}

/// Checks a process that was ready before. With a path it sends a request; without one it looks whether the same socket
/// still listens, which costs the process nothing (it connects to a Unix socket now and then).
pub(super) async fn check_again(
    target: &Target,
    health: &HealthCheck,
    before: &Endpoint,
) -> Result<Endpoint, Unready> {
    let is_same = match (&before.address, &before.by) {
        (Address::Tcp(address), Evidence::Listeners(inodes)) => {
            let socket = target.socket.as_ref().and_then(open_socket);
            socket.is_none() && is_unchanged(*address, inodes, health.interval / 2).await
        }
        (Address::Unix(file), Evidence::File(inode, asked)) => {
            let is_due = health.path.is_none() && asked.elapsed() >= SELDOM * health.interval;
            !is_due && file.open().is_ok_and(|(_, now)| now == *inode)
        }
        _ => false,
    };
    let asked = match (is_same, health.path.as_deref(), &before.address) {
        (false, ..) => return check(target, health).await,
        (true, None, _) => return Ok(before.clone()),
        (true, Some(path), Address::Tcp(address)) => {
            let asked =
                async { ask(connect(*address).await?, &address.to_string(), path, health).await };
            timeout(health.timeout, asked).await
        }
        (true, Some(path), Address::Unix(file)) => {
            let asked = async { ask(connect_socket(file).await?, LOCAL, path, health).await };
            timeout(health.timeout, asked).await
        }
    };
    asked
        .unwrap_or(Err(Unready::Silent))
        .map(|()| before.clone())
}

/// Whether the sockets that listen at an address are the ones that were found to be the process' own.
async fn is_unchanged(address: SocketAddr, before: &BTreeSet<u64>, age: Duration) -> bool {
    let tables = match Tables::at_hand(age) {
        Some(tables) => tables,
        None => match read_tables(age).await {
            Some(tables) => tables,
            None => return false,
        },
    };
    let accepting = tables.accepting(address);
    let inodes: BTreeSet<u64> = accepting.iter().map(|l| l.inode).collect();
    !inodes.is_empty() && inodes == *before
}

async fn read_tables(age: Duration) -> Option<Arc<Tables>> {
    let read = tokio::task::spawn_blocking(move || Tables::recent(age));
    read.await.ok()
}

/// Checks the socket, then both loopback addresses, each within the time-out. Returns the first where the process
/// itself answers well.
pub(super) async fn check(target: &Target, health: &HealthCheck) -> Result<Endpoint, Unready> {
    let mut worst = Unready::NotListening;
    if let Some(file) = target.socket.as_ref().and_then(open_socket) {
        let answer = timeout(health.timeout, check_socket(file, health)).await;
        match answer.unwrap_or(Err(Unready::Silent)) {
            Ok(found) => return Ok(found),
            Err(unready) => worst = unready,
        }
    }
    for address in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, target.port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, target.port)),
    ] {
        let answer = timeout(health.timeout, check_address(target, address, health));
        match answer.await.unwrap_or(Err(Unready::Silent)) {
            Ok(found) => return Ok(found),
            Err(Unready::NotListening) => {}
            Err(unready) => worst = unready,
        }
    }
    Err(worst)
}

/// The socket of a process, if there is one now.
fn open_socket(directory: &SocketDirectory) -> Option<SocketFile> {
    let file = SocketFile::in_directory(directory.path()).ok()?;
    file.open().is_ok().then_some(file)
}

/// Connects, and sends a GET if there is a path. Nobody but the app's user can listen there.
async fn check_socket(file: SocketFile, health: &HealthCheck) -> Result<Endpoint, Unready> {
    let (_, inode) = file.open().map_err(|_| Unready::NotListening)?;
    let stream = connect_socket(&file).await?;
    if let Some(path) = health.path.as_deref() {
        ask(stream, LOCAL, path, health).await?;
    }
    Ok(Endpoint {
        address: Address::Unix(Arc::new(file)),
        by: Evidence::File(inode, Instant::now()),
    })
}

async fn connect_socket(file: &SocketFile) -> Result<UnixStream, Unready> {
    let connected = file.connect().await;
    connected.map_err(|_| Unready::NotListening)
}

/// Connects, verifies that the listener belongs to the process, and sends a GET if there is a path.
async fn check_address(
    target: &Target,
    address: SocketAddr,
    health: &HealthCheck,
) -> Result<Endpoint, Unready> {
    let stream = connect(address).await?;
    let inodes = verify(target, address).await?;
    if let Some(path) = health.path.as_deref() {
        ask(stream, &address.to_string(), path, health).await?;
    }
    Ok(Endpoint {
        address: address.into(),
        by: Evidence::Listeners(inodes),
    })
}

async fn verify(target: &Target, address: SocketAddr) -> Result<BTreeSet<u64>, Unready> {
    let owner = target.owner.clone();
    let verified = tokio::task::spawn_blocking(move || {
        // What is not found in tables that were read a moment ago may be newer.
        owner
            .verify(&Tables::recent(FRESH), address)
            .or_else(|_| owner.verify(&Tables::read(), address))
    });
    match verified.await {
        Ok(Ok(inodes)) => Ok(inodes),
        Ok(Err(stranger)) => Err(stranger.as_ref().map_or(Unready::NotListening, foreign)),
        // The runtime is shutting down.
        Err(_) => Err(Unready::NotListening),
    }
}

fn foreign(holder: &Holder) -> Unready {
    Unready::Foreign(holder.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::Path;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::process::procfs;

    /// This test process as the owner.
    fn target(port: u16) -> Target {
        let own = procfs::stat(std::process::id()).expect("stat").session;
        Target {
            port,
            socket: None,
            owner: Owner::of_session(own, Path::new("/none")),
        }
    }

    async fn answering(port: u16, health: &HealthCheck) -> SocketAddr {
        loop {
            if let Ok(found) = check(&target(port), health).await
                && let Address::Tcp(address) = found.address
            {
                return address;
            }
            sleep(health.interval).await;
        }
    }

    fn health(path: Option<&str>) -> HealthCheck {
        HealthCheck {
            path: path.map(str::to_owned),
            interval: Duration::from_millis(20),
            boot_timeout: Duration::from_secs(5),
            ..HealthCheck::default()
        }
    }

    #[actix::test]
    async fn a_listener_is_ready_on_the_address_it_has() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let bound = listener.local_addr().expect("address");
        assert_eq!(answering(bound.port(), &health(None)).await, bound);
        if let Some((listener, _held)) = only_on_ipv6() {
            let bound = listener.local_addr().expect("address");
            assert_eq!(answering(bound.port(), &health(None)).await, bound);
        }
    }

    /// A listener on ::1, and what holds the same port of the address that is asked first: another program may listen
    /// there.
    fn only_on_ipv6() -> Option<(TcpListener, Socket)> {
        loop {
            let listener = TcpListener::bind("[::1]:0").ok()?;
            let port = listener.local_addr().expect("address").port();
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if socket.bind(&address.into()).is_ok() {
                return Some((listener, socket));
            }
        }
    }

    #[actix::test]
    async fn a_listener_of_another_program_is_not_ready_but_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let mut stranger = std::process::Command::new("setsid");
        let mut stranger = stranger.args(["sleep", "60"]).spawn().expect("setsid");
        let target = Target {
            port,
            socket: None,
            owner: Owner::of_session(stranger.id(), Path::new("/none")),
        };
        let checked = check(&target, &health(None)).await;
        stranger.kill().expect("it runs");
        stranger.wait().expect("it ends");
        let own = format!("pid {} (", std::process::id());
        assert!(
            matches!(&checked, Err(Unready::Foreign(who)) if who.starts_with(&own)),
            "{checked:?}"
        );
    }

    #[actix::test]
    async fn the_same_listener_is_known_again_and_its_end_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (target, health) = (target(port), health(None));
        let found = check(&target, &health).await.expect("ready");
        assert_eq!(
            check_again(&target, &health, &found).await.as_ref(),
            Ok(&found)
        );
        listener.set_nonblocking(true).expect("option");
        assert!(listener.accept().is_ok(), "the first check connected");
        assert!(listener.accept().is_err(), "the second one did not");
        drop(listener);
        while check_again(&target, &health, &found).await.is_ok() {
            sleep(health.interval).await;
        }
    }

    #[actix::test]
    async fn with_a_path_only_2xx_is_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let server = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for status in ["503 Later", "302 Elsewhere", "204 No Content"] {
                let (mut stream, _) = listener.accept().expect("accept");
                let mut request = [0; 1024];
                let length = stream.read(&mut request).expect("request");
                requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
                write!(stream, "HTTP/1.1 {status}\r\n\r\n").expect("answer");
            }
            requests
        });
        answering(port, &health(Some("/up"))).await;
        let server = actix_rt::task::spawn_blocking(|| server.join().expect("server"));
        let requests = server.await.expect("joined");
        assert!(
            requests.iter().all(|request| request
                .starts_with(&format!("GET /up HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"))),
            "{requests:?}"
        );
    }

    #[actix::test]
    async fn an_answer_that_takes_its_time_is_read_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let length = stream.read(&mut [0; 1024]).expect("request");
            assert!(length > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n").expect("start");
            is_ready.recv().expect("ready");
            for _ in 0..100 {
                stream.write_all(b"X-Line: yes\r\n").expect("rest");
            }
            stream.shutdown(std::net::Shutdown::Write).expect("end");
            stream.read(&mut [0; 1]).expect("no reset")
        });
        answering(port, &health(Some("/up"))).await;
        ready.send(()).expect("the server waits");
        let server = actix_rt::task::spawn_blocking(|| server.join().expect("server"));
        assert_eq!(server.await.expect("joined"), 0);
    }
}
