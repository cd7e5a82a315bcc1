//! The document of an application that is pushed to, and what becomes of it before anything was pushed.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo};
use crate::support::server::Server;

fn pushed(name: &str) -> Value {
    json!({"name": name, "repo": {"push": true}, "static": {"dir": "."}})
}

#[test]
fn an_app_is_created_before_anything_was_pushed_and_says_how_to_begin() {
    let mut server = Server::start();
    let made = server.send_and_wait("POST", "/applications", &pushed("site"));
    assert_eq!(made.header("location"), Some("/applications/site"));
    let made = made.expect(201).json();
    assert_eq!(made["state"], "empty", "{made}");
    let tells = |status: &Value| {
        let warnings = status["warnings"].to_string();
        assert!(
            warnings
                .contains("nothing has been pushed yet: git push https://SERVER/git/site.git main"),
            "{status}"
        );
        assert_eq!(
            (&status["state"], &status["deployment"]),
            (&json!("empty"), &json!(null))
        );
    };
    tells(&server.status("site"));
    // Changes wait for the push, too.
    let patch = json!({"env": {"A": "1"}});
    server
        .send_and_wait("PATCH", "/applications/site", &patch)
        .expect(200);
    server
        .send_and_wait("PUT", "/applications/site", &pushed("site"))
        .expect(200);
    tells(&server.status("site"));
    server.kill();
    server.start_again();
    tells(&server.status("site"));
    // Who asks for a deploy is told why there is none.
    let refused = server.act("site", "redeploy").expect(422).json();
    let told = refused.to_string();
    assert!(told.contains("nothing has been pushed yet"), "{told}");
    assert!(told.contains("/git/site.git"), "{told}");
}

#[test]
fn an_app_whose_code_was_fetched_keeps_it_when_it_becomes_one_that_is_pushed_to() {
    let server = Server::start();
    let repo = web_repo("one");
    server.deploy(&document("web", &repo));
    let mut other = document("web", &repo);
    other["repo"] = json!({"push": true, "branch": "master"});
    server
        .send_and_wait("PUT", "/applications/web", &other)
        .expect(200);
    let status = server.status("web");
    assert_eq!(
        (&status["commit"], &status["release"]),
        (&json!(repo.commit_id()), &json!(2))
    );
    // Nothing is fetched any more.
    repo.commit(&[("VERSION", "two")]);
    server.act("web", "redeploy").expect(200);
    assert_eq!(server.status("web")["commit"], status["commit"]);
}
