//! Connections of one address.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::fixture::{Client, Fixture, OK, route, until};
use super::origin::Origin;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client at this address of the loopback network.
fn client_at(from: [u8; 4], to: SocketAddr) -> Client {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    Client { stream }
}

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
        settings.trusted_proxies = vec!["127.0.0.3".into()];
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
        let mut other = client_at(from, front.address);
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
