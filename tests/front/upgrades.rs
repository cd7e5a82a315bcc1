//! Upgrades: tunnels of any protocol.

use std::time::Duration;

use super::fixture::{Fixture, OK, route, until};
use super::origin::Origin;

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n";

#[test]
fn a_tunnel_carries_bytes_both_ways_those_beside_the_heads_included_and_half_closes() {
    let origin = Origin::start(|conn| {
        let head = super::origin::read_message(&mut conn.stream, true);
        conn.record(&head);
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: upgrade\r\n\r\nhello");
        conn.record_rest();
        conn.send("bye");
    });
    let blog = route("blog", &[&origin]);
    let load = blog.backends[0].load.clone();
    let front = Fixture::new(vec![blog]);
    let mut client = front.connect();
    client.send(&format!("{UPGRADE}early"));
    assert_eq!(
        client.head(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n"
    );
    client.expect("hello");
    assert!(
        origin
            .received()
            .contains("Connection: Upgrade\r\nUpgrade: echo/1\r\n")
    );
    assert_eq!(load.outstanding(), 1, "a tunnel counts");
    client.send(" late");
    client.close_sending();
    assert_eq!(origin.received(), "rest: early late");
    assert_eq!(client.rest(), "bye");
    until("the tunnel is off the backend", || load.outstanding() == 0);
}

#[test]
fn a_refused_upgrade_stays_http_on_the_same_connection() {
    let origin = Origin::answering(OK);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    for _ in 0..2 {
        client.send(UPGRADE);
        assert!(client.response().ends_with("\r\n\r\nok"));
    }
}

#[test]
fn a_protocol_that_was_not_offered_is_not_switched_to() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n";
    let origin = Origin::answering(switch);
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(UPGRADE);
    assert!(client.response().starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_tunnel_without_a_byte_for_the_idle_limit_is_closed() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: upgrade\r\n\r\n";
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send(switch);
        conn.record_rest();
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.tunnel_idle = Duration::from_millis(100);
    });
    let mut client = front.connect();
    client.send(UPGRADE);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.rest(), "");
    origin.received();
    assert_eq!(origin.received(), "rest: ");
}

#[test]
fn a_websocket_client_and_server_talk() {
    use tungstenite::Message;

    let origin = Origin::start(|conn| {
        let mut socket = tungstenite::accept(conn.stream.try_clone().unwrap()).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
        conn.record("closed");
    });
    let front = Fixture::before(&origin);
    let stream = front.connect().stream;
    let (mut socket, response) = tungstenite::client("ws://a.local/chat", stream).unwrap();
    assert_eq!(response.status(), 101);
    let large: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
    for message in [
        Message::text("hello"),
        Message::binary(Vec::new()),
        Message::binary(large),
    ] {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "the same comes back");
    }
    socket.send(Message::Ping("beat".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("beat".into()));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    assert_eq!(origin.received(), "closed");
}
