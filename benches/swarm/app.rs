//! The app: it answers with its version, in [`SIZE`] bytes. Told to stop it takes no new connections, ends what it was
//! asked, and ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cores;

/// Bytes of an answer's body.
pub(crate) const SIZE: usize = 128;

/// How long a request takes whose path ends in `work`.
const WORK: Duration = Duration::from_millis(20);

/// How long it goes on with requests that it has, once it is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves on `$PORT` until it is told to stop.
pub(crate) fn serve() {
    cores::pin(cores::LOAD);
    let version = std::env::var("VERSION").or_else(|_| std::fs::read_to_string("VERSION"));
    let version = version.expect("VERSION is set, or a file here");
    let body = format!("{:<SIZE$}", version.trim());
    cores::runtime().block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port())).await;
        let listener = listener.expect("PORT is free");
        let mut stop = signal(SignalKind::terminate()).expect("a signal");
        let (told, is_told) = watch::channel(());
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("a connection");
                    tokio::spawn(answer_all(stream, body.clone(), is_told.clone()));
                }
                _ = stop.recv() => break,
            }
        }
        drop((listener, is_told));
        let _gone = told.send(());
        // It is closed once no connection waits for it.
        let _late = tokio::time::timeout(GRACE, told.closed()).await;
    });
}

/// Whether it answers: for the HEALTHCHECK of an image.
pub(crate) fn check() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port()));
    let answered = crate::product::http::Connection::open(address)
        .and_then(|mut connection| connection.send("GET", "/", &[], ""));
    std::process::exit(i32::from(!matches!(answered, Ok((200, _)))));
}

fn port() -> u16 {
    let port = std::env::var("PORT").expect("PORT is set");
    port.parse().expect("PORT is a number")
}

async fn answer_all(
    stream: TcpStream,
    body: String,
    mut is_told: watch::Receiver<()>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        tokio::select! {
            biased;
            read = stream.read_line(&mut line) => read.ok().filter(|bytes| *bytes > 0)?,
            _ = is_told.changed() => return None,
        };
        let works = line.split(' ').nth(1)?.ends_with("work");
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()?;
                }
                Some(_) => {}
            }
        }
        let mut sent = vec![0; length];
        stream.read_exact(&mut sent).await.ok()?;
        if works {
            tokio::time::sleep(WORK).await;
        }
        let is_over = is_told.has_changed().unwrap_or(true);
        let close = if is_over { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n{close}\r\n");
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .ok()?;
        if is_over {
            return None;
        }
    }
}
