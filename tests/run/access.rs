//! Who may run and see what, and what is kept of it.

use serde_json::{Value, json};

use super::{detached, start};
use crate::support::http::Request;
use crate::support::wait::{SOON, eventually};

fn token(server: &crate::support::server::Server, scope: &str) -> String {
    let wish = json!({"name": scope, "scope": scope});
    let made = server.send("POST", "/tokens", &wish).expect(201).json();
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn who_deploys_may_run_and_who_reads_sees_it_without_its_secrets() {
    let (server, _repo) = start();
    let (deploys, reads) = (token(&server, "deploy"), token(&server, "read"));
    let of = |token: &str, method: &str, target: &str| {
        Request::new(method, target).header("Authorization", &format!("Bearer {token}"))
    };
    let wish = json!({"command": "echo the $KEY; exec sleep 600", "env": {"KEY": "s3cret-of-the-run"}, "detach": true});
    let body = |request: Request| {
        let request = request.header("Content-Type", "application/json");
        request.body(wish.to_string()).send(&server.public())
    };
    body(of(&reads, "POST", "/applications/echo/run")).expect(403);
    let started = body(of(&deploys, "POST", "/applications/echo/run"))
        .expect(201)
        .json();
    assert_eq!(started["id"], "run.1");
    let get =
        |token: &str, target: &str| of(token, "GET", target).send(&server.public()).expect(200);
    for target in ["/applications/echo/run", "/applications/echo/status"] {
        let text = get(&reads, target).text();
        assert!(text.contains("run.1") && !text.contains("s3cret"), "{text}");
    }
    let listed: Value = get(&reads, "/applications/echo/run").json();
    assert_eq!(listed[0]["env"]["KEY"], "••••");
    let log = "/applications/echo/logs?process=run.1";
    eventually("it has printed", SOON, || {
        let text = get(&reads, log).text();
        assert!(!text.contains("s3cret"), "{text}");
        text.contains("the ••••").then_some(())
    });
    let audit = server.get("/audit?tail=100&app=echo").expect(200).text();
    assert!(
        audit.contains("/applications/echo/run\"") && !audit.contains("s3cret"),
        "{audit}"
    );
    of(&reads, "DELETE", "/applications/echo/run/run.1")
        .send(&server.public())
        .expect(403);
}

#[test]
fn no_page_of_another_site_attaches() {
    let (server, _repo) = start();
    detached(&server, "exec sleep 600");
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        server
            .request("GET", "/applications/echo/run/run.1/attach")
            .header(name, value)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
            .send(&server.public())
            .expect(403);
    }
}
