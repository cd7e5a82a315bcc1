//! What comes back: responses, good and bad.

use std::io::Read as _;
use std::sync::mpsc;
use std::time::Duration;

use procserver::router::table::Route;

use super::fixture::{Fixture, OK, passing, route, until};
use super::origin::{Origin, read_message};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_1_0: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";

pub(super) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn all_kinds_of_bodies_arrive_whole_for_both_versions() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::answering(chunked);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(GET);
    let head = client.head();
    assert!(
        head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Connection"),
        "{head}"
    );
    client.expect("2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n");
    let old = front.talk(GET_1_0);
    assert!(
        !old.contains("chunked") && old.contains("Connection: close") && body(&old) == "abc",
        "{old}"
    );

    let origin = Origin::answering_once("HTTP/1.1 200 OK\r\n\r\nabc");
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(GET);
    assert_eq!(body(&client.response()), "3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(body(&front.talk(GET_1_0)), "abc");
}

#[test]
fn no_body_for_head_204_and_304_whatever_the_fields_say() {
    for (response, request, length) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            GET,
            true,
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            GET,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            false,
        ),
    ] {
        let origin = Origin::answering(response);
        let front = Fixture::before(&origin);
        let mut client = front.connect();
        for _ in 0..2 {
            client.send(request);
            let head = client.head();
            assert!(head.starts_with(&response[..12]), "{head}");
            assert_eq!(head.contains("Content-Length: 5\r\n"), length, "{head}");
        }
    }
}

#[test]
fn a_backend_that_dies_in_the_body_never_looks_complete() {
    let origin = Origin::answering_once(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde",
    );
    let front = Fixture::before(&origin);
    let got = front.talk(GET);
    assert!(
        got.contains("3\r\nabc\r\n") && got.contains("de") && !got.contains("0\r\n\r\n"),
        "{got}"
    );

    let origin = Origin::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let front = Fixture::before(&origin);
    let got = front.talk(GET);
    assert!(
        got.contains("Content-Length: 9\r\n") && body(&got) == "abc",
        "{got}"
    );

    let origin = Origin::answering_once(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n",
    );
    let front = Fixture::before(&origin);
    let got = front.talk(GET);
    assert!(
        got.contains("3\r\nabc\r\n") && !got.contains("0\r\n\r\n"),
        "{got}"
    );
}

#[test]
fn no_response_a_bad_one_and_a_late_one_are_told_apart() {
    for (response, status, code) in [
        ("", "502", "H13"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "502", "H13"),
        ("garbage\r\n\r\n", "502", "H17"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "502", "H17"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "502",
            "H17",
        ),
        (
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "502",
            "H17",
        ),
    ] {
        let origin = Origin::answering_once(response);
        let front = Fixture::before(&origin);
        let mut client = front.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
        let answer = client.response();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response:?} got {answer}"
        );
        assert!(
            answer.contains(code) && answer.contains("<h1>"),
            "{response:?} got {answer}"
        );
    }
    let origin = Origin::start(|conn| {
        conn.request();
        conn.record_rest();
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.response = Duration::from_millis(100);
    });
    let mut client = front.connect();
    client.send(GET);
    let answer = client.response();
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && answer.contains("\"code\":\"H12\""),
        "{answer}"
    );
    origin.received();
    assert_eq!(
        origin.received(),
        "rest: ",
        "the backend's connection is closed"
    );
}

#[test]
fn a_final_response_during_the_upload_reaches_the_client() {
    let origin = Origin::start(|conn| {
        super::origin::read_message(&mut conn.stream, true);
        conn.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
        let _ = conn.stream.read(&mut [0; 1]);
    });
    let front = Fixture::new(vec![passing("blog", &[&origin])]);
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\nabc");
    let answer = client.response();
    assert!(
        answer.contains("413") && answer.contains("Connection: close") && answer.ends_with("big"),
        "{answer}"
    );
    client.send(&"x".repeat(100_000));
    client.close_sending();
    assert_eq!(client.rest(), "");
}

#[test]
fn pieces_are_passed_on_as_they_come() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for n in 0..3 {
            conn.send(&format!("8\r\ndata: {n}\n\r\n"));
            wait.lock()
                .unwrap()
                .recv_timeout(Duration::from_secs(10))
                .unwrap();
        }
        conn.send("0\r\n\r\n");
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(GET);
    client.head();
    for n in 0..3 {
        client.expect(&format!("8\r\ndata: {n}\n\r\n"));
        go.send(()).unwrap();
    }
    client.expect("0\r\n\r\n");
}

#[test]
fn a_large_response_is_whole_and_a_slow_reader_stops_the_backend() {
    is_passed_on_at_the_readers_speed(passing, "");
}

#[test]
fn what_streams_is_passed_on_at_the_readers_speed() {
    is_passed_on_at_the_readers_speed(route, "X-Accel-Buffering: no\r\n");
    let events = "content-type: Text/Event-Stream; charset=utf-8\r\n";
    is_passed_on_at_the_readers_speed(route, events);
}

fn is_passed_on_at_the_readers_speed(route: fn(&str, &[&Origin]) -> Route, fields: &'static str) {
    let (sent, written) = (
        std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)),
        64 << 20,
    );
    let count = sent.clone();
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send(&format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: {written}\r\n\r\n"
        ));
        let piece = "x".repeat(1 << 16);
        for _ in 0..written >> 16 {
            conn.send(&piece);
            count.fetch_add(1 << 16, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let front = Fixture::new(vec![route("blog", &[&origin])]);
    let mut client = front.connect();
    client.send(GET);
    let head = client.head();
    assert!(head.contains("Content-Length: 67108864\r\n"), "{head}");
    let now = || sent.load(std::sync::atomic::Ordering::SeqCst);
    // The backend waits for the reader: two looks, a while apart, see the same.
    let stands_still = || {
        let before = now();
        std::thread::park_timeout(Duration::from_millis(200));
        before > 0 && before == now()
    };
    until("the backend waits for the reader", stands_still);
    assert!(now() < written, "it did not all go into memory");
    let mut read = 0;
    let mut space = vec![0; 1 << 16];
    while read < written {
        let n = client.stream.read(&mut space).unwrap();
        assert!(n > 0, "complete after {read}");
        read += n;
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_and_lets_the_backend_go() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        conn.stream.set_write_timeout(None).unwrap();
        let piece = "x".repeat(1 << 16);
        while std::io::Write::write_all(&mut conn.stream, piece.as_bytes()).is_ok() {}
        conn.record("let go");
    });
    let front = Fixture::tuned(vec![passing("blog", &[&origin])], |settings| {
        settings.timeouts.idle = Duration::from_millis(300);
    });
    let mut client = front.connect();
    client.send(GET);
    client.head();
    assert!(origin.received().starts_with("GET "));
    assert_eq!(origin.received(), "let go");
    let rest = client.rest();
    assert!(rest.len() < 1 << 30, "it was cut off: {}", rest.len());
}

#[test]
fn a_client_that_goes_away_closes_the_backend_connection_at_once() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.record_rest();
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(GET);
    origin.received();
    drop(client);
    assert_eq!(origin.received(), "rest: ");
}

#[test]
fn a_kept_connection_that_shows_bytes_is_dropped() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(OK);
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            conn.record("evil");
        }
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    for _ in 0..5 {
        client.send(GET);
        assert_eq!(body(&client.response()), "ok");
        assert!(origin.received().starts_with("GET "));
        assert_eq!(origin.received(), "evil");
    }
}

#[test]
fn response_fields_keep_their_order_and_lines() {
    let origin = Origin::answering(
        "HTTP/1.1 200 Very Fine\r\nB: 1\r\nDate: d\r\nSet-Cookie: a\r\nConnection: X-Hop\r\nX-Hop: 1\r\nset-cookie: b\r\nKeep-Alive: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: i\r\n\r\n");
    assert_eq!(
        client.response(),
        "HTTP/1.1 200 Very Fine\r\nB: 1\r\nDate: d\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\nX-Request-ID: i\r\n\r\n"
    );
}

#[test]
fn an_app_that_reads_no_body_stops_the_client_and_memory_stays_bounded() {
    use std::io::Write as _;

    let origin = Origin::start(|conn| {
        super::origin::read_message(&mut conn.stream, true);
        conn.record("has the head");
        std::thread::park_timeout(super::origin::PATIENCE);
    });
    let front = Fixture::tuned(vec![passing("blog", &[&origin])], |s| {
        s.limits.body = 1 << 30;
    });
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    origin.received();
    // What is written is in the kernel's buffers or in the proxy's, until none of them takes more.
    let stalled = Some(Duration::from_millis(500));
    client.stream.set_write_timeout(stalled).unwrap();
    let piece = vec![b'x'; 1 << 16];
    let mut written = 0;
    while let Ok(count) = client.stream.write(&piece) {
        written += count;
        assert!(written < 64 << 20, "it does not stop");
    }
}

#[test]
fn a_head_that_trickles_must_be_whole_in_time() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nX: ");
        while std::io::Write::write_all(&mut conn.stream, b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.response = Duration::from_millis(500);
        s.timeouts.idle = Duration::from_millis(500);
    });
    let trickling_body = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    for request in [GET, GET_1_0, trickling_body] {
        let mut client = front.connect();
        client.send(request);
        let answer = client.response();
        assert!(
            answer.starts_with("HTTP/1.1 504 ") && answer.contains("\"code\":\"H12\""),
            "{request:?}: {answer}"
        );
    }
}

#[test]
fn a_body_that_comes_late_where_none_may_be_is_no_answer_to_the_next_request() {
    for (request, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n",
        ),
    ] {
        let origin = Origin::start(move |conn| {
            while let Some(request) = conn.request() {
                if request.contains(" /next ") {
                    conn.send(OK);
                } else {
                    conn.send(head);
                    std::thread::park_timeout(Duration::from_millis(20));
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                }
            }
        });
        let front = Fixture::before(&origin);
        let mut client = front.connect();
        client.send(&format!(
            "{request} / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        assert!(client.head().starts_with(&head[..12]), "{request} {head}");
        assert_eq!(body(&client.response()), "ok", "{request} {head}");
    }
}

#[test]
fn a_response_without_a_date_gets_one_and_no_other_does() {
    for (answer, dates) in [
        (OK, 1),
        ("HTTP/1.1 304 X\r\n\r\n", 1),
        ("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 200 X\r\ndate: d\r\nContent-Length: 0\r\n\r\n", 0),
        (
            "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 X\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
            0,
        ),
    ] {
        let origin = Origin::answering(answer);
        let front = Fixture::before(&origin);
        let got = front.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let added: Vec<&str> = got
            .lines()
            .filter_map(|line| line.strip_prefix("Date: "))
            .filter(|date| *date != "d")
            .collect();
        assert_eq!(added.len(), dates, "{got}");
        for date in added {
            let date = date.strip_suffix(" GMT").unwrap();
            let format = "%a, %d %b %Y %H:%M:%S";
            assert!(
                jiff::civil::DateTime::strptime(format, date).is_ok(),
                "{got}"
            );
        }
    }
}

#[test]
fn a_client_that_sends_its_whole_body_first_sees_an_early_answer() {
    let origin = Origin::start(|conn| {
        read_message(&mut conn.stream, true);
        conn.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        conn.record_rest();
    });
    // More than the buffers of both ends take.
    let body = vec![b'x'; 16 << 20];
    for (limit, status) in [(1 << 20, "413"), (1 << 30, "403")] {
        let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| s.limits.body = limit);
        let mut client = front.connect();
        let length = body.len();
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.send_bytes(&body);
        let answer = client.response();
        assert_eq!(answer.get(9..12), Some(status), "{answer}");
        client.ends_well();
    }
}
