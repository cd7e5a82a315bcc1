//! Where the API answers, and that the server's own token goes nowhere else.

use serde_json::json;

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request};
use crate::support::server::Server;
use crate::support::setup::Setup;

/// Adds an app by the socket, where no token is needed.
fn deploy(server: &Server, document: &serde_json::Value) {
    let request = Request::new("POST", "/applications").header("Prefer", "wait=50");
    let request = request.header("Content-Type", "application/json");
    let answer = request.body(document.to_string());
    answer.send(&Peer::Unix(server.socket())).expect(201);
}

#[test]
fn the_api_answers_where_the_settings_say_and_at_the_socket_always() {
    let repo = web_repo("1");
    for (place, on_admin) in [("api_hosts", 200), ("socket", 404)] {
        let server = Setup::new()
            .flag("--api", place)
            .flag("--api-hosts", "admin.test")
            .start();
        deploy(&server, &document("echo", &repo));
        for path in ["/applications", "/healthz", "/events", "/routes"] {
            let answer = server.get(path).expect(404).text();
            assert!(!answer.contains("echo"), "{place} {path}: {answer}");
        }
        let admin = server
            .request("GET", "/applications")
            .header("Host", "admin.test");
        admin.send(&server.public()).expect(on_admin);
        server.visit("/echo/").expect(200);
    }
}

#[test]
fn the_token_of_the_server_is_not_passed_on_to_an_app() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let port = server.spare_port();
    let more = json!({ "domain": ["^echo\\.test$"], "port": port });
    deploy(&server, &with(document("echo", &repo), more));
    let own_port = Peer::Tcp(([127, 0, 0, 1], port).into());
    let token = server.token();
    for (target, name, value, peer) in [
        ("/echo/", "X-Other", "", server.public()),
        ("/", "Host", "echo.test", server.public()),
        ("/", "X-App", "echo", server.public()),
        ("/", "X-Other", "", own_port),
    ] {
        for scheme in ["Bearer ", "bearer   ", ""] {
            let request = Request::get(target).header("aUTHORIZATION", &format!("{scheme}{token}"));
            let got = request.header(name, value).send(&peer).expect(200).text();
            assert!(
                !got.contains(&token) && got.contains("PROCSERVER_APP"),
                "{got}"
            );
        }
        let request = Request::get(target).header("Authorization", "Bearer of-the-app");
        let got = request.header(name, value).send(&peer).expect(200).json();
        assert_eq!(got["headers"]["authorization"], "Bearer of-the-app");
    }
    assert!(!server.log().contains(&token), "{}", server.log());
}

/// Sends a request with this token from an address of the loopback network, and returns the head of the answer.
fn asks(from: u8, server: &Server, token: &str) -> String {
    use std::io::{Read, Write};
    let Peer::Tcp(address) = server.public() else {
        unreachable!("it is TCP")
    };
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let own = std::net::SocketAddr::from(([127, 0, 0, from], 0));
    socket.bind(&own.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    // What a stranger says of its address counts for nothing.
    let head = format!(
        "GET /applications HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.9\r\nX-Forwarded-For: 192.0.2.9\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn ten_wrong_tokens_in_a_minute_and_the_address_is_not_listened_to() {
    let server = Server::start();
    let token = server.token();
    let begun = std::time::Instant::now();
    for turn in 0..10 {
        let answer = asks(2, &server, &format!("wrong-token-number-{turn}"));
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    let answer = asks(2, &server, "wrong-token");
    let right = asks(2, &server, &token);
    // On a machine that is slow enough the minute is over.
    if begun.elapsed() < std::time::Duration::from_secs(50) {
        for answer in [&answer, &right] {
            assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
            assert!(
                answer.to_ascii_lowercase().contains("\r\nretry-after: "),
                "{answer}"
            );
        }
    }
    assert!(asks(3, &server, &token).starts_with("HTTP/1.1 200 "));
    let socket = Peer::Unix(server.socket());
    Request::get("/applications").send(&socket).expect(200);
    Request::get("/healthz").send(&server.public()).expect(200);
    let log = server.log();
    assert_eq!(
        log.matches("a wrong token from 127.0.0.2").count(),
        12,
        "{log}"
    );
    assert!(
        !log.contains("wrong-token") && !log.contains(&token) && !log.contains("192.0.2.9"),
        "{log}"
    );
}
