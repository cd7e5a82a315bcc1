//! Requests, the good and the bad: what the client is answered and what the app gets.

use std::io::{BufReader, Read as _, Write as _};

use serde::Deserialize;

use super::super::fixture::{Fixture, route};
use super::super::origin::{Conn, Origin};
use super::{Bytes, report, table, to_text, whole_request};

/// What is sent behind a case that leaves the connection open: its answer shows that nothing was left over.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n";

#[derive(Deserialize)]
struct Case {
    name: String,
    send: Bytes,
    /// The statuses of all answers, in order.
    answers: Vec<u16>,
    /// The connection is kept. Not said: it is, unless the last answer is an error.
    kept: Option<bool>,
    /// The requests as the app got them, without the fields that every request gets.
    got: Option<Vec<Bytes>>,
    /// What no request that the app got contains.
    #[serde(default)]
    lacks: Vec<String>,
    /// What each of them contains.
    #[serde(default)]
    has: Vec<String>,
}

fn serve(conn: &mut Conn) {
    let stream = conn.stream.try_clone().unwrap();
    let mut reader = BufReader::new(&stream);
    while let Some(request) = whole_request(&mut reader) {
        conn.record(&request);
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let length = target.len();
        let body = if method == "HEAD" { "" } else { target };
        conn.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

/// The statuses of the responses in `bytes`. No body here begins as a response does, so that HEAD needs no care.
fn statuses(mut bytes: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some((head, rest)) = bytes.split_once("\r\n\r\n") {
        statuses.push(head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0));
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |l| l.parse().unwrap());
        bytes = match rest.starts_with("HTTP/1.1 ") {
            true => rest,
            false => rest.get(length..).unwrap_or(""),
        };
    }
    statuses
}

/// A request without the fields that every request gets; those with a wrong value stay.
fn without_own_fields(request: &str) -> String {
    let own = |line: &&str| {
        matches!(
            *line,
            "Via: 1.1 procserver\r\n"
                | "Via: 1.0 procserver\r\n"
                | "X-Forwarded-For: 127.0.0.1\r\n"
                | "X-Forwarded-Proto: http\r\n"
                | "X-Real-IP: 127.0.0.1\r\n"
        ) || [
            "X-Forwarded-Host: ",
            "X-Forwarded-Port: ",
            "X-Request-ID: ",
            "X-Request-Start: t=",
        ]
        .iter()
        .any(|name| line.starts_with(name))
    };
    request.split_inclusive('\n').filter(|l| !own(l)).collect()
}

fn run(case: &Case, front: &Fixture, origin: &Origin) -> Result<(), String> {
    let kept = case.kept.unwrap_or(case.answers.last() < Some(&400));
    let mut client = front.connect();
    // A server that refused may have closed before it was sent everything.
    let mut sending = client.stream.try_clone().unwrap();
    let mut bytes = case.send.get();
    if kept {
        bytes.extend_from_slice(LAST);
    }
    let sender = std::thread::spawn(move || drop(sending.write_all(&bytes)));
    let mut came = Vec::new();
    let _ = client.stream.read_to_end(&mut came);
    sender.join().unwrap();
    drop(client);
    let came = to_text(&came);
    let mut expected = case.answers.clone();
    expected.extend(kept.then_some(200));
    let answers = statuses(&came);
    if answers != expected {
        return Err(format!("answers {answers:?}, not {expected:?}: {came}"));
    }
    let says_close = came
        .rsplit("HTTP/1.1 ")
        .next()
        .unwrap()
        .contains("Connection: close\r\n");
    if !says_close || kept && !came.ends_with("/last") {
        return Err(format!("it does not end as it should: {came}"));
    }
    check_received(case, &all_received(origin))
}

/// What came since the last case: a request that should not be there is there by now, or fails the next one.
fn all_received(origin: &Origin) -> Vec<String> {
    let mut got = Vec::new();
    while let Some(request) = origin.next_received() {
        if !request.starts_with("GET /last ") {
            got.push(request);
        }
    }
    got
}

fn check_received(case: &Case, got: &[String]) -> Result<(), String> {
    let answered = case.answers.iter().filter(|s| **s == 200).count();
    if got.len() != answered {
        return Err(format!("the app got {got:#?}"));
    }
    if let Some(expected) = &case.got {
        let own: Vec<String> = got.iter().map(|g| without_own_fields(g)).collect();
        let expected: Vec<String> = expected.iter().map(|e| to_text(&e.get())).collect();
        if own != expected {
            return Err(format!("the app got {own:#?}, not {expected:#?}"));
        }
    }
    for request in got {
        if let Some(part) = case.lacks.iter().find(|p| request.contains(*p)) {
            return Err(format!("{part:?} in {request}"));
        }
        if let Some(part) = case.has.iter().find(|p| !request.contains(*p)) {
            return Err(format!("no {part:?} in {request}"));
        }
    }
    Ok(())
}

#[test]
fn requests_are_refused_or_forwarded_as_the_table_says() {
    let cases: Vec<Case> = table(include_str!("../../conformance/requests.json"), 250);
    let origin = Origin::start(serve);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.head = std::time::Duration::from_secs(2);
        s.timeouts.idle = std::time::Duration::from_secs(2);
    });
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let failure = run(case, &front, &origin).err()?;
            Some(format!("- {}: {failure}", case.name))
        })
        .collect();
    report(&failures);
}

/// What is sent to an app, read as simply and as strictly as can be: the lines of the head end with CRLF and hold no
/// other control byte, every name is a token, and one Host and at most one framing field say the same to everybody.
fn is_unambiguous(head: &str) -> Result<(), String> {
    let lines: Vec<&str> = head.split("\r\n").collect();
    let [request, fields @ .., "", ""] = &lines[..] else {
        return Err("it does not end with one blank line".into());
    };
    let words: Vec<&str> = request.split(' ').collect();
    if words.len() != 3 || words[2] != "HTTP/1.1" || !words[1].starts_with(['/', '*']) {
        return Err(format!("the request line {request:?}"));
    }
    let mut names = Vec::new();
    for line in fields {
        let (name, value) = line.split_once(": ").ok_or(format!("the line {line:?}"))?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty()
            || !name.chars().all(is_token)
            || value.contains(|c| c < ' ' && c != '\t')
        {
            return Err(format!("the field {line:?}"));
        }
        names.push(name.to_ascii_lowercase().replace('_', "-"));
        let sound = match names.last().unwrap().as_str() {
            "transfer-encoding" => value == "chunked",
            "content-length" => value.parse::<u64>().is_ok_and(|n| n.to_string() == value),
            "connection" => ["TE", "Upgrade"].contains(&value),
            "x-app" | "keep-alive" | "proxy-connection" | "http2-settings" | "proxy" => false,
            name => !name.starts_with("x-forwarded-") || !value.contains("evil"),
        };
        if !sound {
            return Err(format!("the field {line:?}"));
        }
    }
    let count = |name: &str| names.iter().filter(|n| *n == name).count();
    let framed = count("transfer-encoding") + count("content-length");
    let ours = [
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-request-id",
    ];
    match ours.iter().find(|name| count(name) != 1) {
        Some(name) => Err(format!("{} of {name}", count(name))),
        None if framed > 1 => Err("it is framed twice".into()),
        None => Ok(()),
    }
}

#[test]
fn whatever_is_changed_in_a_request_it_is_refused_or_sent_on_unambiguously() {
    use procserver::front::http::forwarded;
    use procserver::front::http::head_end;
    use procserver::front::http::parse;

    let cases: Vec<Case> = table(include_str!("../../conformance/requests.json"), 250);
    let context = forwarded::Context {
        peer: [127, 0, 0, 1].into(),
        local: ([127, 0, 0, 1], 80).into(),
        secure: false,
        http2: false,
        trusted: false,
        networks: &[],
        request_id: b"i",
        arrived: 1_700_000_000_123,
        strip: 0,
        withheld: None,
        user: None,
        cookie: None,
        trace: None,
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let mut failures = Vec::new();
    let (mut accepted, interesting) = (0, b"\r\n\t :,;_-\0\x0b\x7f\xa00x");
    for seed in cases.iter().map(|c| c.send.get()).filter(|s| s.len() < 300) {
        for turn in 0..40 {
            let mut bytes = seed.clone();
            let at = next(bytes.len());
            let byte = interesting[next(interesting.len())];
            match turn % 4 {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 0x20,
            }
            let Ok(Some(end)) = head_end::find_end(&bytes, 0) else {
                continue;
            };
            let Ok(request) = parse::request(&bytes[..end], 100) else {
                continue;
            };
            accepted += 1;
            let mut sent = Vec::new();
            forwarded::request(&mut sent, &request, &context);
            if let Err(why) = is_unambiguous(&to_text(&sent)) {
                failures.push(format!("- {why}: {:?}", to_text(&bytes)));
            }
        }
    }
    assert!(accepted > 1000, "{accepted} were no requests");
    report(&failures);
}
