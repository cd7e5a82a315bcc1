//! What clients of HTTP/1.1 have, by HTTP/2.

use std::io::Read as _;
use std::sync::{Barrier, Mutex, mpsc};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue};
use procserver::document::https::Https;
use procserver::router::table::{Availability, Route};

use super::client::{Answer, Client, HOSTS, front, received, request, run, shake_hands, tuned};
use crate::front::fixture::{OK, backend, passing, route};
use crate::front::origin::Origin;

#[test]
fn a_request_is_one_of_http_1_1_for_the_app_and_its_line_says_what_it_was() {
    let origin = Origin::answering(OK);
    let (front, mut access) = tuned(vec![route("blog", &[&origin])], |_| {});
    run(async {
        let mut client = Client::connect(front.address).await;
        let answer = client.get("/x?y=%20z").await;
        assert_eq!((answer.status, &*answer.body), (200, "ok"));
        assert_eq!(answer.header("content-length"), Some("2"));
        assert_eq!(answer.header("connection"), None);
        let got = origin.received();
        assert!(
            got.starts_with("GET /x?y=%20z HTTP/1.1\r\nhost: a.test\r\n"),
            "{got}"
        );
        assert!(got.contains("Via: 2.0 procserver\r\n"), "{got}");
        assert!(got.contains("X-Forwarded-Proto: https\r\n"), "{got}");
        assert!(
            !got.contains("ontent-") && !got.contains("chunked"),
            "{got}"
        );
        let lines = access.next().await.unwrap();
        let line: serde_json::Value = serde_json::from_slice(&lines.text).unwrap();
        assert_eq!(
            (&line["protocol"], &line["status"]),
            (&"HTTP/2.0".into(), &200.into())
        );
    });
}

#[test]
fn bodies_go_both_ways_with_a_length_and_without_and_with_trailers() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: y\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nSum: 5\r\n\r\n",
    );
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        let mut post = request("POST", "/");
        post.headers_mut().insert("content-length", 5.into());
        let (response, mut body) = client.begin(post).await;
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let answer = Answer::read(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.body, "abcde");
        assert_eq!(answer.trailers.unwrap()["sum"], "5");
        assert_eq!(answer.headers.get("x"), None, "Connection named it");
        let got = origin.received();
        assert!(
            got.ends_with("\r\n\r\nhello") && got.contains("\r\ncontent-length: 5\r\n"),
            "{got}"
        );

        let (response, mut body) = client.begin(request("POST", "/")).await;
        for piece in [&b"he"[..], b"", b"llo"] {
            body.send_data(Bytes::from_static(piece), false).unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", 7.into());
        trailers.insert("content-length", 9.into());
        body.send_trailers(trailers).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        let got = origin.received();
        assert!(got.contains("\r\nTransfer-Encoding: chunked\r\n"), "{got}");
        assert!(
            got.ends_with("\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nsum: 7\r\n\r\n"),
            "{got}"
        );
    });
}

#[test]
fn a_body_of_unknown_length_may_end_with_a_frame_of_no_bytes() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        let (response, mut body) = client.begin(request("POST", "/")).await;
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        // A chunk of no bytes would be the last one, and what follows it would be malformed.
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        let got = origin.received();
        assert!(got.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{got}");
    });
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            conn.send(match request.split(' ').nth(1) {
                Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            });
        }
    });
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        for (method, status, length) in [
            ("HEAD", 200, Some("7")),
            ("GET", 204, None),
            ("GET", 304, Some("9")),
        ] {
            let answer = client.ask(request(method, &format!("/{status}"))).await;
            assert_eq!(
                (answer.status, answer.header("content-length")),
                (status, length)
            );
            assert_eq!(answer.body, "");
        }
    });
}

#[test]
fn interim_answers_are_passed_on_and_100_is_sent_where_it_is_expected() {
    let origin = Origin::start(|conn| {
        conn.send("");
        conn.request();
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        conn.send(OK);
    });
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        let mut put = request("PUT", "/");
        put.headers_mut()
            .insert("expect", HeaderValue::from_static("100-continue"));
        put.headers_mut().insert("content-length", 2.into());
        let (mut response, mut body) = client.begin(put).await;
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        assert_eq!(interim.unwrap().unwrap().status(), 100);
        body.send_data(Bytes::from_static(b"ab"), true).unwrap();
        let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        let hints = hints.unwrap().unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &"</a>".parse().unwrap())
        );
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn each_piece_is_passed_on_as_it_comes() {
    let (came, comes) = mpsc::channel();
    let comes = Mutex::new(comes);
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            conn.send(event);
            // The next one is not sent before this one has come.
            comes.lock().unwrap().recv().unwrap();
        }
    });
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let client = Client::connect(front.address).await;
        let mut send = client.send.ready().await.unwrap();
        let (response, _) = send.send_request(request("GET", "/"), true).unwrap();
        let mut events = response.await.unwrap().into_body();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            assert_eq!(events.data().await.unwrap().unwrap(), event);
            came.send(()).unwrap();
        }
        let end = events.data().await;
        assert!(end.is_none_or(|data| data.is_ok_and(|data| data.is_empty())));
    });
}

#[test]
fn an_answer_before_the_body_is_in_reaches_the_client_and_the_rest_is_not_asked_for() {
    let origin = Origin::start(|conn| {
        crate::front::origin::read_message(&mut conn.stream, true);
        conn.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        conn.record_rest();
    });
    let front = front(vec![passing("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        let (response, mut body) = client.begin(request("POST", "/")).await;
        body.send_data(Bytes::from_static(b"begin"), false).unwrap();
        let answer = Answer::read(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (413, "big"));
        let reset = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
        assert_eq!(reset.unwrap(), Reason::NO_ERROR);
        // The connection goes on, and has its window back: these are three times as much.
        for _ in 0..50 {
            let (response, mut body) = client.begin(request("POST", "/")).await;
            let mut sent = 0;
            while sent < 60_000 {
                body.reserve_capacity(60_000 - sent);
                let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                let Some(Ok(room)) = room else { break };
                sent += room;
                if body.send_data(vec![b'x'; room].into(), false).is_err() {
                    break;
                }
            }
            assert_eq!(response.await.unwrap().status(), 413);
        }
    });
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let origin = Origin::answering_once(answer);
        let front = front(vec![route("blog", &[&origin])]);
        run(async {
            let mut client = Client::connect(front.address).await;
            let mut send = client.send.clone().ready().await.unwrap();
            let (response, _) = send.send_request(request("GET", "/"), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "half");
            let error = body.data().await.unwrap().unwrap_err();
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{answer}");
            // The connection goes on.
            let again = client.try_ask(request("GET", "/")).await.unwrap_err();
            assert_eq!(again.reason(), Some(Reason::INTERNAL_ERROR));
        });
    }
}

#[test]
fn a_hundred_requests_run_at_once() {
    let all_are_here = Barrier::new(100);
    let origin = Origin::start(move |conn| {
        let mut waits = conn.number < 100;
        while conn.request().is_some() {
            if std::mem::take(&mut waits) {
                all_are_here.wait();
            }
            conn.send(OK);
        }
    });
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let client = Client::connect(front.address).await;
        let asked = (0..100).map(|_| {
            let mut client = client.send.clone();
            async move {
                for _ in 0..3 {
                    client = client.ready().await.unwrap();
                    let (response, _) = client.send_request(request("GET", "/"), true).unwrap();
                    let answer = Answer::read(response.await.unwrap()).await.unwrap();
                    assert_eq!(answer.status, 200);
                }
            }
        });
        futures::future::join_all(asked).await;
    });
}

#[test]
fn large_bodies_go_both_ways_past_a_client_that_reads_slowly() {
    const SIZE: usize = 3 << 20;
    let origin = Origin::start(|conn| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            conn.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut body = vec![0; SIZE];
        conn.stream.read_exact(&mut body).unwrap();
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        conn.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"
        ));
        std::io::Write::write_all(&mut conn.stream, &body).unwrap();
    });
    for app in [route("blog", &[&origin]), passing("blog", &[&origin])] {
        let (front, _) = tuned(vec![app], |settings| settings.limits.body = 1 << 30);
        run(async {
            let mut client = Client::connect(front.address).await;
            let mut put = request("PUT", "/");
            put.headers_mut().insert("content-length", SIZE.into());
            let (response, mut upload) = client.begin(put).await;
            let mut sent = 0;
            while sent < SIZE {
                upload.reserve_capacity(SIZE - sent);
                let room = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await;
                let room = room.unwrap().unwrap();
                let data: Vec<u8> = (sent..sent + room).map(|at| at as u8).collect();
                sent += room;
                upload.send_data(data.into(), sent == SIZE).unwrap();
            }
            let mut body = response.await.unwrap().into_body();
            let mut came = 0;
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                assert!(
                    data.iter()
                        .enumerate()
                        .all(|(at, byte)| *byte == (came + at) as u8)
                );
                came += data.len();
                tokio::task::yield_now().await;
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            assert_eq!(came, SIZE);
        });
    }
}

#[test]
fn a_request_is_held_while_its_app_starts_and_one_that_is_given_up_is_let_go() {
    let origin = Origin::answering(OK);
    let starting = || Route {
        backends: Vec::new(),
        availability: Availability::Starting,
        ..route("blog", &[])
    };
    let (front, mut access) = tuned(vec![starting()], |_| {});
    run(async {
        let mut client = Client::connect(front.address).await;
        let (response, mut body) = client.begin(request("POST", "/gone")).await;
        body.send_data(Bytes::from_static(b"a body"), false)
            .unwrap();
        tokio::task::yield_now().await;
        body.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        let lines = access.next().await.unwrap();
        let line: serde_json::Value = serde_json::from_slice(&lines.text).unwrap();
        assert_eq!(
            (&line["status"], &line["code"]),
            (&499.into(), &"H27".into())
        );

        let held = client.get("/held");
        let published = async {
            tokio::task::yield_now().await;
            front.publish(Route {
                backends: vec![backend(origin.address)],
                ..starting()
            });
        };
        let (answer, ()) = tokio::join!(held, published);
        assert_eq!(answer.status, 200);
    });
}

#[test]
fn the_end_of_a_client_closes_the_backends_connection() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.record_rest();
    });
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let client = Client::connect(front.address).await;
        let mut send = client.send.clone().ready().await.unwrap();
        let (response, mut reset) = send.send_request(request("GET", "/a"), true).unwrap();
        assert!(received(&origin).await.starts_with("GET /a"));
        reset.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        assert_eq!(received(&origin).await, "rest: ");

        let mut send = client.send.ready().await.unwrap();
        let (_response, _) = send.send_request(request("GET", "/b"), true).unwrap();
        assert!(received(&origin).await.starts_with("GET /b"));
        client.connection.abort();
        assert_eq!(received(&origin).await, "rest: ");
    });
}

#[test]
fn http2_is_not_offered_where_the_app_wants_none_and_does_not_reach_it_by_another_host() {
    let origin = Origin::answering(OK);
    let app = |name: &str, host: &str, http2| Route {
        domain: vec![format!("^{host}$").replace('.', "\\.")],
        tls: Https {
            http2,
            ..Https::default()
        },
        ..route(name, &[&origin])
    };
    let front = front(vec![
        app("one", HOSTS[0], true),
        app("two", HOSTS[1], false),
    ]);
    run(async {
        for (host, offered, chosen) in [
            (HOSTS[0], &["h2", "http/1.1"][..], Some("h2")),
            (HOSTS[0], &["http/1.1"], Some("http/1.1")),
            (HOSTS[0], &[], None),
            (HOSTS[1], &["h2", "http/1.1"], Some("http/1.1")),
        ] {
            let stream = shake_hands(front.address, host, offered).await;
            let protocol = stream.get_ref().1.alpn_protocol();
            assert_eq!(protocol, chosen.map(str::as_bytes), "{host} {offered:?}");
        }
        let mut client = Client::connect(front.address).await;
        let mut other = request("GET", "/");
        *other.uri_mut() = "https://b.test/".parse().unwrap();
        assert_eq!(client.ask(other).await.status, 421);
        assert_eq!(client.get("/").await.status, 200);
    });
}
