//! Policies as a user sets them, with the real server and the real command line.

use serde_json::{Value, json};

use super::SESAME;
use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_files, with};
use crate::support::http::{Request, Response};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn repo() -> Repo {
    let repo = Repo::new(&web_files("1"));
    repo.commit(&[("down.html", "<p>Back at noon</p>")]);
    repo
}

fn deployed(fields: Value) -> (Server, Repo) {
    let (server, repo) = (Server::start(), repo());
    server.deploy(&with(document("echo", &repo), fields));
    (server, repo)
}

fn run(server: &Server, arguments: &[&str]) -> Finished {
    let socket = format!("unix:{}", server.socket().display());
    finish(procserver().args(arguments).env("PROCSERVER_URL", socket))
}

fn visit(server: &Server, fields: &[(&str, &str)]) -> Response {
    let mut request = Request::get("/echo/");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.send(&server.public())
}

#[test]
fn maintenance_begins_and_ends_at_once_and_no_process_notices() {
    let (server, _repo) = deployed(json!({}));
    let pid = server.ready_pid("echo", "web.1");
    assert_eq!(
        run(&server, &["maintenance", "echo"]).success().trim(),
        "off"
    );
    run(
        &server,
        &["maintenance", "echo", "on", "--page", "down.html"],
    )
    .success();
    let page = visit(&server, &[("Accept", "text/html")]).expect(503);
    assert_eq!(page.text(), "<p>Back at noon</p>");
    assert_eq!(page.header("retry-after"), Some("120"));
    let plain = visit(&server, &[]).expect(503);
    assert_eq!(plain.json()["code"], "H80");
    assert_eq!(
        run(&server, &["maintenance", "echo"]).success().trim(),
        "on"
    );
    assert!(
        run(&server, &["apps"])
            .success()
            .contains("running, maintenance")
    );
    assert!(
        run(&server, &["ps", "echo"])
            .success()
            .contains(", in maintenance")
    );
    let shown = run(&server, &["maintenance", "echo", "--json"]).success();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown, json!({"maintenance": {"page": "down.html"}}));
    // It is well, and so its status says.
    assert_eq!(server.status("echo")["state"], "running");

    run(
        &server,
        &["maintenance", "echo", "on", "--retry-after", "10m"],
    )
    .success();
    let page = visit(&server, &[("Accept", "text/html")]).expect(503);
    assert_eq!(page.header("retry-after"), Some("600"));
    assert_eq!(page.text(), "<p>Back at noon</p>", "it stays");
    run(&server, &["maintenance:off", "echo"]).success();
    assert!(!run(&server, &["apps"]).success().contains("maintenance"));
    visit(&server, &[]).expect(200);
    let told = run(&server, &["maintenance", "echo", "on", "--page", "no.html"]);
    assert!(
        told.stderr.contains("\"no.html\" cannot be shown"),
        "{told:?}"
    );
    run(&server, &["maintenance", "echo", "off"]).success();
    assert_eq!(server.ready_pid("echo", "web.1"), pid);

    let log = server.directory().join("logs/access.log");
    eventually("the refusals are in the access log", SOON, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text
            .matches(r#""code":"H80","policy":"maintenance""#)
            .count()
            == 3)
            .then_some(())
    });

    let failed = run(&server, &["maintenance", "echo", "off", "--page", "x.html"]);
    assert_eq!(failed.code, Some(2), "{failed:?}");
    let failed = run(&server, &["maintenance", "echo", "on", "--page", "../x"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    visit(&server, &[]).expect(200);
}

#[test]
fn policies_are_changed_by_fields_and_their_hashes_are_shown_to_admins_alone() {
    let (server, _repo) = deployed(json!({"auth": {"basic": {"ann": SESAME}}}));
    let pid = server.ready_pid("echo", "web.1");
    visit(&server, &[]).expect(401);
    let right = ("Authorization", "Basic YW5uOnNlc2FtZQ==");
    let got = visit(&server, &[right]).expect(200).json();
    assert_eq!(got["headers"]["x-forwarded-user"], "ann");
    assert_eq!(got["headers"].get("authorization"), None);

    let shown = server.get("/applications/echo").json();
    assert_eq!(shown["auth"]["basic"]["ann"], SESAME);
    let reader = json!({"name": "reader", "scope": "read"});
    let reader = server.send("POST", "/tokens", &reader).expect(201).json();
    let token = format!("Bearer {}", reader["token"].as_str().unwrap());
    let masked = Request::get("/applications/echo")
        .header("Authorization", &token)
        .send(&server.public())
        .expect(200);
    assert!(!masked.text().contains("$2y$"), "{}", masked.text());
    assert_eq!(masked.json()["auth"]["basic"]["ann"], "••••");

    let patch = json!({"auth": null, "rate": {"requests": "1/h", "burst": 2}, "headers": {"response": {"X-A": "b"}}});
    server
        .send_and_wait("PATCH", "/applications/echo", &patch)
        .expect(200);
    assert_eq!(visit(&server, &[]).expect(200).header("x-a"), Some("b"));
    visit(&server, &[]).expect(200);
    visit(&server, &[]).expect(429);
    // Another change, and nobody begins anew.
    let patch = json!({"headers": null});
    server
        .send_and_wait("PATCH", "/applications/echo", &patch)
        .expect(200);
    visit(&server, &[]).expect(429);
    server.act("echo", "restart").expect(200);
    visit(&server, &[]).expect(429);
    let patch = json!({"rate": null});
    server
        .send_and_wait("PATCH", "/applications/echo", &patch)
        .expect(200);
    assert_eq!(visit(&server, &[]).expect(200).header("x-a"), None);
    assert_ne!(
        server.ready_pid("echo", "web.1"),
        pid,
        "only the restart made a new one"
    );

    let wrong = json!({"auth": {"basic": {"ann": "sesame"}}});
    let refused = server
        .send("PATCH", "/applications/echo", &wrong)
        .expect(422);
    assert!(
        refused.text().contains("/auth/basic/ann"),
        "{}",
        refused.text()
    );
    assert!(!refused.text().contains("sesame"));
}

#[test]
fn a_hash_is_made_of_what_standard_input_says() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sesame\n").unwrap();
    let input = || std::fs::File::open(file.path()).unwrap();
    let made = finish(procserver().arg("hash").stdin(input())).success();
    assert!(
        made.starts_with("$2b$10$") && made.trim().len() == 60,
        "{made}"
    );
    let again = finish(procserver().args(["hash", "--json"]).stdin(input())).success();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_ne!(again["hash"], made.trim());
    std::fs::write(file.path(), "a".repeat(73)).unwrap();
    assert_eq!(
        finish(procserver().arg("hash").stdin(input())).code,
        Some(2)
    );
}
