//! The server behind the proxies: answers `/N` with N bytes, whatever is sent to it, as cheaply as it can.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::cores;
use crate::load::{content_length, head_end};

/// The largest body that is asked for.
const LARGEST: usize = 64 * 1024;

/// Starts it on a thread of its own.
pub(crate) fn start() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        cores::pin(cores::LOAD);
        cores::runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(address).expect("the bench waits for it");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    });
    receiver.recv().expect("the origin starts")
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut input = vec![0; 64 * 1024];
    let mut response = Vec::with_capacity(LARGEST + 128);
    loop {
        let mut read = 0;
        let end = loop {
            if let Some(end) = head_end(&input[..read]) {
                break end;
            }
            match stream.read(&mut input[read..]).await.ok()? {
                0 => return None,
                count => read += count,
            }
        };
        let head = &input[..end];
        let size = asked(head)?.min(LARGEST);
        // Only the relay passes this on.
        let closes = head.windows(17).any(|w| w == b"Connection: close");
        let mut left = content_length(head).unwrap_or(0).checked_sub(read - end)?;
        while left > 0 {
            match stream.read(&mut input).await.ok()? {
                0 => return None,
                count => left = left.checked_sub(count)?,
            }
        }
        response.clear();
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
        );
        response.extend_from_slice(head.as_bytes());
        response.resize(head.len() + size, b'x');
        stream.write_all(&response).await.ok()?;
        if closes {
            return None;
        }
    }
}

/// The number in the target `/N`.
fn asked(head: &[u8]) -> Option<usize> {
    let target = head.split(|b| *b == b' ').nth(1)?;
    std::str::from_utf8(target)
        .ok()?
        .trim_start_matches('/')
        .parse()
        .ok()
}
