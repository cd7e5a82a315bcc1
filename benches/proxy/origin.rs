//! The server behind the proxies: answers `/N` with N bytes, whatever is sent to it. Two kinds: one thread for all
//! connections, which costs the least, and a thread for each connection, as most application servers have it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as BlockingUnixListener;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use crate::cores;
use crate::load::{content_length, head_end};

/// The largest body that is asked for.
const LARGEST: usize = 64 * 1024;

/// Bytes of a connection's input that are read at once.
const INPUT: usize = 64 * 1024;

/// How an origin serves its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    OneThread,
    Threads,
}

impl Style {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::OneThread => "one-thread",
            Self::Threads => "threads",
        }
    }
}

/// An origin in a process of its own; it is killed when dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Origin {
    /// Starts the one that the peers stand before; ours deploys its own.
    pub(crate) fn start(style: Style) -> Self {
        let address = crate::subject::free_address();
        let child = Command::new(std::env::current_exe().expect("our own path"))
            .args(["serve-origin", style.word(), &address.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("this program");
        let up = crate::subject::listens(address);
        assert!(up, "the origin does not listen at {address}");
        Self { address, child }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// `STYLE ADDRESS` or `STYLE unix:PATH`, until it is killed.
pub(crate) fn serve(words: &[String]) {
    let [style, at] = words else {
        panic!("serve-origin STYLE ADDRESS|unix:PATH")
    };
    cores::allow_many_files();
    // A deployed origin is started by the proxy, on the proxy's core.
    cores::pin(cores::LOAD);
    match (style.as_str(), at.strip_prefix("unix:")) {
        ("threads", Some(path)) => {
            let listener = BlockingUnixListener::bind(path).expect("SOCKET is free");
            listener.incoming().flatten().for_each(on_a_thread);
        }
        ("threads", None) => {
            let listener = std::net::TcpListener::bind(at).expect("the port is free");
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).expect("a socket of ours");
                on_a_thread(stream);
            }
        }
        (_, Some(path)) => cores::runtime().block_on(async {
            let listener = UnixListener::bind(path).expect("SOCKET is free");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream));
            }
        }),
        (_, None) => cores::runtime().block_on(async {
            let listener = TcpListener::bind(at).await.expect("the port is free");
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket of ours");
                tokio::spawn(answer_all(stream));
            }
        }),
    }
}

/// What a request asks for.
struct Asked {
    size: usize,
    /// Bytes of its body that were not read with its head.
    left: usize,
    /// Only the relay passes this on.
    closes: bool,
}

fn asked(head: &[u8], with_head: usize) -> Option<Asked> {
    let target = head.split(|b| *b == b' ').nth(1)?;
    let target = std::str::from_utf8(target).ok()?;
    let size: usize = target.trim_start_matches('/').parse().ok()?;
    Some(Asked {
        size: size.min(LARGEST),
        left: content_length(head).unwrap_or(0).checked_sub(with_head)?,
        closes: head.windows(17).any(|w| w == b"Connection: close"),
    })
}

fn write_response(size: usize, response: &mut Vec<u8>) {
    response.clear();
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    );
    response.extend_from_slice(head.as_bytes());
    response.resize(head.len() + size, b'x');
}

async fn answer_all(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut input = vec![0; INPUT];
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
        let mut asked = asked(&input[..end], read - end)?;
        while asked.left > 0 {
            match stream.read(&mut input).await.ok()? {
                0 => return None,
                count => asked.left = asked.left.checked_sub(count)?,
            }
        }
        write_response(asked.size, &mut response);
        stream.write_all(&response).await.ok()?;
        if asked.closes {
            return None;
        }
    }
}

fn on_a_thread(stream: impl Read + Write + Send + 'static) {
    std::thread::spawn(move || answer_all_blocking(stream));
}

fn answer_all_blocking(mut stream: impl Read + Write) -> Option<()> {
    let mut input = vec![0; INPUT];
    let mut response = Vec::with_capacity(LARGEST + 128);
    loop {
        let mut read = 0;
        let end = loop {
            if let Some(end) = head_end(&input[..read]) {
                break end;
            }
            match stream.read(&mut input[read..]).ok()? {
                0 => return None,
                count => read += count,
            }
        };
        let mut asked = asked(&input[..end], read - end)?;
        while asked.left > 0 {
            match stream.read(&mut input).ok()? {
                0 => return None,
                count => asked.left = asked.left.checked_sub(count)?,
            }
        }
        write_response(asked.size, &mut response);
        stream.write_all(&response).ok()?;
        if asked.closes {
            return None;
        }
    }
}
