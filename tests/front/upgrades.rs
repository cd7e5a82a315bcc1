//! Upgrades: tunnels of any protocol.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use procserver::router::table::Route;

use super::fixture::{Client, Fixture, OK, route, until};
use super::origin::{Origin, PATIENCE};

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

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: upgrade\r\n\r\n";

/// An app whose tunnels send back what they get, and tell how they ended.
fn echoing() -> Origin {
    Origin::start(|conn| {
        conn.request();
        conn.send(SWITCH);
        let mut space = [0; 100];
        let ended = loop {
            match conn.stream.read(&mut space) {
                Ok(0) => break "closed".to_owned(),
                Ok(count) => conn.stream.write_all(&space[..count]).unwrap(),
                Err(error) => break error.to_string(),
            }
        };
        conn.record(&ended);
    })
}

fn open(front: &Fixture, host: &str) -> Client {
    let mut client = front.connect();
    client.send(&UPGRADE.replace("Host: a", &format!("Host: {host}")));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    echoes(&mut client, "first");
    client
}

#[track_caller]
fn echoes(client: &mut Client, text: &str) {
    client.send(text);
    client.expect(text);
}

#[test]
fn tunnels_have_the_drain_time_when_the_server_stops_then_close_and_are_told() {
    let origin = echoing();
    let drain = |s: &mut procserver::front::settings::FrontSettings| {
        s.drain = Duration::from_secs(3);
        s.timeouts.tunnel_idle = PATIENCE;
    };
    let (mut front, mut lines) = Fixture::logging(vec![route("blog", &[&origin])], drain);
    let (mut client, mut silent) = (open(&front, "a"), open(&front, "a"));
    let mut idle = front.connect();
    idle.send("GET / HTTP/1.1\r\nHost: \r\n\r\n");
    idle.response();
    for _ in 0..2 {
        origin.received();
    }
    front.begin_stop();
    assert_eq!(idle.rest(), "", "it drains");
    echoes(&mut client, "while it drains");
    client.ends_well();
    silent.ends_well();
    for _ in 0..2 {
        assert_eq!(origin.received(), "closed");
    }
    front.join();
    let mut told = String::new();
    while let Some(lines) = futures::executor::block_on(lines.next()) {
        told.push_str(&String::from_utf8(lines.text).unwrap());
    }
    assert_eq!(told.matches("\"status\":101").count(), 2, "{told}");
    let carried = |bytes: usize| format!("\"bytes_in\":{bytes},\"bytes_out\":{bytes},");
    assert!(
        told.contains(&carried("firstwhile it drains".len())),
        "{told}"
    );
    assert!(told.contains(&carried("first".len())), "{told}");
}

#[test]
fn a_tunnel_ends_with_the_drain_time_of_its_backend_and_no_other_does() {
    let (one, two) = (echoing(), echoing());
    let hosted = |app: &str, origin: &Origin| Route {
        domain: vec![format!("^{app}$")],
        ..route(app, &[origin])
    };
    let route_one = hosted("one", &one);
    let load = route_one.backends[0].load.clone();
    let front = Fixture::new(vec![route_one, hosted("two", &two)]);
    let (mut first, mut second) = (open(&front, "one"), open(&front, "two"));
    one.received();
    load.close();
    echoes(&mut first, "it drains");
    load.cut();
    first.ends_well();
    assert_eq!(one.received(), "closed");
    until("it is off the backend", || load.outstanding() == 0);
    echoes(&mut second, "untouched");
}

#[test]
fn a_tunnel_whose_ends_do_not_read_is_cut_all_the_same() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(SWITCH);
        // Until the proxy takes no more.
        let piece = [b'x'; 1 << 16];
        while conn.stream.write_all(&piece).is_ok() {}
        conn.record("ended");
    });
    let blog = route("blog", &[&origin]);
    let load = blog.backends[0].load.clone();
    let front = Fixture::new(vec![blog]);
    let mut client = front.connect();
    client.send(UPGRADE);
    origin.received();
    until("a tunnel counts", || load.outstanding() == 1);
    load.cut();
    assert_eq!(origin.received(), "ended");
    until("it is off the backend", || load.outstanding() == 0);
}

#[test]
fn a_101_that_connection_does_not_name_is_no_tunnel() {
    for switch in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: close\r\n\r\n",
    ] {
        let origin = Origin::answering(switch);
        let front = Fixture::before(&origin);
        let mut client = front.connect();
        client.send(UPGRADE);
        assert!(client.response().starts_with("HTTP/1.1 502 "));
    }
}
