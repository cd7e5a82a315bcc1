//! A small HTTP/1.1 client on raw sockets: what comes out is what was on the wire, and every exchange has a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long an exchange may take, unless the request says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A request: one per connection.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    deadline: Duration,
}

/// A final response, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            deadline: DEADLINE,
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// How long the whole exchange may take.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends it and reads the whole response.
    #[track_caller]
    pub(crate) fn send(&self, peer: &Peer) -> Response {
        match self.try_send(peer) {
            Ok(response) => response,
            Err(e) => panic!("{} {} at {peer:?}: {e}", self.method, self.target),
        }
    }

    /// Like [`Request::send`], for servers that may be away.
    pub(crate) fn try_send(&self, peer: &Peer) -> io::Result<Response> {
        let mut stream = self.open(peer)?;
        let mut body = Vec::new();
        while let Some(piece) = stream.next_piece()? {
            body.extend_from_slice(&piece);
        }
        Ok(Response {
            status: stream.status,
            headers: stream.headers,
            body,
        })
    }

    /// Sends it and returns once the head of the response is there, its body still to come.
    pub(crate) fn open(&self, peer: &Peer) -> io::Result<Stream> {
        let mut wire = Wire::connect(peer, Instant::now() + self.deadline)?;
        wire.write_all(self.head().as_bytes())?;
        // A server may answer before it has read the body, and close: its answer counts, not the failed write.
        let _ = wire.write_all(&self.body);
        Stream::read_head(wire, self.method == "HEAD")
    }

    fn head(&self) -> String {
        use std::fmt::Write;
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !has("host") {
            head.push_str("Host: 127.0.0.1\r\n");
        }
        if !has("content-length") && !self.body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("Connection: close\r\n\r\n");
        head
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in the body of a {}: {:?}", self.status, self.text()))
    }

    /// Fails, showing the whole answer, unless it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}

/// A response whose body is still coming.
pub(crate) struct Stream {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<Wire>,
    framing: Framing,
    text: Vec<u8>,
}

/// How the end of a body is known (RFC 9112 §6.3).
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Stream {
    fn read_head(wire: Wire, bodiless: bool) -> io::Result<Self> {
        let mut reader = BufReader::new(wire);
        let status = read_line(&mut reader)?;
        let status: u16 = status
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("not a status line: {status:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| io::Error::other(format!("not a field: {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        if status < 200 {
            return Self::read_head(reader.into_inner(), bodiless);
        }
        let chunked = find(&headers, "transfer-encoding").is_some_and(|v| v == "chunked");
        let length = find(&headers, "content-length").and_then(|v| v.parse().ok());
        let framing = match length {
            _ if bodiless || matches!(status, 204 | 304) => Framing::Length(0),
            _ if chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        };
        Ok(Self {
            status,
            headers,
            reader,
            framing,
            text: Vec::new(),
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as something to read from.
    pub(crate) fn into_body(self) -> Body {
        let (stream, piece) = (self, io::Cursor::default());
        Body { stream, piece }
    }

    /// The next line of the body, without its newline; fails at the deadline and when the body ends first.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> String {
        loop {
            if let Some(end) = self.text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            match self.next_piece() {
                Ok(Some(piece)) => self.text.extend_from_slice(&piece),
                Ok(None) => panic!("the body ended, a line was awaited"),
                Err(e) => panic!("a line was awaited: {e}"),
            }
        }
    }

    /// The next piece of the body; `None` at its end. A body that ends too early is an error.
    fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.read_some(left)?;
                if piece.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.framing = Framing::Length(left - piece.len() as u64);
                Ok(Some(piece))
            }
            Framing::UntilClose => Ok(Some(self.read_some(u64::MAX)?).filter(|p| !p.is_empty())),
            Framing::Chunked => self.next_chunk(),
        }
    }

    fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = read_line(&mut self.reader)?;
        let size = u64::from_str_radix(&line, 16)
            .map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
        let mut chunk = Vec::new();
        if (&mut self.reader).take(size).read_to_end(&mut chunk)? as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !read_line(&mut self.reader)?.is_empty() {} // the chunk's CRLF, or trailers
        Ok(Some(chunk).filter(|c| !c.is_empty()))
    }

    fn read_some(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let available = self.reader.fill_buf()?;
        let taken = available
            .len()
            .min(usize::try_from(limit).unwrap_or(usize::MAX));
        let piece = available[..taken].to_vec();
        self.reader.consume(taken);
        Ok(piece)
    }
}

/// What is left of a body, as it comes.
pub(crate) struct Body {
    stream: Stream,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.stream.next_piece()? {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn read_line(reader: &mut BufReader<Wire>) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("a line ends early: {:?}", String::from_utf8_lossy(&line)),
        ));
    };
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// A connection that gives up at its deadline, however slowly bytes come.
struct Wire {
    socket: Socket,
    deadline: Instant,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    fn connect(peer: &Peer, deadline: Instant) -> io::Result<Self> {
        let left = deadline.saturating_duration_since(Instant::now());
        let socket = match peer {
            Peer::Tcp(address) => Socket::Tcp(TcpStream::connect_timeout(address, left)?),
            Peer::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        Ok(Self { socket, deadline })
    }

    /// The time left; an error when there is none.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.socket {
            Socket::Tcp(s) => s.set_read_timeout(left).and_then(|()| s.read(buffer)),
            Socket::Unix(s) => s.set_read_timeout(left).and_then(|()| s.read(buffer)),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.socket {
            Socket::Tcp(s) => s.set_write_timeout(left).and_then(|()| s.write(bytes)),
            Socket::Unix(s) => s.set_write_timeout(left).and_then(|()| s.write(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
