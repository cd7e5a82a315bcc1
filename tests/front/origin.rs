//! An origin that records what it gets, byte for byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// No read in these tests may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A listener whose connections are each given to a function on a thread of its own.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    received: mpsc::Receiver<String>,
}

/// A connection at the origin's end.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    /// How many there were before.
    pub(crate) number: usize,
    record: mpsc::Sender<String>,
}

impl Conn {
    /// Reads a request with its body and records it; `None` when the connection ended.
    pub(crate) fn request(&mut self) -> Option<String> {
        let message = read_message(&mut self.stream, false);
        if !message.is_empty() {
            let _ = self.record.send(message.clone());
        }
        (!message.is_empty()).then_some(message)
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        let _ = self.stream.write_all(bytes.as_bytes());
    }

    pub(crate) fn record(&self, what: &str) {
        let _ = self.record.send(what.to_owned());
    }

    /// Reads to the end and records it.
    pub(crate) fn record_rest(&mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        self.record(&format!("rest: {}", String::from_utf8_lossy(&rest)));
    }
}

impl Origin {
    pub(crate) fn start(serve: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (record, received) = mpsc::channel();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (serve, record) = (Arc::clone(&serve), record.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    serve(&mut Conn {
                        stream,
                        number,
                        record,
                    });
                });
            }
        });
        Self { address, received }
    }

    /// Gives its connections to a function one after the other, as programs do that have one thread.
    pub(crate) fn one_at_a_time(serve: impl Fn(&mut Conn) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (record, received) = mpsc::channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                stream.set_nodelay(true).unwrap();
                serve(&mut Conn {
                    stream,
                    number,
                    record: record.clone(),
                });
            }
        });
        Self { address, received }
    }

    /// Answers each request with these bytes.
    pub(crate) fn answering(response: &'static str) -> Self {
        Self::start(move |conn| {
            while conn.request().is_some() {
                conn.send(response);
            }
        })
    }

    /// Answers each request with these bytes and closes.
    pub(crate) fn answering_once(response: &'static str) -> Self {
        Self::start(move |conn| {
            conn.request();
            conn.send(response);
        })
    }

    /// What it got next.
    pub(crate) fn received(&self) -> String {
        self.received
            .recv_timeout(PATIENCE)
            .expect("the origin gets something")
    }

    /// What it got next, if it got something.
    pub(crate) fn next_received(&self) -> Option<String> {
        self.received.try_recv().ok()
    }

    /// That nothing more came.
    pub(crate) fn received_nothing(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

/// A head, and the body that Content-Length or chunked says; what there is when the connection ends.
pub(crate) fn read_message(stream: &mut TcpStream, without_body: bool) -> String {
    let mut bytes = Vec::new();
    let ended = |bytes: &[u8]| bytes.ends_with(b"\r\n\r\n");
    while !ended(&bytes) && read_byte(stream, &mut bytes) {}
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let start = bytes.len();
    let bodiless =
        without_body || head.starts_with("http/1.1 1") || head.starts_with("http/1.1 304");
    if bodiless || bytes.is_empty() {
    } else if let Some(length) = length {
        while bytes.len() < start + length && read_byte(stream, &mut bytes) {}
    } else if head.contains("transfer-encoding: chunked") {
        let last = |b: &[u8]| {
            let zero = b.starts_with(b"0\r\n") || b.windows(5).any(|w| w == b"\r\n0\r\n");
            zero && b.ends_with(b"\r\n\r\n")
        };
        while !last(&bytes[start..]) && read_byte(stream, &mut bytes) {}
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_byte(stream: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let mut byte = [0];
    let read = matches!(stream.read(&mut byte), Ok(1));
    if read {
        into.push(byte[0]);
    }
    read
}
