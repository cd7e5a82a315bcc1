//! Whether a process answers on its port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::app::config::HealthCheck;

/// How long a process that is not routed must have lived to be ready.
const ALIVE: Duration = Duration::from_secs(1);

/// The first pause between two checks; it doubles up to the configured interval, so that what boots in milliseconds
/// does not wait a second for its first request.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What is read of an answer at most. Its start decides, but an app whose answer is cut off with a reset logs an error for
/// each check.
const ANSWER: u64 = 64 * 1024;

/// How long the rest of an answer is waited for.
const REST: Duration = Duration::from_secs(5);

/// Why a check did not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// Nobody accepts connections.
    NotListening,
    /// No answer in time, or none at all.
    Silent,
    /// An answer that is not HTTP.
    NotHttp,
    /// An answer that is not 2xx.
    Status(u16),
}

/// Resolves when a process that is not routed counts as ready, if it still lives then.
pub(super) async fn alive() {
    sleep(ALIVE).await;
}

/// Resolves with the address at which `port` answers.
pub(super) async fn answering(port: u16, health: &HealthCheck) -> SocketAddr {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(address) = check(port, health.path.as_deref(), health.timeout).await {
            return address;
        }
        sleep(pause.min(health.interval)).await;
        pause = pause
            .saturating_mul(2)
            .min(health.interval.max(FIRST_PAUSE));
    }
}

/// One check of both loopback addresses, each within `limit`; the address that answers well.
pub(super) async fn check(
    port: u16,
    path: Option<&str>,
    limit: Duration,
) -> Result<SocketAddr, Unready> {
    let mut worst = Unready::NotListening;
    for address in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ] {
        let answer = timeout(limit, ask(address, path)).await;
        match answer.unwrap_or(Err(Unready::Silent)) {
            Ok(()) => return Ok(address),
            Err(Unready::NotListening) => {}
            Err(unready) => worst = unready,
        }
    }
    Err(worst)
}

/// A connect, and a GET of `path` if there is one.
async fn ask(address: SocketAddr, path: Option<&str>) -> Result<(), Unready> {
    let connected = TcpStream::connect(address).await;
    let mut stream = connected.map_err(|_| Unready::NotListening)?;
    // TCP lets a socket connect to itself when nothing listens on its own ephemeral port.
    if stream.local_addr().is_ok_and(|own| own == address) {
        return Err(Unready::NotListening);
    }
    let Some(path) = path else {
        return Ok(());
    };
    let start = start_of_answer(&mut stream, address, path).await;
    actix_rt::spawn(timeout(REST, read_rest(stream)));
    match parse_status(&start.ok_or(Unready::Silent)?) {
        Some(200..300) => Ok(()),
        Some(status) => Err(Unready::Status(status)),
        None => Err(Unready::NotHttp),
    }
}

async fn start_of_answer(
    stream: &mut TcpStream,
    address: SocketAddr,
    path: &str,
) -> Option<Vec<u8>> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: procserver\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut start = Vec::new();
    // `HTTP/1.1 200` is all that is wanted.
    stream.take(12).read_to_end(&mut start).await.ok()?;
    (!start.is_empty()).then_some(start)
}

/// Lets the app finish its answer and close.
async fn read_rest(stream: TcpStream) {
    // Errors are the app's: its status is known.
    let _ = tokio::io::copy(&mut stream.take(ANSWER), &mut tokio::io::sink()).await;
}

fn parse_status(start: &[u8]) -> Option<u16> {
    let digits = start
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| start.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn health(path: Option<&str>) -> HealthCheck {
        HealthCheck {
            path: path.map(str::to_owned),
            interval: Duration::from_millis(20),
            timeout: Duration::from_secs(5),
            boot_timeout: Duration::from_secs(5),
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

    #[test]
    fn garbage_has_no_status() {
        for garbage in [
            &b""[..],
            b"HTTP/1.1 2",
            b"HTTP/2.0 200",
            b"SSH-2.0-Open",
            b"HTTP/1.1 2\xff0",
        ] {
            assert!(
                parse_status(garbage).is_none_or(|status| status < 100),
                "{garbage:?}"
            );
        }
        assert_eq!(parse_status(b"HTTP/1.0 200"), Some(200));
    }
}
