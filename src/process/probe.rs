//! When a process is checked again, and the question of a check: a connection, and on it a GET whose status counts.
//!
//! The request is written by hand, not by awc: the connection is made first, and what it leads to may be verified before
//! anything is asked; and the status counts as soon as its line has come, while awc waits for the whole head.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::health::Unready;
use crate::document::config::HealthCheck;
use crate::router::backend::Alarm;

/// Bytes of an answer that are read at most. Its status line is enough, but an app whose answer is cut off by a reset
/// logs an error for each check.
const ANSWER: u64 = 64 * 1024;

/// Ends the reading of an answer after its status.
const REST: Duration = Duration::from_secs(5);

/// The least time between two checks of a process that the proxy cannot connect to: requests may be refused by the
/// thousand, and a check now and then tells as much.
const CALM: Duration = Duration::from_millis(50);

/// Waits until a process is to be checked again: after a while, or as soon as the proxy cannot connect to it. Returns
/// whether it could not.
pub async fn is_refused_within(pause: Duration, alarm: &Alarm) -> bool {
    tokio::time::sleep(pause.min(CALM)).await;
    tokio::select! {
        biased;
        () = alarm.rung() => true,
        () = tokio::time::sleep(pause.saturating_sub(CALM)) => false,
    }
}

/// Whether whatever is at `address`, here or on another machine, answers well within the time-out.
///
/// # Errors
/// What it did instead.
pub async fn answers(address: SocketAddr, health: &HealthCheck) -> Result<(), Unready> {
    let asked = async {
        let stream = connect(address).await?;
        match health.path.as_deref() {
            Some(path) => ask(stream, &address.to_string(), path, health).await,
            None => Ok(()),
        }
    };
    let answer = timeout(health.timeout, asked).await;
    answer.unwrap_or(Err(Unready::Silent))
}

pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Unready> {
    let connected = TcpStream::connect(address).await;
    let stream = connected.map_err(|_| Unready::NotListening)?;
    // TCP lets a socket connect to itself when nothing listens on its own ephemeral port.
    if stream.local_addr().is_ok_and(|own| own == address) {
        return Err(Unready::NotListening);
    }
    Ok(stream)
}

/// A GET of `path`. No redirect is followed.
pub(super) async fn ask<S>(
    mut stream: S,
    host: &str,
    path: &str,
    health: &HealthCheck,
) -> Result<(), Unready>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let start = start_of_answer(&mut stream, &request(host, path, health)).await;
    actix_rt::spawn(timeout(REST, read_rest(stream)));
    match parse_status(&start.ok_or(Unready::Silent)?) {
        Some(status) if health.status.has(status) => Ok(()),
        Some(status) => Err(Unready::Status(status)),
        None => Err(Unready::NotHttp),
    }
}

/// Its fields are known to have no line ends.
fn request(host: &str, path: &str, health: &HealthCheck) -> String {
    let host = health.host.as_deref().unwrap_or(host);
    let own = [("User-Agent", "procserver"), ("Accept", "*/*")];
    let is_given = |name: &str| {
        let mut names = health.headers.keys();
        names.any(|given| given.eq_ignore_ascii_case(name))
    };
    let own = own.into_iter().filter(|(name, _)| !is_given(name));
    let given = health.headers.iter();
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in own.chain(given) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "Connection: close\r\n\r\n"
}

async fn start_of_answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> Option<Vec<u8>> {
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut start = Vec::new();
    // `HTTP/1.1 200` is all that is wanted.
    stream.take(12).read_to_end(&mut start).await.ok()?;
    (!start.is_empty()).then_some(start)
}

/// Lets the app finish its answer and close.
async fn read_rest(stream: impl AsyncRead + Unpin) {
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
    use super::*;

    fn health(path: Option<&str>) -> HealthCheck {
        HealthCheck {
            path: path.map(str::to_owned),
            ..HealthCheck::default()
        }
    }

    #[test]
    fn a_check_names_the_host_and_the_fields_that_the_document_gives() {
        let plain = request("127.0.0.1:8001", "/up", &health(None));
        assert_eq!(
            plain,
            "GET /up HTTP/1.1\r\nHost: 127.0.0.1:8001\r\nUser-Agent: procserver\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let fields = [("X-Forwarded-Proto", "https"), ("accept", "text/html")];
        let own = HealthCheck {
            host: Some("shop.example.org".to_owned()),
            headers: fields.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            ..health(None)
        };
        let told = request("localhost", "/", &own);
        assert!(told.contains("\r\nHost: shop.example.org\r\n"), "{told}");
        assert!(told.contains("\r\nX-Forwarded-Proto: https\r\n"), "{told}");
        assert!(
            told.contains("accept: text/html") && !told.contains("*/*"),
            "{told}"
        );
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
