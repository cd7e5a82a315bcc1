//! `procserver token` and `procserver audit`, and what a token lets the command line do.

use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;

/// Runs a verb at the socket, or over TCP with a token.
fn run(server: &Server, token: Option<&str>, arguments: &[&str]) -> Finished {
    let mut command = procserver();
    command.args(arguments);
    match token {
        None => command.env(
            "PROCSERVER_URL",
            format!("unix:{}", server.socket().display()),
        ),
        Some(token) => command
            .env("PROCSERVER_URL", server.url())
            .env("PROCSERVER_TOKEN", token),
    };
    finish(&mut command)
}

#[test]
fn tokens_are_made_listed_and_revoked_and_the_audit_log_is_shown() {
    let server = Server::start();
    let create = [
        "token",
        "create",
        "ci",
        "--scope",
        "deploy",
        "--app",
        "blog",
        "--expires",
        "90d",
    ];
    let made = run(&server, None, &create);
    assert!(made.stderr.contains("shown this once"), "{made:?}");
    let token = made.success();
    assert!(
        token.starts_with("ps_") && token.trim_end().len() == 46,
        "{token}"
    );
    let again = run(&server, None, &create);
    assert!(
        again.code == Some(1) && again.stderr.contains("already"),
        "{again:?}"
    );
    let wrong = run(&server, None, &["token", "create", "x", "--scope", "root"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let list = run(&server, None, &["token", "list"]).success();
    assert!(
        list.contains("first") && list.contains("ci") && list.contains("blog"),
        "{list}"
    );
    let list: Value =
        serde_json::from_str(&run(&server, None, &["token", "--json"]).success()).unwrap();
    assert_eq!(
        (&list[1]["name"], &list[1]["apps"]),
        (&json!("ci"), &json!(["blog"]))
    );
    let apps = run(&server, Some(token.trim()), &["apps", "--json"]).success();
    assert_eq!(apps.trim(), "[]");
    let refused = run(&server, Some(token.trim()), &["token"]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("\"apps\""),
        "{refused:?}"
    );
    run(&server, None, &["token", "revoke", "ci"]).success();
    assert_eq!(run(&server, None, &["token", "revoke", "ci"]).code, Some(1));
    assert_eq!(run(&server, Some(token.trim()), &["apps"]).code, Some(1));
    let audit = run(&server, None, &["audit", "-n", "3"]).success();
    assert!(
        audit.contains("DELETE /tokens/ci") && audit.contains("socket"),
        "{audit}"
    );
    let audit = run(&server, None, &["audit", "--json"]).success();
    assert!(
        serde_json::from_str::<Vec<Value>>(&audit).unwrap().len() >= 4,
        "{audit}"
    );
}

#[test]
fn who_deploys_scales_and_sees_no_values_and_a_masked_document_is_no_update() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({"env": {"KEY": "hunter22"}}),
    ));
    let create = [
        "token", "create", "ci", "--scope", "deploy", "--app", "echo",
    ];
    let token = run(&server, None, &create).success();
    let by_token = |arguments: &[&str]| run(&server, Some(token.trim()), arguments);
    by_token(&["scale", "echo", "web=2"]).success();
    assert_eq!(by_token(&["env", "echo"]).success().trim(), "KEY=••••");
    let refused = by_token(&["env", "echo", "KEY=other"]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("scope \"admin\""),
        "{refused:?}"
    );
    by_token(&["restart", "echo"]).success();
    let shown = by_token(&["show", "echo"]).success();
    let file = repo.path().join("shown.json");
    std::fs::write(&file, shown).unwrap();
    let update = run(&server, None, &["update", file.to_str().unwrap()]);
    assert!(
        update.code == Some(1) && update.stderr.contains("/env/KEY"),
        "{update:?}"
    );
    assert_eq!(
        server.get("/applications/echo").json()["env"]["KEY"],
        "hunter22"
    );
}
