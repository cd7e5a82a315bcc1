//! A client that sends whatever bytes it is told to, frame by frame.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::client::{HOSTS, PATIENCE, config};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `:status: 200` of the static table, with which a header block begins (RFC 7541 §6.1).
pub(crate) const STATUS_200: u8 = 0x88;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number in a RST_STREAM, or the one of a GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A connection whose handshake of TLS is done.
pub(crate) struct Raw(StreamOwned<ClientConnection, TcpStream>);

impl Raw {
    /// With the preface and these settings sent.
    pub(crate) fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(address);
        raw.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let pairs = settings.iter().flat_map(|(name, value)| {
            let (name, value) = (name.to_be_bytes(), value.to_be_bytes());
            name.into_iter().chain(value)
        });
        raw.send(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>());
        raw
    }

    /// With nothing sent.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(HOSTS[0]).unwrap();
        let session = ClientConnection::new(Arc::new(config(&["h2"])), name).unwrap();
        Self(StreamOwned::new(session, stream))
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).unwrap();
    }

    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_bytes(&frame(kind, flags, stream, payload));
    }

    /// Asks for / on this stream.
    pub(crate) fn ask(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &get());
    }

    /// The next stream that ends or is answered is answered with 200.
    #[track_caller]
    pub(crate) fn is_answered(&mut self) {
        let answer = self.next_of(&[HEADERS, RST_STREAM]).unwrap();
        assert_eq!((answer.kind, answer.payload[0]), (HEADERS, STATUS_200));
    }

    /// The next stream that ends or is answered is refused, so that it may be asked again. Returns its number.
    #[track_caller]
    pub(crate) fn is_refused(&mut self) -> u32 {
        let refused = self.next_of(&[HEADERS, RST_STREAM]).unwrap();
        assert_eq!((refused.kind, refused.code()), (RST_STREAM, REFUSED_STREAM));
        refused.stream
    }

    /// Reads what has come. Returns false at the end.
    pub(crate) fn reads_on(&mut self) -> bool {
        self.0.sock.set_nonblocking(true).unwrap();
        let mut space = [0; 16 * 1024];
        let ended = loop {
            match self.0.read(&mut space) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Ok(0) | Err(_) => break true,
            }
        };
        self.0.sock.set_nonblocking(false).unwrap();
        !ended
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The next frame of one of these kinds, or `None` at the end. Others are read over.
    pub(crate) fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if kinds.contains(&frame.kind) && !(frame.kind == SETTINGS && frame.flags == ACK) {
                return Some(frame);
            }
        }
    }

    /// The code of the GOAWAY with which the connection ends.
    #[track_caller]
    pub(crate) fn end(&mut self) -> u32 {
        let last = self.next_of(&[GOAWAY]).expect("a GOAWAY");
        while let Some(frame) = self.next() {
            assert!(frame.kind != HEADERS, "an answer behind GOAWAY");
        }
        last.code()
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without indexing (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(&mut bytes, text.len());
            bytes.extend(*text);
        }
    }
    bytes
}

/// A length of seven bits, without Huffman (RFC 7541 §5.1).
fn integer(bytes: &mut Vec<u8>, mut number: usize) {
    if number < 127 {
        return bytes.push(u8::try_from(number).unwrap());
    }
    bytes.push(127);
    number -= 127;
    while number >= 128 {
        bytes.push(u8::try_from(number % 128 + 128).unwrap());
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
}

/// The head of a GET.
pub(crate) fn get() -> Vec<u8> {
    block(&[
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", b"/"),
    ])
}
