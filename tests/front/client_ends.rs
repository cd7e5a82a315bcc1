//! The end of a client is noticed at once, whatever it sent before.

use std::time::Duration;

use procserver::router::table::{Availability, Route};

use super::fixture::{Fixture, passing, route, until};
use super::origin::Origin;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn silent() -> Origin {
    Origin::start(|conn| {
        super::origin::read_message(&mut conn.stream, true);
        conn.record("has the head");
        conn.record_rest();
    })
}

#[test]
fn the_end_behind_pipelined_bytes_closes_the_backend_connection() {
    let origin = silent();
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.response = Duration::from_secs(60);
    });
    for pipelined in [0, 1, 8191, 8192, 8193, 60_000] {
        let mut client = front.connect();
        client.send(GET);
        client.send(&"x".repeat(pipelined));
        assert_eq!(origin.received(), "has the head");
        drop(client);
        assert_eq!(origin.received(), "rest: ", "{pipelined}");
    }
}

#[test]
fn the_end_behind_a_body_that_is_not_taken_closes_the_backend_connection() {
    let origin = Origin::start(|conn| {
        super::origin::read_message(&mut conn.stream, true);
        conn.record("has the head");
        // It reads nothing before the end of the client: what is written to it then fails, or is read to its end.
        std::thread::park_timeout(Duration::from_millis(300));
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut conn.stream, &mut rest);
        conn.record("ended");
    });
    let front = Fixture::tuned(vec![passing("blog", &[&origin])], |s| {
        s.limits.body = 1 << 30;
        s.timeouts.idle = Duration::from_secs(60);
    });
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    client.send(&"x".repeat(8 << 20));
    assert_eq!(origin.received(), "has the head");
    drop(client);
    assert_eq!(origin.received(), "ended");
}

#[test]
fn a_body_that_is_not_whole_reaches_nobody_when_its_client_ends() {
    let origin = silent();
    let blog = route("blog", &[&origin]);
    let front = Fixture::new(vec![blog]);
    for sent in [3, 90_000] {
        let mut client = front.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        client.send(&"x".repeat(sent));
        client.close_sending();
        client.ends_well();
    }
    assert!(origin.received_nothing());
}

#[test]
fn the_end_of_a_client_that_is_held_makes_room() {
    let origin = silent();
    let starting = Route {
        backends: Vec::new(),
        availability: Availability::Starting,
        ..route("blog", &[&origin])
    };
    let front = Fixture::tuned(vec![starting], |s| {
        s.hold = Duration::from_secs(60);
        s.limits.connections = 1;
    });
    for pipelined in [0, 8192, 60_000] {
        let mut client = front.connect();
        client.send(GET);
        client.send(&"x".repeat(pipelined));
        drop(client);
    }
    // There is room for one: each was noticed before the next was accepted.
    let answer = front.talk("GET /none HTTP/1.1\r\nHost: api.local\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn the_end_of_an_upgrades_client_before_the_101_is_a_half_close_and_is_passed_on() {
    let origin = Origin::start(|conn| {
        super::origin::read_message(&mut conn.stream, true);
        conn.record("has the head");
        std::thread::park_timeout(Duration::from_millis(200));
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: upgrade\r\n\r\nhello");
        conn.record_rest();
        conn.send("bye");
    });
    let blog = route("blog", &[&origin]);
    let load = blog.backends[0].load.clone();
    let front = Fixture::new(vec![blog]);
    for early in [0, 5, 20_000] {
        let mut client = front.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n");
        client.send(&"x".repeat(early));
        client.close_sending();
        assert_eq!(origin.received(), "has the head");
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let rest = origin.received();
        assert_eq!(rest.len(), "rest: ".len() + early);
        assert_eq!(client.rest(), "hellobye");
    }
    until("the tunnels are off the backend", || {
        load.outstanding() == 0
    });
}
