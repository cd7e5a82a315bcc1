//! What comes in: requests, good and bad.

use std::time::Duration;

use super::fixture::{Fixture, OK, path_route, route};
use super::origin::Origin;

fn status(response: &str) -> &str {
    response.get(9..12).unwrap_or("none")
}

#[test]
fn malformed_requests_are_refused_closed_and_never_reach_an_app() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: a\n\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n", "400"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTX/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}", "400"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", "417"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n",
            "413",
        ),
    ] {
        let answer = front.talk(request);
        assert_eq!(status(&answer), expected, "{request:?} got {answer}");
        assert!(
            answer.contains("Connection: close\r\n"),
            "{request:?} got {answer}"
        );
        assert!(
            answer.contains("X-Request-ID: "),
            "{request:?} got {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "one answer to {request:?}"
        );
    }
    assert!(origin.received_nothing());
}

#[test]
fn a_refused_head_request_is_answered_without_a_body() {
    let front = Fixture::tuned(Vec::new(), |s| {
        s.timeouts.head = Duration::from_millis(50);
    });
    for request in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nslow",
        "HEAD / HTTP/1.1\nHost: a\n\n",
        "HEAD / HTTP/9.9\r\n\r\n",
    ] {
        let answer = front.talk(request);
        assert!(answer.starts_with("HTTP/1.1 "), "{request:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{request:?}: {answer}");
    }
}

#[test]
fn a_bad_chunk_is_refused_and_the_app_never_sees_a_complete_body() {
    for bad in [
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let origin = Origin::start(|conn| {
            conn.request();
        });
        let front = Fixture::before(&origin);
        let answer = front.talk(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        assert_eq!(status(&answer), "400", "{bad:?} got {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1);
        drop(front);
        if let Some(got) = (!origin.received_nothing()).then(|| origin.received()) {
            assert!(!got.ends_with("0\r\n\r\n"), "{got}");
        }
    }
}

#[test]
fn heads_and_targets_beyond_the_limits_are_refused() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(17_000));
    assert_eq!(status(&front.talk(&target)), "414");
    let endless = format!("GET /{}", "a".repeat(17_000));
    assert_eq!(status(&front.talk(&endless)), "414");
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "a".repeat(33_000)
    );
    assert_eq!(status(&front.talk(&large)), "431");
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    assert_eq!(status(&front.talk(&many)), "431");
    let chunk = "8000\r\n".to_owned() + &"a".repeat(0x8000) + "\r\n";
    let body = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(33)
    );
    assert_eq!(status(&front.talk(&body)), "413");
    let fits = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n",
        "a".repeat(30_000)
    );
    assert_eq!(status(&front.talk(&fits)), "200");
}

#[test]
fn slow_heads_are_cut_off_also_the_second_on_a_connection() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.head = Duration::from_millis(100);
    });
    assert_eq!(status(&front.talk("GET / HTTP/1.1\r\nHost:")), "408");
    let mut client = front.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    client.send("GET /");
    assert_eq!(status(&client.rest()), "408");
    assert_eq!(
        front.talk(""),
        "",
        "without a byte there is nothing to answer"
    );
}

#[test]
fn a_body_that_stops_is_answered_408() {
    let origin = Origin::start(|conn| {
        conn.request();
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.idle = Duration::from_millis(100);
    });
    assert_eq!(
        status(&front.talk("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")),
        "408"
    );
}

#[test]
fn a_body_that_trickles_is_cut_off_although_it_never_stops() {
    let origin = Origin::start(|conn| {
        conn.request();
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.idle = Duration::from_millis(200);
    });
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let mut trickle = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        while std::io::Write::write_all(&mut trickle, b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(40));
        }
    });
    assert_eq!(status(&client.response()), "408");
    client.close_sending();
    sender.join().unwrap();
}

#[test]
fn pipelined_requests_are_answered_in_order_head_after_get_included() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let path = request.split(' ').nth(1).unwrap_or("").to_owned();
            let body = if request.starts_with("HEAD") {
                ""
            } else {
                &path
            };
            conn.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                path.len()
            ));
        }
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(
        "\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /22 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(client.response().ends_with("\r\n\r\n/1"));
    let head = client.head();
    assert!(
        head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(client.response().ends_with("\r\n\r\n/3"));
    assert!(client.response().ends_with("\r\n\r\n/4"));
}

#[test]
fn every_request_of_a_connection_is_routed_anew() {
    let (one, two) = (Origin::answering(OK), Origin::answering(OK));
    let front = Fixture::new(vec![path_route("one", &one), path_route("two", &two)]);
    let mut client = front.connect();
    client.send("GET /one/a?b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    client.send("GET /two/ HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX-App: one\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    client.send("GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(status(&client.response()), "404");
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX-App: none\r\n\r\n");
    assert_eq!(status(&client.response()), "404");
    let first = one.received();
    assert!(
        first.starts_with("GET /a?b HTTP/1.1\r\n")
            && first.contains("X-Forwarded-Prefix: /one\r\n"),
        "{first}"
    );
    assert!(two.received().starts_with("GET / HTTP/1.1\r\n"));
    let by_name = one.received();
    assert!(
        !by_name.contains("X-App") && !by_name.contains("Prefix"),
        "{by_name}"
    );
}

#[test]
fn a_path_that_resolves_elsewhere_reaches_no_app() {
    let (one, two) = (Origin::answering(OK), Origin::answering(OK));
    let front = Fixture::new(vec![path_route("one", &one), path_route("two", &two)]);
    for path in [
        "/one/../two",
        "//two",
        "/one%2F..%2Ftwo",
        "/one/%2e%2e/two",
        "/./two",
        "/one/..%2ftwo/",
    ] {
        let answer = front.talk(&format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(status(&answer), "404", "{path}");
    }
    assert!(one.received_nothing() && two.received_nothing());
}

#[test]
fn http_1_0_works_with_and_without_keep_alive() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let plain = front.talk("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(
        plain.contains("Connection: close\r\n") && plain.ends_with("ok"),
        "{plain}"
    );
    let mut client = front.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let kept = client.response();
        assert!(
            kept.contains("Connection: keep-alive\r\n") && kept.ends_with("ok"),
            "{kept}"
        );
    }
}

#[test]
fn a_100_comes_from_the_backend_or_once_it_is_chosen() {
    let sends_it = Origin::start(|conn| {
        let head = super::origin::read_message(&mut conn.stream, true);
        conn.record(&head);
        conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 3];
        std::io::Read::read_exact(&mut conn.stream, &mut body).unwrap();
        conn.send(OK);
    });
    let front = Fixture::before(&sends_it);
    let mut client = front.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(status(&client.response()), "200");

    let silent = Origin::answering(OK);
    let front = Fixture::before(&silent);
    let mut client = front.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(status(&client.response()), "200");

    let front = Fixture::new(Vec::new());
    let answer = front
        .talk("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(status(&answer), "404", "without a backend there is no 100");
}

#[test]
fn absolute_and_asterisk_targets_are_understood() {
    let origin = Origin::answering(OK);
    let blog = procserver::router::table::Route {
        domain: vec!["^blog$".into()],
        ..route("blog", &[&origin])
    };
    let front = Fixture::new(vec![blog]);
    let mut client = front.connect();
    client.send("GET http://Blog:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    let got = origin.received();
    assert!(
        got.starts_with("GET /x?y HTTP/1.1\r\nHost: Blog:81\r\n"),
        "{got}"
    );
    assert!(!got.contains("other"), "{got}");
    client.send("OPTIONS * HTTP/1.1\r\nHost: blog\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    assert!(origin.received().starts_with("OPTIONS * HTTP/1.1\r\n"));
    for host in ["other", "api.local"] {
        client.send(&format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = client.response();
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD, POST,"), "{answer}");
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: other\r\nX-App: none\r\n\r\n");
    assert_eq!(status(&client.response()), "404");
    assert!(origin.received_nothing());
}

#[test]
fn a_head_that_comes_byte_by_byte_is_the_same() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    let request =
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in request.chars() {
        client.send(&byte.to_string());
    }
    assert_eq!(status(&client.response()), "200");
    let got = origin.received();
    let (_, chunks) = got.split_once("\r\n\r\n").unwrap();
    let payload: String = chunks
        .split("\r\n")
        .filter(|l| l.chars().all(|c| "abc".contains(c)))
        .collect();
    assert_eq!(payload, "abc", "{got}");
}
