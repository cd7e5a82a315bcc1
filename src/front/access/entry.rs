//! [`Notes`]: what the access log says of a request, gathered while it is answered, and its line.
//!
//! A line is one JSON object in plain ASCII. Escaping keeps clients from beginning a line of their own, and from
//! steering the terminal on which a log is read.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::front::http::field::Name;
use crate::front::http::head::Request;
use crate::front::http::local_reply::LocalReply;
use crate::front::http::write;
use crate::front::request_counts::{Answered, Counter, Ended};
use crate::router::table::{Route, Rule};
use crate::traces::tracer::{self, Begun};

/// The bytes that a line spends on a target, and on any other text of the client. A line stays below the 16 KiB that a
/// log takes as one.
const LONGEST_TARGET: usize = 8 * 1024;
const LONGEST_TEXT: usize = 1024;

/// The status that is noted, not sent, where the client went away before there was one, as nginx does.
const CLIENT_GONE: u16 = 499;

const HTTP_2: &str = "HTTP/2.0";

/// How a client speaks to this server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spoken {
    pub is_secure: bool,
    pub is_http2: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The app and the rule by which it was found.
    pub app: Option<(Arc<Route>, Rule)>,
    /// The process and its release.
    pub process: Option<(Arc<str>, u64)>,
    pub api: bool,
}

#[derive(Debug)]
pub struct Notes {
    /// The client's part of the line, written while its head was in memory.
    pub(super) asked: Vec<u8>,
    /// Microseconds since 1970.
    began: i64,
    started: Instant,
    status: Cell<u16>,
    code: Cell<Option<&'static str>>,
    /// The policy of the app's document that answered.
    policy: Cell<Option<&'static str>>,
    bytes: Cell<(u64, u64)>,
    first_byte: Cell<Option<Instant>>,
    retries: Cell<u32>,
    pub(super) served: RefCell<Served>,
    /// The span of the request, if one is told.
    pub(in crate::front) trace: Option<Box<Begun>>,
}

impl Notes {
    /// Begins the notes of bytes from `remote` that are no request. `space` is an empty buffer.
    #[must_use]
    pub fn unread(mut space: Vec<u8>, remote: IpAddr, spoken: Spoken) -> Self {
        let protocol = spoken.is_http2.then_some(HTTP_2);
        asked(&mut space, spoken, (remote, None), protocol, None);
        Self::new(space)
    }

    /// Begins the notes of a request from `peer`, and perhaps from the client that a trusted peer names. `space` is an
    /// empty buffer.
    #[must_use]
    pub fn of(
        mut space: Vec<u8>,
        peer: (IpAddr, Option<IpAddr>),
        spoken: Spoken,
        request: &Request<'_>,
    ) -> Self {
        let protocol = match (spoken.is_http2, request.minor) {
            (true, _) => HTTP_2,
            (false, 0) => "HTTP/1.0",
            (false, _) => "HTTP/1.1",
        };
        asked(&mut space, spoken, peer, Some(protocol), Some(request));
        Self::new(space)
    }

    /// Begins the notes of a request that leaves no line.
    #[must_use]
    pub fn without_line() -> Self {
        Self::new(Vec::new())
    }

    fn new(asked: Vec<u8>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Self {
            asked,
            began: i64::try_from(micros).unwrap_or(0),
            started: Instant::now(),
            status: Cell::new(0),
            code: Cell::new(None),
            policy: Cell::new(None),
            bytes: Cell::default(),
            first_byte: Cell::new(None),
            retries: Cell::new(0),
            served: RefCell::default(),
            trace: None,
        }
    }

    pub fn found(&self, route: &Arc<Route>, rule: Rule) {
        self.served.borrow_mut().app = Some((Arc::clone(route), rule));
    }

    pub fn asks(&self, process: &Arc<str>, release: u64) {
        self.served.borrow_mut().process = Some((Arc::clone(process), release));
    }

    pub fn asks_api(&self) {
        self.served.borrow_mut().api = true;
    }

    /// Counts one more sending of the request.
    pub fn again(&self) {
        self.retries.set(self.retries.get().saturating_add(1));
    }

    pub fn answers(&self, status: u16) {
        self.status.set(status);
        self.first_byte.set(Some(Instant::now()));
    }

    /// Notes the bytes of body that came from the client and went to it.
    pub fn carried(&self, from: u64, to: u64) {
        self.bytes.set((from, to));
    }

    /// Takes off the bytes that the client did not take.
    pub fn not_carried(&self, rest: u64) {
        let (from, to) = self.bytes.get();
        self.bytes.set((from, to.saturating_sub(rest)));
    }

    /// Notes an answer of the front end itself, with the bytes of its body.
    pub fn fails(&self, reply: &LocalReply, body: u64) {
        self.answers(reply.status);
        self.code.set(reply.code);
        self.policy.set(reply.policy());
        self.bytes.set((self.bytes.get().0, body));
    }

    /// The response broke off (H18).
    pub fn broke_off(&self) {
        self.code.set(Some("H18"));
    }

    /// The client went away before it had the whole response (H27).
    pub fn client_gone(&self) {
        self.code.set(Some("H27"));
        if self.status.get() == 0 {
            self.status.set(CLIENT_GONE);
        }
    }

    /// Counts the request, which ended `now`.
    pub(in crate::front) fn count(&self, counter: &Counter, now: Instant) {
        let served = self.served.borrow();
        let answered = match &served.app {
            Some((route, rule)) => Answered::App(route, *rule),
            None if served.api => Answered::Api,
            None => Answered::Nobody,
        };
        let ended = Ended {
            status: self.status.get(),
            took: now - self.started,
            bytes: self.bytes.get(),
            is_refused: self.policy.get().is_some(),
        };
        counter.count(answered, &ended);
    }

    /// What came of the request, which ended `now`, for its span.
    pub(in crate::front) fn ended(&self, now: Instant) -> tracer::Ended {
        let served = self.served.borrow();
        tracer::Ended {
            app: served.app.as_ref().map(|(route, _)| Arc::clone(&route.app)),
            process: served.process.clone(),
            status: self.status.get(),
            took: now - self.started,
        }
    }

    /// Appends the line, with its newline. `now` is when the request ended.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        clock: &mut Clock,
        request_id: &[u8],
        now: Instant,
    ) {
        out.extend_from_slice(b"{\"time\":\"");
        clock.write(out, self.began);
        out.extend_from_slice(b"\",\"request_id\":");
        plain(out, request_id);
        let served = self.served.borrow();
        match &served.app {
            Some((route, _)) => {
                out.extend_from_slice(b",\"app\":");
                plain(out, route.app.as_bytes());
            }
            None => out.extend_from_slice(b",\"app\":null"),
        }
        match &served.process {
            Some((process, release)) => {
                out.extend_from_slice(b",\"process\":");
                plain(out, process.as_bytes());
                out.extend_from_slice(b",\"release\":");
                write::decimal(out, *release);
            }
            None => out.extend_from_slice(b",\"process\":null,\"release\":null"),
        }
        let rule = served.app.as_ref().map(|(_, rule)| rule.as_str());
        out.extend_from_slice(b",\"rule\":");
        word(out, rule.or(served.api.then_some("api")));
        out.extend_from_slice(&self.asked);
        out.extend_from_slice(b",\"status\":");
        write::decimal(out, self.status.get().into());
        out.extend_from_slice(b",\"code\":");
        word(out, self.code.get());
        if let Some(policy) = self.policy.get() {
            out.extend_from_slice(b",\"policy\":");
            word(out, Some(policy));
        }
        let (from, to) = self.bytes.get();
        out.extend_from_slice(b",\"bytes_in\":");
        write::decimal(out, from);
        out.extend_from_slice(b",\"bytes_out\":");
        write::decimal(out, to);
        out.extend_from_slice(b",\"first_byte_ms\":");
        match self.first_byte.get() {
            Some(at) => milliseconds(out, at - self.started),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"total_ms\":");
        milliseconds(out, now - self.started);
        out.extend_from_slice(b",\"retries\":");
        write::decimal(out, self.retries.get().into());
        out.extend_from_slice(b"}\n");
    }
}

/// Writes RFC 3339 times, most of which are in the same second as the one before.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<i64>,
    /// `2026-11-22T10:15:30`.
    text: String,
}

impl Clock {
    fn write(&mut self, out: &mut Vec<u8>, micros: i64) {
        let second = micros.div_euclid(1_000_000);
        if self.second != Some(second) {
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            self.text = time.to_string();
            self.text.truncate("2026-11-22T10:15:30".len());
            self.second = Some(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        write::padded::<6>(out, micros.rem_euclid(1_000_000).unsigned_abs());
        out.push(b'Z');
    }
}

fn asked(
    out: &mut Vec<u8>,
    spoken: Spoken,
    (remote, client): (IpAddr, Option<IpAddr>),
    protocol: Option<&str>,
    request: Option<&Request<'_>>,
) {
    let scheme: &[u8] = if spoken.is_secure { b"https" } else { b"http" };
    write::all(out, [b",\"scheme\":\"", scheme, b"\",\"remote\":\""]);
    write::address(out, remote);
    out.push(b'"');
    if let Some(client) = client {
        out.extend_from_slice(b",\"client\":\"");
        write::address(out, client);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"protocol\":");
    word(out, protocol);
    let Some(request) = request else {
        out.extend_from_slice(b",\"method\":null,\"host\":null,\"path\":null,\"user_agent\":null");
        return;
    };
    out.extend_from_slice(b",\"method\":");
    plain(out, request.method.as_bytes());
    match request.authority {
        Some(authority) => {
            out.extend_from_slice(b",\"host\":");
            plain(out, authority.text.as_bytes());
        }
        None => out.extend_from_slice(b",\"host\":null"),
    }
    out.extend_from_slice(b",\"path\":");
    text(out, request.target.as_bytes(), LONGEST_TARGET);
    match request.fields.named(Name::UserAgent).next() {
        Some(agent) => {
            out.extend_from_slice(b",\"user_agent\":");
            text(out, agent.value, LONGEST_TEXT);
        }
        None => out.extend_from_slice(b",\"user_agent\":null"),
    }
}

/// Writes a word of ours, or null.
fn word(out: &mut Vec<u8>, word: Option<&str>) {
    match word {
        Some(word) => plain(out, word.as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
}

fn milliseconds(out: &mut Vec<u8>, time: std::time::Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    write::decimal(out, micros / 1000);
    out.push(b'.');
    write::padded::<3>(out, micros);
}

/// Writes a JSON string that needs no escaping: a token, a host, an id, a name of ours. All were checked before.
fn plain(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.iter().all(|b| is_plain(*b)), "{bytes:?}");
    write::all(out, [b"\"", &bytes[..bytes.len().min(LONGEST_TEXT)], b"\""]);
}

fn is_plain(b: u8) -> bool {
    (b' '..=b'~').contains(&b) & (b != b'"') & (b != b'\\')
}

/// Writes a JSON string of any bytes, those outside plain ASCII as `\u00XX`. It takes at most `most` bytes and the
/// quotes.
fn text(out: &mut Vec<u8>, bytes: &[u8], most: usize) {
    out.push(b'"');
    // Without an early end, so that the compiler looks at many bytes at once.
    if bytes.iter().fold(true, |all, b| all & is_plain(*b)) {
        out.extend_from_slice(&bytes[..bytes.len().min(most)]);
    } else {
        escaped(out, bytes, most);
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let end = out.len() + most;
    for byte in bytes {
        let odd = !matches!(byte, b' '..=b'~');
        let length = match byte {
            _ if odd => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        if out.len() + length > end {
            return;
        }
        let _ = match byte {
            byte if odd => write!(out, "\\u{byte:04x}"),
            b'"' | b'\\' => out.write_all(&[b'\\', *byte]),
            plain => out.write_all(&[*plain]),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::front::http::parse;

    fn line(notes: &Notes) -> Value {
        let mut out = Vec::new();
        notes.write(&mut out, &mut Clock::default(), b"id-1", Instant::now());
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(out.iter().all(|b| matches!(b, b' '..=b'~')));
        serde_json::from_slice(&out).unwrap()
    }

    fn notes_of(head: &str) -> Notes {
        let request = parse::request(head.as_bytes(), 100).unwrap();
        let spoken = Spoken {
            is_secure: true,
            is_http2: false,
        };
        Notes::of(Vec::new(), ([127, 0, 0, 1].into(), None), spoken, &request)
    }

    #[test]
    fn a_line_says_who_asked_for_what_and_what_became_of_it() {
        let notes = notes_of("GET /a?b=\"c HTTP/1.1\r\nHost: blog:80\r\nUser-Agent: x\ty\r\n\r\n");
        notes.asks(&"web.1".into(), 3);
        notes.again();
        notes.answers(200);
        notes.carried(5, 7);
        let line = line(&notes);
        for (name, value) in [
            ("request_id", "id-1".into()),
            ("app", Value::Null),
            ("process", "web.1".into()),
            ("release", 3.into()),
            ("rule", Value::Null),
            ("scheme", "https".into()),
            ("remote", "127.0.0.1".into()),
            ("protocol", "HTTP/1.1".into()),
            ("method", "GET".into()),
            ("host", "blog:80".into()),
            ("path", "/a?b=\"c".into()),
            ("user_agent", "x\ty".into()),
            ("status", 200.into()),
            ("code", Value::Null),
            ("bytes_in", 5.into()),
            ("bytes_out", 7.into()),
            ("retries", 1.into()),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        assert!(line["first_byte_ms"].as_f64() <= line["total_ms"].as_f64());
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        assert!(time.duration_until(jiff::Timestamp::now()).as_secs() < 60);
    }

    #[test]
    fn what_could_not_be_read_has_a_line_too() {
        let spoken = Spoken {
            is_secure: true,
            is_http2: true,
        };
        let notes = Notes::unread(Vec::new(), [127, 0, 0, 1].into(), spoken);
        notes.fails(&LocalReply::slow_client(), 9);
        let line = line(&notes);
        assert_eq!(line["method"], Value::Null);
        assert_eq!(line["protocol"], "HTTP/2.0");
        assert_eq!(
            (&line["status"], &line["code"]),
            (&408.into(), &"H28".into())
        );
    }

    #[test]
    fn a_client_that_went_away_is_noted_as_nginx_does() {
        let notes = notes_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        notes.client_gone();
        let gone = line(&notes);
        assert_eq!(
            (&gone["status"], &gone["code"]),
            (&499.into(), &"H27".into())
        );
        notes.answers(200);
        notes.client_gone();
        assert_eq!(line(&notes)["status"], 200);
    }

    #[test]
    fn seconds_are_kept_and_microseconds_written() {
        let (mut clock, mut out) = (Clock::default(), Vec::new());
        for micros in [1_000_001, 1_999_999, 2_000_000] {
            clock.write(&mut out, micros);
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:01.000001Z1970-01-01T00:00:01.999999Z1970-01-01T00:00:02.000000Z"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_bounded_json_string_on_one_line(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            most in 0usize..200,
        ) {
            let mut out = Vec::new();
            text(&mut out, &bytes, most);
            prop_assert!(out.len() <= most + 2);
            let read: String = serde_json::from_slice(&out).unwrap();
            // Each byte is the character of the same number.
            let back: Vec<u8> = read.chars().map(|c| u8::try_from(c).unwrap()).collect();
            prop_assert!(bytes.starts_with(&back));
            prop_assert!(back.len() == bytes.len() || out.len() + 6 > most);
        }
    }
}
