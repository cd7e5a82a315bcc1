//! Previews: a branch of an application beside it, which goes by itself.

use std::process::Command;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};

use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::http::{Request, Response};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// `echo` of `master`, and a branch `feature/one` of the same repository, which is checked out.
fn with_branch(server: &Server, previews: &Value) -> Repo {
    let repo = web_repo("main");
    let previews = json!({ "previews": previews, "env": { "SECRET": "of-the-app" } });
    server.deploy(&with(document("echo", &repo), previews));
    repo.branch("feature/one");
    repo.commit(&web_files("one"));
    repo
}

fn preview(server: &Server, branch: &str) -> Response {
    let wish = json!({ "branch": branch });
    server.send_and_wait("POST", "/applications/echo/previews", &wish)
}

fn listed(server: &Server) -> Vec<Value> {
    let all = server.get("/applications/echo/previews").expect(200).json();
    all.as_array().unwrap().clone()
}

fn is_gone(server: &Server, name: &str) {
    eventually("it is gone", SOON * 3, || {
        let answer = server.get(&format!("/applications/{name}"));
        (answer.status == 404).then_some(())
    });
}

/// A push of GitHub's.
fn push(server: &Server, secret: &str, branch: &str, deleted: bool) -> Response {
    let after = if deleted { "0" } else { "1" }.repeat(40);
    let body = json!({ "ref": format!("refs/heads/{branch}"), "deleted": deleted, "after": after,
        "repository": { "default_branch": "master" } });
    let body = body.to_string();
    let tag = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let tag: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let id = format!("{branch}-{deleted}-{}", jiff::Timestamp::now());
    Request::new("POST", "/hooks/echo")
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", "push")
        .header("X-GitHub-Delivery", &id)
        .header("X-Hub-Signature-256", &format!("sha256={tag}"))
        .body(body)
        .send(&server.public())
}

#[test]
fn a_branch_is_an_application_of_its_own_with_a_host_and_files_of_its_own() {
    let server = Server::start();
    let previews = json!({ "hosts": "*.preview.example", "env": { "WORD": "preview" } });
    let repo = with_branch(&server, &previews);
    preview(&server, "feature/one").expect(201);
    let visited = Request::get("/")
        .header("Host", "echo-feature-one.preview.example")
        .send(&server.public())
        .expect(200)
        .json();
    assert_eq!(visited["version"], "one");
    assert_eq!(visited["env"]["WORD"], "preview");
    assert_eq!(visited["env"]["SECRET"], "of-the-app");
    let own = server.visit("/echo/").expect(200).json();
    assert_eq!(own["version"], "main");
    assert_ne!(own["env"]["STORAGE_DIR"], visited["env"]["STORAGE_DIR"]);
    let all = listed(&server);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["name"], "echo-feature-one");
    assert_eq!(all[0]["branch"], "feature/one");
    assert!(all[0]["expires_at"].is_string(), "{all:?}");

    // Asked for again, it is deployed again.
    repo.commit(&web_files("one more"));
    preview(&server, "feature/one").expect(200);
    let visited = server.visit("/echo-feature-one/").expect(200).json();
    assert_eq!(visited["version"], "one more");

    for (branch, status) in [("feature-one", 409), ("//", 422), ("-x y", 422), (" ", 422)] {
        preview(&server, branch).expect(status);
    }
    let wish = json!({ "branch": "x" });
    server
        .send("POST", "/applications/echo-feature-one/previews", &wish)
        .expect(409);
    server
        .send("POST", "/applications/none/previews", &wish)
        .expect(404);
    assert_eq!(listed(&server).len(), 1);

    let removed = server.request("DELETE", "/applications/echo");
    let removed = removed.send(&server.public()).expect(202).text();
    assert!(removed.contains("echo-feature-one"), "{removed}");
    is_gone(&server, "echo-feature-one");
    is_gone(&server, "echo");
}

#[test]
fn there_are_so_many_and_the_applications_own_branch_is_none() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let branch = json!({ "repo": { "url": repo.url(), "branch": "master" } });
    server.deploy(&with(document("echo", &repo), branch));
    preview(&server, "master").expect(422);
    let make = |n: u32| {
        let wish = json!({ "branch": format!("none{n}") });
        server.send("POST", "/applications/echo/previews", &wish)
    };
    for n in 0..10 {
        make(n).expect(202);
    }
    let refused = make(10).expect(409).text();
    assert!(refused.contains("echo-none3"), "{refused}");
    server.send(
        "POST",
        "/applications",
        &json!({"name": "pushed", "repo": {"push": true}}),
    );
    let wish = json!({ "branch": "x" });
    let refused = server.send("POST", "/applications/pushed/previews", &wish);
    assert!(refused.expect(409).text().contains("pushed or uploaded"));
}

#[test]
fn a_webhook_deploys_the_preview_of_its_branch_and_removes_it_with_the_branch() {
    let server = Server::start();
    let repo = with_branch(&server, &json!({}));
    preview(&server, "feature/one").expect(201);
    let secret = server
        .send("POST", "/applications/echo/hook", &json!({}))
        .json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    repo.commit(&web_files("two"));
    let answer = push(&server, &secret, "feature/one", false)
        .expect(202)
        .json();
    assert_eq!(answer["name"], "echo-feature-one", "{answer}");
    eventually("what was pushed serves", SOON, || {
        let visited = server.visit("/echo-feature-one/").expect(200).json();
        (visited["version"] == "two").then_some(())
    });
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "main");
    let other = push(&server, &secret, "feature/two", false)
        .expect(200)
        .json();
    assert_eq!(other["deployed"], false, "{other}");
    let answer = push(&server, &secret, "feature/one", true)
        .expect(202)
        .json();
    assert_eq!(answer["removed"], true, "{answer}");
    is_gone(&server, "echo-feature-one");
    server.visit("/echo/").expect(200);
}

#[test]
fn one_that_nobody_deploys_goes_by_itself() {
    let server = Server::start();
    let _repo = with_branch(&server, &json!({ "expires": "10s" }));
    preview(&server, "feature/one").expect(201);
    is_gone(&server, "echo-feature-one");
    server.visit("/echo/").expect(200);
    let log = server.log();
    assert!(
        log.contains("preview.removed app=echo-feature-one"),
        "{log}"
    );
    let audit = server.get("/audit?app=echo-feature-one").expect(200).text();
    assert!(audit.contains("\"who\":\"server\""), "{audit}");
}

#[test]
fn the_command_line_makes_lists_and_removes_and_touches_nothing_else() {
    let server = Server::start();
    let _repo = with_branch(&server, &json!({}));
    let run = |args: &[&str]| {
        let mut command: Command = procserver();
        command
            .args(args)
            .env("PROCSERVER_URL", server.url())
            .env("PROCSERVER_TOKEN", server.token());
        finish(&mut command)
    };
    let none = run(&["preview", "echo"]).success();
    assert!(none.contains("no preview"), "{none}");
    run(&["preview", "echo", "feature/one", "--for", "2d"]).success();
    let all = run(&["preview", "echo"]).success();
    assert!(all.contains("echo-feature-one"), "{all}");
    assert_ne!(run(&["preview", "echo", "two", "--rm"]).code, Some(0));
    let gone = run(&["preview", "echo", "feature/one", "--rm"]).success();
    assert!(gone.contains("echo-feature-one"), "{gone}");
    is_gone(&server, "echo-feature-one");
    server.visit("/echo/").expect(200);
}

#[test]
fn nobody_makes_a_preview_of_what_is_none_nor_the_other_way_round() {
    let server = Server::start();
    let repo = with_branch(&server, &json!({}));
    preview(&server, "feature/one").expect(201);
    let other = document("other", &repo);
    let of_echo = json!({ "preview": { "of": "echo" } });
    let refused = |answer: Response| {
        let answer = answer.expect(422).json();
        assert_eq!(answer["errors"][0]["pointer"], "/preview/of", "{answer}");
    };
    refused(server.send_and_wait(
        "POST",
        "/applications",
        &with(other.clone(), of_echo.clone()),
    ));
    server.deploy(&other);
    let path = "/applications/other";
    refused(server.send_and_wait("PATCH", path, &of_echo));
    refused(server.send_and_wait("PUT", path, &with(other, of_echo)));
    let path = "/applications/echo-feature-one";
    refused(server.send_and_wait("PATCH", path, &json!({ "preview": null })));
    // What belongs to it may change.
    let longer = json!({ "preview": { "expires": "2days" } });
    server.send_and_wait("PATCH", path, &longer).expect(200);
    server.send_and_wait("DELETE", "/applications/echo", &json!({}));
    is_gone(&server, "echo-feature-one");
    assert_eq!(server.status("other")["state"], "running");
}
