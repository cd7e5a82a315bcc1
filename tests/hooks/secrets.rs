//! The secret of a webhook: who makes it, who sees it.

use serde_json::{Value, json};

use super::{Delivery, deployed, site};
use crate::support::command::{Finished, finish, procserver};
use crate::support::http::Request;
use crate::support::server::Server;

fn hook(server: &Server, arguments: &[&str]) -> Finished {
    let socket = format!("unix:{}", server.socket().display());
    finish(
        procserver()
            .args(["hook", "blog", "--server", &socket])
            .args(arguments),
    )
}

fn secret_in(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("Secret  "));
    line.unwrap_or_else(|| panic!("no secret in {text}"))
        .to_owned()
}

#[test]
fn the_verb_makes_one_and_says_where_it_goes_and_a_new_one_ends_the_old() {
    let (server, repo) = (Server::start(), site("1"));
    server
        .deploy(&json!({"name": "blog", "repo": {"url": repo.url()}, "static": {"dir": "public"}}));
    let before = server.get("/applications/blog/hook").expect(200).json();
    assert_eq!(before["secret"], Value::Null);
    let shown = hook(&server, &[]).success();
    let first = secret_in(&shown);
    for word in ["/hooks/blog", "GitHub", "GitLab", "Gitea", "Forgejo"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert_eq!(secret_in(&hook(&server, &[]).success()), first, "it stays");
    Delivery::push("github")
        .to("blog", &first)
        .send(&server.public())
        .expect(202);
    let second = secret_in(&hook(&server, &["--new"]).success());
    assert_ne!(first, second);
    let send = |secret: &str| {
        let delivery = Delivery::push("gitea").with_id("new").to("blog", secret);
        delivery.send(&server.public())
    };
    send(&first).expect(403);
    send(&second).expect(202);
    let own = server.directory().join("own-secret");
    std::fs::write(&own, "chosen-by-somebody\n").unwrap();
    hook(&server, &["--secret-file", own.to_str().unwrap()]).success();
    let json: Value = serde_json::from_str(&hook(&server, &["--json"]).success()).unwrap();
    assert_eq!(json["secret"], "chosen-by-somebody");
    std::fs::write(&own, "short\n").unwrap();
    let refused = hook(&server, &["--secret-file", own.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("16 to 200"), "{}", refused.stderr);
}

#[test]
fn only_who_may_see_secrets_sees_it() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    for (scope, sees) in [("read", false), ("deploy", false), ("admin", true)] {
        let wish = json!({"name": scope, "scope": scope});
        let made = server.send("POST", "/tokens", &wish).expect(201).json();
        let token = format!("Bearer {}", made["token"].as_str().unwrap());
        let request = Request::get("/applications/blog/hook").header("Authorization", &token);
        let shown = request.send(&server.public()).expect(200).json();
        let wanted = if sees {
            secret.as_str()
        } else {
            "••••"
        };
        assert_eq!(shown["secret"], wanted, "{scope}");
    }
    let open = Request::get("/applications/blog/hook").send(&server.public());
    open.expect(401);
}

#[test]
fn it_goes_with_its_application() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    server.send_and_wait("DELETE", "/applications/blog", &json!({}));
    let again = deployed(&server, "blog", &repo, json!({}));
    assert_ne!(again, secret);
    Delivery::push("github")
        .to("blog", &secret)
        .send(&server.public())
        .expect(403);
}
