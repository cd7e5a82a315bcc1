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

/// Gives the application a webhook, and returns its secret.
fn hook(server: &Server) -> String {
    let made = server.send("POST", "/applications/echo/hook", &json!({}));
    let made = made.expect(200).json();
    made["secret"].as_str().unwrap().to_owned()
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
    let _repo = with_branch(&server, &previews);
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

    for (branch, status) in [
        ("feature-one", 409),
        ("//", 422),
        ("-x y", 422),
        (" ", 422),
        ("one", 422),
    ] {
        preview(&server, branch).expect(status);
    }
    let missing = preview(&server, "feature/two").expect(422).text();
    assert!(missing.contains("is not in the repository"), "{missing}");
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
fn one_that_is_made_again_has_the_applications_present_document_and_the_time_that_is_asked_for() {
    let server = Server::start();
    let repo = with_branch(&server, &json!({ "env": { "WORD": "preview" } }));
    preview(&server, "feature/one").expect(201);
    repo.commit(&web_files("one more"));
    let patch = json!({ "env": { "SECRET": "a-new-one" } });
    server
        .send_and_wait("PATCH", "/applications/echo", &patch)
        .expect(200);
    let wish = json!({ "branch": "feature/one", "expires": "2d" });
    server
        .send_and_wait("POST", "/applications/echo/previews", &wish)
        .expect(200);
    let visited = server.visit("/echo-feature-one/").expect(200).json();
    assert_eq!(visited["version"], "one more");
    assert_eq!(visited["env"]["SECRET"], "a-new-one");
    assert_eq!(visited["env"]["WORD"], "preview");
    let path = "/applications/echo-feature-one";
    let document = server.get(path).expect(200).json();
    assert_eq!(document["preview"]["expires"], "2days", "{document}");
}

#[test]
fn who_may_see_some_applications_hears_of_no_other_previews() {
    let server = Server::start();
    let repo = with_branch(&server, &json!({}));
    repo.branch("two");
    preview(&server, "feature/one").expect(201);
    preview(&server, "two").expect(201);
    let apps = ["echo", "echo-two"];
    let wish = json!({ "name": "bound", "scope": "admin", "apps": apps });
    let token = server.send("POST", "/tokens", &wish).expect(201).json();
    let authorization = format!("Bearer {}", token["token"].as_str().unwrap());
    let bound = |method: &str, target: &str| {
        Request::new(method, target)
            .header("Authorization", &authorization)
            .send(&server.public())
    };
    let all = bound("GET", "/applications/echo/previews").expect(200);
    assert!(all.text().contains("echo-two") && !all.text().contains("feature-one"));
    let removed = bound("DELETE", "/applications/echo").expect(202).text();
    assert!(removed.contains("echo-two"), "{removed}");
    assert!(!removed.contains("feature-one"), "{removed}");
    is_gone(&server, "echo-feature-one");
}

#[test]
fn there_are_so_many_and_the_applications_own_branch_is_none() {
    let (server, repo) = (Server::start(), web_repo("1"));
    // Nothing is to run.
    let branch =
        json!({ "repo": { "url": repo.url(), "branch": "master" }, "scale": { "web": 0 } });
    server.deploy(&with(document("echo", &repo), branch));
    preview(&server, "master").expect(422);
    let branches: Vec<String> = (0..12).map(|n| format!("b{n}")).collect();
    branches.iter().for_each(|name| repo.branch(name));
    let make = |branch: &String| {
        let wish = json!({ "branch": branch });
        server.send("POST", "/applications/echo/previews", &wish)
    };
    let made = std::thread::scope(|scope| {
        let all: Vec<_> = branches.iter().map(|b| scope.spawn(|| make(b))).collect();
        let answers = all.into_iter().map(|one| one.join().unwrap());
        answers.filter(|answer| answer.status == 202).count()
    });
    assert_eq!(made, 10, "also where they come at once");
    repo.branch("another");
    let refused = make(&"another".to_owned()).expect(409).text();
    let name = listed(&server)[3]["name"].as_str().unwrap().to_owned();
    assert!(refused.contains(&name), "{refused}");
    server
        .send(
            "POST",
            "/applications",
            &json!({"name": "pushed", "repo": {"push": true}}),
        )
        .expect(201);
    let wish = json!({ "branch": "x" });
    let refused = server.send("POST", "/applications/pushed/previews", &wish);
    assert!(refused.expect(409).text().contains("pushed or uploaded"));
}

#[test]
fn a_webhook_deploys_the_preview_of_its_branch_and_removes_it_with_the_branch() {
    let server = Server::start();
    let repo = with_branch(&server, &json!({}));
    preview(&server, "feature/one").expect(201);
    let secret = hook(&server);
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
fn a_push_to_the_applications_own_branch_deploys_it_also_beside_a_preview_of_that() {
    let server = Server::start();
    let repo = with_branch(&server, &json!({}));
    preview(&server, "master").expect(201);
    let secret = hook(&server);
    repo.checkout("master");
    repo.commit(&web_files("next"));
    let answer = push(&server, &secret, "master", false).expect(202).json();
    assert_eq!(answer["name"], "echo", "{answer}");
    assert_eq!(answer["deployed"], true, "{answer}");
    for place in ["/echo/", "/echo-master/"] {
        eventually("what was pushed serves", SOON, || {
            let visited = server.visit(place).expect(200).json();
            (visited["version"] == "next").then_some(())
        });
    }
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
    server
        .send_and_wait("DELETE", "/applications/echo", &json!({}))
        .expect(200);
    is_gone(&server, "echo-feature-one");
    assert_eq!(server.status("other")["state"], "running");
}
