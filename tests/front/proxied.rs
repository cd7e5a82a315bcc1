//! Connections of balancers that begin with a PROXY header.

use std::time::Duration;

use procserver::front::settings::FrontSettings;

use super::fixture::{Client, Fixture, OK, route, until};
use super::origin::Origin;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A header of version 1.
const V1: &str = "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n";

/// The same in version 2, with a field behind the addresses.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\xea\0\x02ok";

/// 127.0.0.1 is a balancer, and 10.0.0.0/8 are proxies behind it.
fn balanced(settings: &mut FrontSettings) {
    let networks = ["127.0.0.1/32", "10.0.0.0/8"];
    settings.trusted_proxies = networks.map(|n| n.parse().expect("a network")).into();
    settings.proxy_protocol = true;
}

/// A front end behind a balancer, and its app.
fn behind_a_balancer(tune: impl FnOnce(&mut FrontSettings)) -> (Fixture, Origin) {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |settings| {
        balanced(settings);
        tune(settings);
    });
    (front, origin)
}

#[track_caller]
fn has(got: &str, fields: &[&str]) {
    for field in fields {
        assert!(got.contains(&format!("{field}\r\n")), "{field}: {got}");
    }
}

#[test]
fn the_client_is_the_one_that_the_header_names_however_it_is_cut() {
    let (front, origin) = behind_a_balancer(|_| {});
    for header in [V1.as_bytes(), V2] {
        let all = [header, GET.as_bytes()].concat();
        for size in [1, 7, header.len() - 1, header.len(), header.len() + 1, 999] {
            let mut client = front.connect();
            for piece in all.chunks(size) {
                client.send_bytes(piece);
                std::thread::yield_now();
            }
            assert!(client.response().ends_with("ok"), "{size}");
            let got = origin.received();
            has(
                &got,
                &[
                    "X-Forwarded-For: 203.0.113.7",
                    "X-Real-IP: 203.0.113.7",
                    "X-Forwarded-Port: 443",
                ],
            );
            // It holds for the whole connection.
            client.send(GET);
            assert!(client.response().ends_with("ok"));
            has(&origin.received(), &["X-Real-IP: 203.0.113.7"]);
        }
    }
}

#[test]
fn its_forwarding_fields_are_believed_if_it_is_trusted_itself() {
    let (front, origin) = behind_a_balancer(|_| {});
    let asks = |header: &str| {
        let request = GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
        let mut client = front.connect();
        client.send(&format!("{header}{request}"));
        assert!(client.response().ends_with("ok"), "{header}");
        origin.received()
    };
    has(&asks(V1), &["X-Forwarded-For: 203.0.113.7"]);
    let proxy = asks("PROXY TCP4 10.1.2.3 10.0.0.1 1 80\r\n");
    let both = ["X-Forwarded-For: 6.6.6.6, 10.1.2.3", "X-Real-IP: 6.6.6.6"];
    has(&proxy, &both);
    let mapped = asks("PROXY TCP6 ::ffff:10.1.2.3 ::1 1 80\r\n");
    has(&mapped, &both);
    // Whoever it is, the balancer did not look at what they say.
    for header in ["PROXY UNKNOWN\r\n", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        has(&asks(header), &["X-Forwarded-For: 127.0.0.1"]);
    }
    let v6 = asks("PROXY TCP6 2001:db8::7 2001:db8::1 1 80\r\n");
    has(&v6, &["X-Forwarded-For: 2001:db8::7"]);
}

#[test]
fn a_header_of_anybody_else_is_no_request_and_they_need_none() {
    let (front, origin) = behind_a_balancer(|_| {});
    for header in [V1.as_bytes(), V2] {
        let mut other = Client::from([127, 0, 0, 2], front.address);
        other.send_bytes(&[header, GET.as_bytes()].concat());
        assert!(other.rest().starts_with("HTTP/1.1 400 "));
    }
    assert!(origin.received_nothing());
    let mut other = Client::from([127, 0, 0, 2], front.address);
    other.send(GET);
    assert!(other.response().ends_with("ok"));
    has(&origin.received(), &["X-Forwarded-For: 127.0.0.2"]);

    // Where nothing is said of headers, nobody's is read.
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |settings| {
        balanced(settings);
        settings.proxy_protocol = false;
    });
    assert!(
        front
            .talk(&format!("{V1}{GET}"))
            .starts_with("HTTP/1.1 400 ")
    );
}

#[test]
fn without_a_whole_header_the_balancer_is_not_answered() {
    let (front, origin) = behind_a_balancer(|_| {});
    let closed = |bytes: &[u8]| {
        let mut client = front.connect();
        client.send_bytes(bytes);
        client.close_sending();
        assert_eq!(client.rest(), "", "{}", bytes.escape_ascii());
    };
    closed(b"");
    closed(GET.as_bytes());
    closed(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 70000\r\n");
    closed(format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes());
    closed(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff");
    for header in [V1.as_bytes(), V2] {
        for end in [1, 5, 12, 15, 16, 20, header.len() - 1] {
            closed(&header[..end]);
        }
    }
    // Two headers: the second one is a wrong request.
    assert!(
        front
            .talk(&format!("{V1}{V1}{GET}"))
            .starts_with("HTTP/1.1 400 ")
    );
    assert!(origin.received_nothing());
}

#[test]
fn a_header_takes_no_longer_than_a_head_and_is_part_of_its_time() {
    // Long, so that a busy machine is not taken for a late answer.
    let limit = Duration::from_secs(3);
    let (front, origin) = behind_a_balancer(|settings| settings.timeouts.head = limit);
    let silent = std::time::Instant::now();
    let mut client = front.connect();
    client.send(&V1[..9]);
    assert_eq!(client.rest(), "");
    assert!(silent.elapsed() >= limit / 2);

    let begun = std::time::Instant::now();
    let mut client = front.connect();
    let mut pieces = V1.bytes().chain(GET.bytes());
    // A byte at a time, each within the limit; all of them are not.
    while client.stream.peek(&mut [0]).is_err() {
        client.stream.set_read_timeout(Some(limit / 10)).unwrap();
        let Some(byte) = pieces.next() else { break };
        let _closed = std::io::Write::write(&mut client.stream, &[byte]);
    }
    assert!(begun.elapsed() < 2 * limit, "{:?}", begun.elapsed());

    // The header came late, and the head has what is left. That this time passes is what is tested.
    let begun = std::time::Instant::now();
    let mut client = front.connect();
    client.send(&V1[..9]);
    std::thread::sleep(limit * 2 / 3);
    client.send(&V1[9..]);
    client.send("GET / HTTP/1.1\r\n");
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() < limit * 3 / 2, "{:?}", begun.elapsed());
    assert!(origin.received_nothing());
}

#[test]
fn connections_count_for_the_client_and_not_for_the_balancer() {
    let (front, _origin) =
        behind_a_balancer(|settings| settings.limits.connections_per_address = 2);
    let open = |client: &str| {
        let mut opened = front.connect();
        opened.send(&format!("PROXY TCP4 {client} 198.51.100.1 1 80\r\n{GET}"));
        opened
    };
    let mut kept: Vec<Client> = (0..6)
        .map(|n| open(&format!("203.0.113.{}", n / 2)))
        .collect();
    for client in &mut kept {
        assert!(client.response().ends_with("ok"));
    }
    assert_eq!(open("203.0.113.0").rest(), "");
    for _ in 0..4 {
        // A proxy that is trusted, and the balancer itself.
        kept.push(open("10.0.0.1"));
        let mut own = front.connect();
        own.send(&format!("PROXY UNKNOWN\r\n{GET}"));
        kept.push(own);
    }
    for client in &mut kept[6..] {
        assert!(client.response().ends_with("ok"));
    }
    drop(kept.swap_remove(0));
    until("there is room again", || {
        open("203.0.113.0").response().ends_with("ok")
    });
}
