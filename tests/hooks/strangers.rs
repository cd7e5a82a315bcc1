//! Who does not know the secret, and what makes no sense.

use serde_json::json;

use super::{Delivery, deployed, hex, mac, site};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::setup::Setup;

#[test]
fn who_does_not_sign_is_told_nothing_and_has_to_wait_after_ten() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    server.deploy(
        &json!({"name": "silent", "repo": {"url": repo.url()}, "static": {"dir": "public"}}),
    );
    let push = Delivery::push("github");
    let send = |request: Request| request.send(&server.public());
    // No secret, another's secret, no such application, none at all: the same words.
    let wrong = send(push.to("blog", "whsec_wrong")).expect(403).text();
    assert_eq!(send(push.to("silent", &secret)).expect(403).text(), wrong);
    assert_eq!(send(push.to("none", &secret)).expect(403).text(), wrong);
    assert_eq!(send(push.to("N%20ONE", &secret)).expect(403).text(), wrong);
    let unsigned = Request::new("POST", "/hooks/blog").body("{}");
    send(unsigned.clone()).expect(401);
    send(
        unsigned
            .clone()
            .header("Authorization", &format!("Bearer {}", server.token())),
    )
    .expect(401);
    send(unsigned.header("X-Hub-Signature-256", "sha256=00")).expect(401);
    let old = jiff::Timestamp::now().as_second() - 3600;
    let stale = Delivery::push("gitlab-signed").at("blog", &secret, old);
    let told = send(stale).expect(403).text();
    assert!(told.contains("clocks"), "{told}");
    let mut changed = push.clone();
    changed.body.push(b' ');
    let tag = hex(&mac(secret.as_bytes(), &push.body));
    let forged = Request::new("POST", "/hooks/blog")
        .header("X-GitHub-Event", "push")
        .header("Content-Type", "application/json")
        .header("X-Hub-Signature-256", &format!("sha256={tag}"))
        .body(changed.body);
    send(forged).expect(403);
    let deployments = server.get("/applications/blog/deployments").json();
    assert_eq!(
        deployments.as_array().map(Vec::len),
        Some(1),
        "{deployments}"
    );
    // That was the ninth.
    send(push.to("none", &secret)).expect(403);
    let plain = Delivery::push("gitlab-token");
    let locked = send(plain.to("blog", &secret)).expect(429);
    assert!(locked.header("retry-after").is_some());
    assert!(!locked.text().contains("token"), "{}", locked.text());
    // Anybody can send webhooks: who has a token is not shut out by them.
    let counted = server.get("/metrics").expect(200).text();
    assert!(
        counted.contains("\nprocserver_login_failures_total 10.0\n"),
        "{counted}"
    );
    // Strangers share the addresses of a git service: they do not shut out who signs.
    send(push.to("blog", "whsec_wrong")).expect(403);
    send(push.to("blog", &secret)).expect(202);
    assert!(
        server.log().contains("wrongly signed webhook"),
        "{}",
        server.log()
    );
}

#[test]
fn a_page_of_another_site_is_refused() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    let request = Delivery::push("github").to("blog", &secret);
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let refused = request.clone().header(name, value).send(&server.public());
        refused.expect(403);
    }
    request.send(&server.public()).expect(202);
}

#[test]
fn what_is_signed_and_makes_no_sense_is_explained() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    let send = |kind: &str, content_type: &str, body: &str| {
        let tag = hex(&mac(secret.as_bytes(), body.as_bytes()));
        let mut request = Request::new("POST", "/hooks/blog")
            .header("Content-Type", content_type)
            .header("X-Hub-Signature-256", &format!("sha256={tag}"));
        if !kind.is_empty() {
            request = request.header("X-GitHub-Event", kind);
        }
        request.body(body).send(&server.public())
    };
    let json = "application/json";
    for (kind, content_type, body, status, word) in [
        ("push", json, "{", 400, "line 1"),
        ("push", json, "[]", 400, "JSON"),
        ("push", json, "{}", 422, "\\\"ref\\\""),
        ("", json, "{}", 422, "X-GitHub-Event"),
        ("push", "text/xml", "<a/>", 415, "text/xml"),
        (
            "push",
            "application/x-www-form-urlencoded",
            "a=b",
            400,
            "payload",
        ),
    ] {
        let told = send(kind, content_type, body).expect(status).text();
        assert!(told.contains(word), "{word}: {told}");
    }
    let large = format!(
        "{{\"ref\": \"refs/heads/main\", \"x\": \"{}\"}}",
        "x".repeat(3 << 20)
    );
    send("push", json, &large).expect(202);
    let deployments = server.get("/applications/blog/deployments").json();
    assert_eq!(
        deployments.as_array().map(Vec::len),
        Some(2),
        "{deployments}"
    );
    send("ping", json, &" ".repeat((25 << 20) + 1)).expect(413);
}

#[test]
fn other_methods_and_paths_are_not_there_and_an_application_of_that_name_keeps_its_path() {
    let server = Server::start();
    let get = Request::get("/hooks/blog")
        .send(&server.public())
        .expect(405);
    assert_eq!(get.header("allow"), Some("POST"));
    Request::new("POST", "/hooks")
        .body("{}")
        .send(&server.public())
        .expect(401);
    Request::new("POST", "/hooks/a/b")
        .body("{}")
        .send(&server.public())
        .expect(401);
    let repo = site("1");
    let document =
        json!({"name": "hooks", "repo": {"url": repo.url()}, "static": {"dir": "public"}});
    let refused = server
        .send("POST", "/applications", &document)
        .expect(422)
        .text();
    assert!(refused.contains("reserved"), "{refused}");
    drop(server);
    // One that was there before hooks were.
    let setup = Setup::new();
    std::fs::create_dir_all(setup.config_directory()).unwrap();
    std::fs::write(
        setup.config_directory().join("hooks.json"),
        document.to_string(),
    )
    .unwrap();
    let server = setup.start();
    crate::support::wait::eventually("it serves", crate::support::wait::SOON, || {
        (server.try_visit("/hooks/") == Some(200)).then_some(())
    });
    assert_eq!(server.visit("/hooks/").text(), "1");
}
