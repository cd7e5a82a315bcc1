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
