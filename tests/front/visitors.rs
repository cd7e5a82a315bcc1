//! Connections of one address.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::fixture::{Client, Fixture, OK, route, until};
use super::origin::Origin;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Whether the server closes the connection without a word.
fn is_closed(mut client: Client) -> bool {
    match client.stream.read(&mut [0; 1]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |settings| {
        settings.limits.connections_per_address = 2;
        settings.trusted_proxies = vec!["127.0.0.3/32".parse().expect("a network")];
    });
    let mut kept: Vec<Client> = (0..2).map(|_| front.connect()).collect();
    for client in &mut kept {
        client.send(GET);
        client.response();
    }
    assert!(is_closed(front.connect()));
    for from in [
        [127, 0, 0, 2],
        [127, 0, 0, 3],
        [127, 0, 0, 3],
        [127, 0, 0, 3],
    ] {
        let mut other = Client::from(from, front.address);
        other.send(GET);
        other.response();
        if from[3] == 3 {
            kept.push(other);
        }
    }
    drop(kept.swap_remove(0));
    until("there is room again", || {
        let mut client = front.connect();
        // Closed at once, perhaps before this is written.
        let _ = client.stream.write_all(GET.as_bytes());
        matches!(client.stream.read(&mut [0; 8]), Ok(1..))
    });
}

/// A client that was answered and says nothing more.
fn idle_at(from: [u8; 4], to: SocketAddr) -> Client {
    let mut client = Client::from(from, to);
    client.send(GET);
    assert!(client.response().starts_with("HTTP/1.1 200"));
    client
}

/// Whether the server answers once more.
fn is_served(client: &mut Client) -> bool {
    client.stream.write_all(GET.as_bytes()).is_ok() && client.response().starts_with("HTTP/1.1 200")
}

#[test]
fn where_there_is_no_room_the_connection_that_is_idle_longest_makes_some() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |settings| {
        settings.limits.connections = 6;
    });
    let at = |last: u8| idle_at([127, 0, 0, last], front.address);
    let mut first: Vec<Client> = (0..3).map(|_| at(2)).collect();
    // Half of all: this one is not let in, whatever room there is.
    assert!(is_closed(Client::from([127, 0, 0, 2], front.address)));
    let mut second: Vec<Client> = (0..3).map(|_| at(3)).collect();
    // It was idle longest, and is not now.
    assert!(is_served(&mut first[0]));
    let mut third: Vec<Client> = (0..2).map(|_| at(4)).collect();
    let ended: Vec<Client> = first.drain(1..).collect();
    assert!(ended.into_iter().all(is_closed));
    for client in first.iter_mut().chain(&mut second).chain(&mut third) {
        assert!(is_served(client));
    }
}

#[test]
fn a_connection_that_is_busy_makes_no_room_and_who_comes_waits() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        conn.request();
        wait.lock().unwrap().recv().unwrap();
        conn.send(OK);
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |settings| {
        settings.limits.connections = 2;
        settings.timeouts.response = Duration::from_secs(60);
        settings.timeouts.head = Duration::from_secs(60);
    });
    let at = |last: u8| {
        let mut client = Client::from([127, 0, 0, last], front.address);
        client.send(GET);
        client
    };
    let mut busy = [at(2), at(3)];
    origin.received();
    origin.received();
    let mut waits = at(4);
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    for client in busy.iter_mut().chain([&mut waits]) {
        assert!(client.response().starts_with("HTTP/1.1 200"));
    }
}
