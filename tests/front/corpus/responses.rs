//! Responses of hostile apps: what the client receives, and that nothing of them is left for the next request.

use std::io::{BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;

use super::super::fixture::{Client, Fixture, route};
use super::super::origin::{Conn, Origin};
use super::{Bytes, report, table, to_text, whole_request};

/// What is asked behind each case, and its answer.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const NEXT_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext";

fn plain_get() -> Bytes {
    Bytes::Text("GET /case HTTP/1.1\r\nHost: a\r\n\r\n".into())
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default = "plain_get")]
    send: Bytes,
    /// What the app answers to the request.
    answer: Bytes,
    /// The app closes behind it.
    #[serde(default)]
    closes: bool,
    /// What the client gets, without `X-Request-ID` and the Date behind it; an error of the proxy is its status and code.
    client: Bytes,
    /// The client's connection takes the next request. Not said: it does, unless the app broke off.
    #[serde(default = "yes")]
    kept: bool,
}

fn yes() -> bool {
    true
}

type Present = Arc<Mutex<(Vec<u8>, bool)>>;

fn serve(conn: &Conn, present: &Present) {
    let mut stream = &conn.stream;
    let mut reader = BufReader::new(&conn.stream);
    while let Some(request) = whole_request(&mut reader) {
        if request.contains(" /next ") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
            continue;
        }
        let (answer, closes) = present.lock().unwrap().clone();
        let _ = stream.write_all(&answer);
        if closes {
            let _ = stream.shutdown(Shutdown::Write);
            break;
        }
    }
    // Until the proxy closed too, so that what was written is not lost to a reset.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Without the id, and the Date that is added behind it.
fn without_id(text: &str) -> String {
    let mut behind_id = false;
    let of_app = |line: &&str| {
        let is_id = line.starts_with("X-Request-ID: ");
        let is_date = behind_id && line.starts_with("Date: ");
        behind_id = is_id;
        !is_id && !is_date
    };
    text.split_inclusive('\n').filter(of_app).collect()
}

/// An error page of the proxy becomes its status and code.
fn shorten(text: String) -> String {
    let Some((_, problem)) = text.split_once("application/problem+json") else {
        return text;
    };
    let code = problem
        .split_once("\"code\":\"")
        .map_or("", |(_, c)| &c[..3]);
    format!("{} {code}", text.get(9..12).unwrap_or(""))
}

fn ask(mut client: Client, bytes: &[u8]) -> String {
    client.send_bytes(bytes);
    let mut came = Vec::new();
    let _ = client.stream.read_to_end(&mut came);
    without_id(&to_text(&came))
}

fn run(case: &Case, front: &Fixture, present: &Present) -> Result<(), String> {
    *present.lock().unwrap() = (case.answer.get(), case.closes);
    let mut bytes = case.send.get();
    bytes.extend_from_slice(NEXT);
    let came = ask(front.connect(), &bytes);
    let (first, kept) = match came.strip_suffix(NEXT_ANSWER) {
        Some(first) => (first.to_owned(), true),
        None => (came, false),
    };
    let (first, expected) = (shorten(first), to_text(&case.client.get()));
    if (&first, kept) != (&expected, case.kept) {
        return Err(format!(
            "{first:?} (kept: {kept}), not {expected:?} (kept: {})",
            case.kept
        ));
    }
    let next = ask(front.connect(), NEXT);
    if next != NEXT_ANSWER {
        return Err(format!("the next request got {next:?}"));
    }
    Ok(())
}

fn fixture() -> (Fixture, Origin, Present) {
    let present = Present::default();
    let shared = Arc::clone(&present);
    let origin = Origin::start(move |conn| serve(conn, &shared));
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.response = Duration::from_secs(2);
        s.timeouts.idle = Duration::from_secs(2);
    });
    (front, origin, present)
}

#[test]
fn responses_are_passed_on_or_refused_as_the_table_says() {
    let cases: Vec<Case> = table(include_str!("../../conformance/responses.json"), 150);
    let (front, _origin, present) = fixture();
    let check = |case: &Case| {
        let failure = run(case, &front, &present).err()?;
        Some(format!("- {}: {failure}", case.name))
    };
    report(&cases.iter().filter_map(check).collect::<Vec<_>>());
}

/// Whether a client would take `came` for a whole response with the body `abc`.
fn looks_complete(came: &str) -> bool {
    let Some((head, body)) = came.split_once("\r\n\r\n") else {
        return false;
    };
    if head.contains("Transfer-Encoding: chunked") {
        return body.ends_with("0\r\n\r\n") || body.contains("0\r\nX: y\r\n\r\n");
    }
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("Content-Length: "));
    length.is_some_and(|l| l.parse() == Ok(body.len()))
}

#[test]
fn an_app_that_closes_or_resets_after_any_byte_never_looks_complete() {
    let (front, _origin, present) = fixture();
    let closing = b"GET /case HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut failures = Vec::new();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        for cut in 0..answer.len() {
            *present.lock().unwrap() = (answer.as_bytes()[..cut].to_vec(), true);
            let came = ask(front.connect(), closing);
            let came = came
                .split_once("HTTP/1.1 103")
                .map_or(came.as_str(), |(_, rest)| rest);
            let told = came.contains("HTTP/1.1 502 ");
            if !told && looks_complete(came) {
                failures.push(format!("- {answer:?} cut at {cut}: {came:?}"));
            }
            let next = ask(front.connect(), NEXT);
            if next != NEXT_ANSWER {
                failures.push(format!("- behind {answer:?} cut at {cut}: {next:?}"));
            }
        }
    }
    report(&failures);
}

#[test]
fn a_response_in_any_two_pieces_is_the_same() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n";
    let origin = Origin::start(|conn| {
        let stream = conn.stream.try_clone().unwrap();
        let mut reader = BufReader::new(&stream);
        while let Some(request) = whole_request(&mut reader) {
            let cut = request[5..].split(' ').next().unwrap().parse().unwrap();
            let (first, second) = ANSWER.split_at(cut);
            conn.send(first);
            // Long enough that the pieces are read one by one nearly always; the promise holds anyway.
            std::thread::park_timeout(Duration::from_millis(2));
            conn.send(second);
        }
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    // Within the payload a chunk would become two.
    let payload = ANSWER.find("abc").unwrap();
    for cut in (0..ANSWER.len()).filter(|cut| !(payload + 1..payload + 3).contains(cut)) {
        client.send(&format!(
            "GET /{cut} HTTP/1.1\r\nHost: a\r\nX-Request-ID: i\r\n\r\n"
        ));
        client.expect(
            "HTTP/1.1 200 OK\r\nDate: d\r\nX-Request-ID: i\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        );
    }
}
