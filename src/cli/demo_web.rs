//! `procserver demo-web`: the demo's web process, so that a demo needs nothing but this binary. A deliberately small
//! HTTP/1.1 server on `PORT`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use actix_rt::signal::unix::{SignalKind, signal};
use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The most that a request's head may have, bytes.
const LARGEST_HEAD: usize = 16 << 10;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);

/// Serves until SIGTERM.
///
/// # Errors
/// A `PORT` that is missing or cannot be listened on.
pub fn run() -> anyhow::Result<ExitCode> {
    let port =
        std::env::var("PORT").context("PORT is not set: procserver sets it for each process")?;
    let port: u16 = port
        .parse()
        .with_context(|| format!("PORT \"{port}\" is no port"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let mut terminate = signal(SignalKind::terminate())?;
        say(&format!("listening on {address}"));
        tokio::select! {
            () = accept(listener) => {}
            _ = terminate.recv() => say("stopping: SIGTERM"),
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream))),
            // Out of descriptors, most likely: wait for connections to end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Answers requests until the other side closes, is silent for too long, or sends what we do not understand.
async fn converse(mut stream: TcpStream) {
    let mut received = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match tokio::time::timeout(IDLE, stream.read(&mut piece)).await {
            Ok(Ok(count)) if count > 0 => received.extend_from_slice(&piece[..count]),
            _ => return,
        }
        while let Some((used, response)) = answer(&received) {
            received.drain(..used);
            if stream.write_all(&response.bytes).await.is_err() || response.last {
                return;
            }
        }
        if received.len() > LARGEST_HEAD {
            return;
        }
    }
}

/// A response, and whether the connection ends with it.
struct Response {
    bytes: Vec<u8>,
    last: bool,
}

impl Response {
    fn new(status: &str, body: &str, last: bool, with_body: bool) -> Self {
        let connection = if last { "close" } else { "keep-alive" };
        let mut bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: {connection}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        if with_body {
            bytes.extend_from_slice(body.as_bytes());
        }
        Self { bytes, last }
    }
}

/// The answer to the first request in `received` and the request's length, once its head is whole.
fn answer(received: &[u8]) -> Option<(usize, Response)> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let used = match request.parse(received) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => {
            let body = format!("{error}\n");
            return Some((
                received.len(),
                Response::new("400 Bad Request", &body, true, true),
            ));
        }
    };
    let method = request.method.unwrap_or_default();
    let path = request.path.unwrap_or_default();
    say(&format!("{method} {path}"));
    // A body is not read, so nothing after it can be understood.
    let has_body = request.headers.iter().any(|field| {
        ["content-length", "transfer-encoding"]
            .iter()
            .any(|n| field.name.eq_ignore_ascii_case(n))
    });
    let page = page(method, path, request.headers);
    Some((
        used,
        Response::new("200 OK", &page, has_body, method != "HEAD"),
    ))
}

fn page(method: &str, path: &str, fields: &[httparse::Header<'_>]) -> String {
    let variable = |name| escape(&std::env::var(name).unwrap_or_default());
    let rows: String = fields
        .iter()
        .map(|field| {
            let value = String::from_utf8_lossy(field.value);
            format!(
                "<tr><th>{}</th><td>{}</td></tr>\n",
                escape(field.name),
                escape(&value)
            )
        })
        .collect();
    format!(
        "<!doctype html>\n<meta charset=utf-8>\n<title>procserver demo</title>\n\
         <style>body{{font:16px system-ui;margin:3em auto;max-width:48em}}th{{text-align:left;padding-right:2em}}</style>\n\
         <h1>{}</h1>\n<p>This is process <b>{}</b> of release <b>{}</b>, answering <code>{} {}</code>.</p>\n\
         <h2>What it received</h2>\n<table>\n{rows}</table>\n",
        variable("GREETING"),
        variable("PS"),
        variable("PROCSERVER_RELEASE"),
        escape(method),
        escape(path),
    )
}

/// Text that a browser does not take as markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A line of the process' log.
fn say(text: &str) {
    use std::io::Write;
    // Without a reader of its output a web process still serves.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_with_what_it_said_and_the_connection_kept() {
        let request = b"GET /a<b HTTP/1.1\r\nHost: x\r\nX-Forwarded-Prefix: /demo\r\n\r\nGET";
        let (used, response) = answer(request).unwrap();
        let text = String::from_utf8(response.bytes).unwrap();
        assert_eq!(used, request.len() - 3);
        assert!(
            !response.last && text.starts_with("HTTP/1.1 200 OK\r\n"),
            "{text}"
        );
        assert!(
            text.contains("GET /a&lt;b") && text.contains("<td>/demo</td>"),
            "{text}"
        );
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn half_a_head_waits_and_nonsense_ends_the_connection() {
        assert!(answer(b"GET / HTTP/1.1\r\nHo").is_none());
        assert!(answer(b"\0\0\0").unwrap().1.last);
        assert!(
            answer(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
                .unwrap()
                .1
                .last
        );
    }

    #[test]
    fn head_has_the_length_but_not_the_body() {
        let (_, response) = answer(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(response.bytes.ends_with(b"\r\n\r\n"));
    }
}
