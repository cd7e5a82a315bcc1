//! Tokens: made, listed, used, expired, revoked; and where they never appear.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{get, request, token, token_of};
use crate::support::fixture::{document, web_repo};
use crate::support::http::{Peer, Request};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

fn listed(server: &Server, name: &str) -> Option<Value> {
    let all = server.get("/tokens").expect(200).json();
    all.as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"] == name)
        .cloned()
}

#[test]
fn a_token_is_shown_once_kept_as_a_digest_and_outlives_the_server() {
    let mut server = Server::start();
    let wish = json!({"name": "ci", "scope": "deploy", "apps": ["blog"], "expires": "90d"});
    let answer = server.send("POST", "/tokens", &wish).expect(201);
    let made = answer.json();
    let text = made["token"].as_str().unwrap().to_owned();
    assert!(text.starts_with("ps_") && text.len() == 46, "{text}");
    assert_eq!(
        answer.header("location").unwrap(),
        format!("/tokens/{}", made["id"].as_str().unwrap())
    );
    server.send("POST", "/tokens", &wish).expect(409);
    server
        .send("POST", "/tokens", &json!({"name": "x", "scope": "all"}))
        .expect(422);

    let kept = listed(&server, "ci").unwrap();
    assert_eq!(
        (&kept["scope"], &kept["apps"], &kept["last_used"]),
        (&json!("deploy"), &json!(["blog"]), &json!(null))
    );
    assert!(
        kept["expires"].is_string() && kept.get("token").is_none(),
        "{kept}"
    );
    assert_eq!(server.get("/tokens").json()[0]["name"], "first");
    get(&server, &text, "/applications").expect(200);
    assert!(listed(&server, "ci").unwrap()["last_used"].is_string());

    let path = server.directory().join("tokens.json");
    let file = std::fs::read_to_string(&path).unwrap();
    assert!(!file.contains(&text) && !file.contains(&server.token()));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    server.kill();
    server.start_again();
    get(&server, &text, "/applications").expect(200);
    server
        .request("DELETE", "/tokens/first")
        .send(&server.public())
        .expect(409);
    server
        .request("DELETE", "/tokens/ci")
        .send(&server.public())
        .expect(200);
    server
        .request("DELETE", "/tokens/ci")
        .send(&server.public())
        .expect(404);
    get(&server, &text, "/applications").expect(401);
    server.kill();
    server.start_again();
    get(&server, &text, "/applications").expect(401);
}

#[test]
fn a_revoked_token_opens_nothing_on_any_worker_at_once_and_ends_what_is_followed() {
    let server = Setup::new().flag("--workers", "4").start();
    let token = token_of(&server, "read");
    let mut events = request(&token, "GET", "/events")
        .open(&server.public())
        .unwrap();
    assert_eq!(events.next_line(), ": following");
    for _ in 0..20 {
        get(&server, &token, "/applications").expect(200);
    }
    server
        .request("DELETE", "/tokens/read")
        .send(&server.public())
        .expect(200);
    // Nine, for the tenth wrong token is the last that is looked at.
    for _ in 0..9 {
        get(&server, &token, "/applications").expect(401);
    }
    use std::io::Read as _;
    let mut rest = String::new();
    events
        .into_body()
        .read_to_string(&mut rest)
        .expect("a whole body");
}

#[test]
fn a_token_expires_by_itself() {
    let server = Server::start();
    let token = token(
        &server,
        &json!({"name": "short", "scope": "read", "expires": "2s"}),
    );
    get(&server, &token, "/applications").expect(200);
    let mut events = request(&token, "GET", "/events")
        .open(&server.public())
        .unwrap();
    assert_eq!(events.next_line(), ": following");
    use std::io::Read as _;
    let mut rest = String::new();
    events
        .into_body()
        .read_to_string(&mut rest)
        .expect("a whole body");
    let refused = get(&server, &token, "/applications").expect(401).text();
    assert!(refused.contains("expired at"), "{refused}");
    assert_eq!(listed(&server, "short").unwrap()["expired"], true);
}

#[test]
fn no_token_of_this_server_reaches_an_app_or_a_log() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let of =
        |name: &str, expires: Value| json!({"name": name, "scope": "read", "expires": expires});
    let live = token(&server, &of("live", Value::Null));
    let short = token(&server, &of("short", json!("1s")));
    let revoked = token(&server, &of("revoked", Value::Null));
    server
        .request("DELETE", "/tokens/revoked")
        .send(&server.public())
        .expect(200);
    eventually("it has expired", SOON, || {
        listed(&server, "short").unwrap().get("expired").map(|_| ())
    });
    let foreign = format!("ps_{}", "A".repeat(43));
    let arrives = |token: &str| {
        let visit = request(token, "GET", "/echo/").send(&server.public());
        let seen = visit.expect(200).json();
        seen["headers"].get("authorization").is_some()
    };
    for token in [&live, &short, &revoked, &server.token()] {
        assert!(!arrives(token));
    }
    assert!(
        arrives(&foreign),
        "another server's token is the app's own business"
    );
    for token in [&live, &short, &revoked] {
        let _answered = get(&server, token, "/applications");
        let log = server.log();
        assert!(!log.contains(&token[3..]), "{log}");
        let access =
            std::fs::read_to_string(server.directory().join("logs/access.log")).unwrap_or_default();
        assert!(!access.contains(&token[3..]));
    }
}

#[test]
fn failed_log_ins_of_an_ipv6_network_count_together() {
    let server = Setup::new().flag("--trusted-proxies", "127.0.0.1").start();
    let call = |from: &str, token: &str| {
        let request = request(token, "GET", "/applications").header("X-Forwarded-For", from);
        request.send(&server.public())
    };
    for n in 0..10 {
        call(&format!("2001:db8:1:2::{n}"), "wrong").expect(401);
    }
    let waits = call("2001:db8:1:2:ffff::1", &server.token()).expect(429);
    assert!(waits.header("retry-after").unwrap().parse::<u32>().unwrap() <= 60);
    call("2001:db8:1:3::1", &server.token()).expect(200);
    assert!(
        server.log().contains("a wrong token from 2001:db8:1:2::"),
        "{}",
        server.log()
    );
    let socket = Peer::Unix(server.socket());
    Request::get("/tokens").send(&socket).expect(200);
}
