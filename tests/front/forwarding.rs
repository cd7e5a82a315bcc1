//! What goes out: the request as an app sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fixture::{Fixture, LATE, OK, passing, route};
use super::origin::Origin;

/// What an app got without the time at which it came, which is that of now.
fn without_start(got: &str) -> String {
    let (before, rest) = got.split_once("X-Request-Start: t=").expect("it is there");
    let (time, behind) = rest.split_once("\r\n").expect("it ends");
    let told = Duration::from_millis(time.parse().expect("a number"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    assert!(told <= now && now - told < Duration::from_mins(2), "{time}");
    format!("{before}{behind}")
}

#[test]
fn when_a_request_came_is_told_by_this_server_or_by_a_proxy_that_is_trusted() {
    let origin = Origin::answering(OK);
    let told = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Start: t=1\r\nX_Request_Start: t=2\r\n\r\n";
    let front = Fixture::before(&origin);
    front.connect().send(told);
    let got = without_start(&origin.received());
    assert!(!got.contains("t=1") && !got.contains("t=2"), "{got}");
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    });
    front.connect().send(told);
    let got = origin.received();
    assert!(got.contains("X-Request-Start: t=1\r\n"), "{got}");
    assert_eq!(got.matches("t=").count(), 1, "{got}");
}

#[test]
fn the_app_sees_the_request_with_forwarding_fields_and_without_hop_by_hop_ones() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(
        "GET /a%2Fb//c/../d?x=%20 HTTP/1.1\r\nZ: 1\r\nHOST: Blog.local:81\r\nConnection: keep-alive, X-Secret, host\r\n\
         X-Secret: 1\r\nKeep-Alive: 1\r\nTE: trailers\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-ID: mine-1\r\nz: 2\r\n\r\n",
    );
    let answer = client.response();
    assert!(answer.contains("X-Request-ID: mine-1\r\n"), "{answer}");
    assert_eq!(
        without_start(&origin.received()),
        "GET /a%2Fb//c/../d?x=%20 HTTP/1.1\r\nZ: 1\r\nHOST: Blog.local:81\r\nz: 2\r\nTE: trailers\r\nConnection: TE\r\n\
         Via: 1.1 procserver\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Host: Blog.local:81\r\nX-Forwarded-Port: 81\r\nX-Real-IP: 127.0.0.1\r\n\
         X-Request-ID: mine-1\r\n\r\n"
    );
}

/// <https://www.w3.org/TR/trace-context/>: who takes no part in a trace passes both on as they are.
#[test]
fn a_trace_goes_through_untouched() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                 Tracestate: rojo=00f067aa0ba902b7,  congo=t61rcWkgMzE\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{trace}\r\n");
    front.connect().send(&request);
    let got = origin.received();
    assert!(got.contains(trace), "{got}");
    front.connect().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let got = origin.received().to_ascii_lowercase();
    assert!(!got.contains("trace"), "none is begun: {got}");
}

#[test]
fn a_trusted_peer_is_appended_to() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    });
    front.connect().send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n",
    );
    let got = origin.received();
    assert!(
        got.contains("X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\n"),
        "{got}"
    );
    assert!(got.contains("X-Forwarded-Proto: https\r\n"), "{got}");
}

#[test]
fn what_a_trusted_peer_says_stays_but_not_in_other_spellings() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    });
    front.connect().send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.1\r\nX-Forwarded-For: 6.6.6.2\r\n\
         X-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Ssl: on\r\nForwarded: for=6.6.6.1\r\n\
         X_Forwarded_Host: evil\r\nX-App: blog\r\nConnection: X-Forwarded-For, X-Forwarded-Ssl\r\n\r\n",
    );
    let got = origin.received();
    let (_, fields) = got.split_once("Host: a\r\n").unwrap();
    let (fields, _) = fields.split_once("X-Request-ID: ").unwrap();
    assert_eq!(
        without_start(fields),
        "X-Forwarded-For: 6.6.6.1\r\nX-Forwarded-For: 6.6.6.2, 127.0.0.1\r\nX-Forwarded-Host: b\r\n\
         X-Forwarded-Port: 443\r\nX-Forwarded-Ssl: on\r\nForwarded: for=6.6.6.1\r\nVia: 1.1 procserver\r\n\
         X-Forwarded-Proto: http\r\nX-Real-IP: 6.6.6.2\r\nForwarded: for=127.0.0.1;proto=http;host=\"a\"\r\n"
    );
}

#[test]
fn bodies_are_framed_anew_with_trailers() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n003;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n",
    );
    client.response();
    let got = origin.received();
    assert!(got.contains("\r\nTransfer-Encoding: chunked\r\n"), "{got}");
    assert!(
        got.contains("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "{got}"
    );
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\nContent-Length: 3\r\n\r\nabc");
    client.response();
    let got = origin.received();
    assert!(
        got.contains("Content-Length: 3\r\n") && got.ends_with("\r\n\r\nabc"),
        "{got}"
    );
    assert_eq!(got.matches("Content-Length").count(), 1);
}

#[test]
fn a_large_upload_arrives_whole() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let body = "0123456789abcdef".repeat(40_000);
    let mut client = front.connect();
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(client.response().ends_with("ok"));
    assert!(origin.received().ends_with(&format!("\r\n\r\n{body}")));
}

#[test]
fn backend_connections_are_kept_and_a_dead_one_is_replaced() {
    // Each connection answers once, keeps quiet about closing, and closes when the next request comes.
    let origin = Origin::start(|conn| {
        conn.request();
        let number = conn.number;
        conn.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
        ));
        if conn.number == 0 {
            conn.request();
        } else {
            while conn.request().is_some() {
                conn.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
                ));
            }
        }
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    let mut ask = |method: &str| {
        client.send(&format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        ));
        client.response()
    };
    assert!(ask("GET").ends_with("\r\n\r\n0"));
    assert!(
        ask("GET").ends_with("\r\n\r\n1"),
        "sent again on a fresh connection"
    );
    assert!(ask("GET").ends_with("\r\n\r\n1"), "which is kept");
}

#[test]
fn a_request_that_may_have_been_done_is_not_sent_again() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(OK);
        conn.request();
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = client.response();
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("H13"),
        "{answer}"
    );
}

#[test]
fn a_chunked_request_that_was_begun_is_not_sent_again_as_something_else() {
    // The first request of a connection is answered, the second one finds it closed.
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(OK);
        super::origin::read_message(&mut conn.stream, true);
    });
    let front = Fixture::new(vec![passing("blog", &[&origin])]);
    for body in ["0\r\n\r\n", "3\r\n"] {
        let mut client = front.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response();
        origin.received();
        client.send(&format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{body:?}: {answer}");
    }
    assert!(origin.received_nothing());
}

#[test]
fn a_refused_connection_goes_to_another_instance() {
    let origin = Origin::answering(OK);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut two = route("blog", &[&origin]);
    two.backends.push(super::fixture::backend(free));
    let loads: Vec<_> = two.backends.iter().map(|b| b.load.clone()).collect();
    let front = Fixture::new(vec![two]);
    for _ in 0..20 {
        let answer = front
            .talk("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        assert!(answer.ends_with("ok"), "{answer}");
    }
    super::fixture::until("all requests are off", || {
        loads.iter().all(|l| l.outstanding() == 0)
    });
    let mut alone = route("alone", &[]);
    alone.backends.push(super::fixture::backend(free));
    let front = Fixture::new(vec![alone]);
    let answer = front.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("H21"),
        "{answer}"
    );
}

#[test]
fn the_api_may_take_longer_than_an_app() {
    let front = Fixture::tuned(Vec::new(), |s| {
        s.timeouts.response = LATE / 8;
        s.timeouts.idle = LATE / 8;
    });
    let answer =
        front.talk("GET /applications?late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("api: GET /applications?late"), "{answer}");
}

#[test]
fn the_api_is_reached_in_process_and_keeps_its_pipe() {
    let front = Fixture::new(Vec::new());
    let mut client = front.connect();
    for host in ["x", "API.local:80"] {
        client.send(&format!(
            "GET /applications HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
        ));
        let answer = client.response();
        assert!(answer.contains("api: GET /applications\n"), "{answer}");
        assert!(answer.contains("x-forwarded-for: 127.0.0.1\n"), "{answer}");
    }
    client.send("GET /anything HTTP/1.1\r\nHost: api.local\r\nX-App: none\r\n\r\n");
    let answer = client.response();
    assert!(
        answer.contains("api: GET /anything") && !answer.contains("x-app"),
        "{answer}"
    );
    let body = "x".repeat(100_000);
    client.send(&format!(
        "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(client.response().ends_with(&body));
    client.send("HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(client.response().contains("api: GET /events\n"));
}

/// Its first connection answers once, and ends when it has read the next request, or only its head; others answer.
fn ends_after_the_first(reads_body: bool) -> Origin {
    Origin::start(move |conn| {
        let answer = |conn: &mut super::origin::Conn| {
            let number = conn.number;
            conn.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
            ));
        };
        conn.request();
        answer(conn);
        if conn.number == 0 {
            match reads_body {
                true => drop(conn.request()),
                false => drop(super::origin::read_message(&mut conn.stream, true)),
            }
            return;
        }
        while conn.request().is_some() {
            answer(conn);
        }
    })
}

#[test]
fn a_small_body_that_came_with_the_head_is_sent_again() {
    let bodies = ["abc".to_owned(), "0123456789".repeat(600)];
    for (body, reads_body) in bodies.iter().zip([true, false]) {
        for method in ["PUT", "DELETE"] {
            let origin = ends_after_the_first(reads_body);
            let front = Fixture::before(&origin);
            let mut client = front.connect();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(client.response().ends_with("\r\n\r\n0"));
            origin.received();
            let length = body.len();
            client.send(&format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}\
                 GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
            ));
            assert!(client.response().ends_with("\r\n\r\n1"));
            assert!(client.response().ends_with("\r\n\r\n1"));
            for _ in 0..if reads_body { 2 } else { 1 } {
                let got = origin.received();
                assert!(got.starts_with(method) && got.ends_with(&format!("\r\n\r\n{body}")));
            }
            assert!(origin.received().starts_with("GET /behind "));
        }
    }
}

#[test]
fn other_bodies_are_not_sent_again() {
    for (method, length, body) in [
        ("POST", 3, "abc".to_owned()),
        ("PUT", 4, "abc".to_owned()),
        ("PUT", 20_000, "x".repeat(20_000)),
        ("PATCH", 3, "abc".to_owned()),
    ] {
        let origin = ends_after_the_first(false);
        let front = Fixture::new(vec![passing("blog", &[&origin])]);
        let mut client = front.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response();
        origin.received();
        client.send(&format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let answer = client.response();
        assert!(
            answer.starts_with("HTTP/1.1 502 "),
            "{method} {length}: {answer}"
        );
        assert!(origin.received_nothing());
    }
}

#[test]
fn a_request_that_got_an_interim_response_is_not_sent_again() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(OK);
        conn.request();
        conn.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 103 "));
    assert!(client.response().starts_with("HTTP/1.1 502 "));
}

#[test]
fn an_idle_backend_connection_is_not_kept_for_long() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(OK);
        conn.record_rest();
    });
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.response().ends_with("ok"));
        assert!(origin.received().starts_with("GET "));
        assert_eq!(origin.received(), "rest: ", "closed, with nothing on it");
    }
}

#[test]
fn options_that_may_go_no_further_is_answered_here() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    for target in ["*", "/", "/applications"] {
        client.send(&format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
        ));
        let answer = client.response();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD, POST,"), "{answer}");
        assert!(answer.contains("\r\nContent-Length: 0\r\n"), "{answer}");
        assert!(!answer.contains("Content-Type"), "{answer}");
    }
    assert!(origin.received_nothing());
}

#[test]
fn forwarded_is_appended_behind_what_a_trusted_peer_says() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    });
    front.connect().send(
        "GET / HTTP/1.1\r\nHost: [::1]:81\r\nForwarded: for=6.6.6.1\r\nforwarded: for=\"[2001:db8::1]:5\";proto=https\r\n\r\n",
    );
    let got = origin.received();
    let lines: Vec<&str> = got
        .lines()
        .filter(|l| l.to_ascii_lowercase().starts_with("forwarded"))
        .collect();
    assert_eq!(
        lines,
        [
            "Forwarded: for=6.6.6.1",
            "forwarded: for=\"[2001:db8::1]:5\";proto=https",
            "Forwarded: for=127.0.0.1;proto=http;host=\"[::1]:81\"",
        ]
    );
}
