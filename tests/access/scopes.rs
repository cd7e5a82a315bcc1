//! Each call of the API needs a scope, and is refused to those who have less.

use procserver::api::needs::{Needs, Of};
use procserver::api::resources::declared;
use procserver::tokens::Scope::{self, Admin, Deploy, Read};
use serde_json::json;

use super::{request, send, token, token_of};
use crate::support::fixture::{document, web_repo};
use crate::support::server::Server;

/// Every call, and what it needs. One that is added to the API must be added here: read API.md §8 for what it is to be.
const WANTED: &[(&str, &str, Scope, Of)] = &[
    ("GET", "/applications", Read, Of::Apps),
    ("POST", "/applications", Admin, Of::Apps),
    ("GET", "/applications/{name}", Read, Of::App),
    ("PUT", "/applications/{name}", Admin, Of::App),
    ("PATCH", "/applications/{name}", Deploy, Of::App),
    ("DELETE", "/applications/{name}", Admin, Of::App),
    ("GET", "/applications/{name}/previews", Read, Of::App),
    ("POST", "/applications/{name}/previews", Admin, Of::App),
    ("GET", "/applications/{name}/status", Read, Of::App),
    ("GET", "/applications/{name}/disk", Read, Of::App),
    ("GET", "/applications/{name}/history", Read, Of::App),
    ("GET", "/applications/{name}/deploy-key", Read, Of::App),
    ("PUT", "/applications/{name}/source", Deploy, Of::App),
    ("GET", "/applications/{name}/hook", Read, Of::App),
    ("POST", "/applications/{name}/hook", Admin, Of::App),
    ("GET", "/applications/{name}/deployments", Read, Of::App),
    (
        "GET",
        "/applications/{name}/deployments/{id}",
        Read,
        Of::App,
    ),
    (
        "POST",
        "/applications/{name}/deployments/{id}/cancel",
        Deploy,
        Of::App,
    ),
    ("GET", "/applications/{name}/releases", Read, Of::App),
    ("GET", "/applications/{name}/logs", Read, Of::App),
    ("GET", "/applications/{name}/logs/{log}", Read, Of::App),
    ("GET", "/applications/{name}/cron", Read, Of::App),
    (
        "POST",
        "/applications/{name}/cron/{id}/run",
        Deploy,
        Of::App,
    ),
    ("GET", "/applications/{name}/run", Read, Of::App),
    ("POST", "/applications/{name}/run", Deploy, Of::App),
    ("GET", "/applications/{name}/run/{id}", Read, Of::App),
    ("DELETE", "/applications/{name}/run/{id}", Deploy, Of::App),
    (
        "GET",
        "/applications/{name}/run/{id}/attach",
        Deploy,
        Of::App,
    ),
    (
        "POST",
        "/applications/{name}/{action:start|stop|restart|redeploy|rollback}",
        Deploy,
        Of::App,
    ),
    ("POST", "/applications/{name}/pause", Deploy, Of::App),
    ("POST", "/applications/{name}/resume", Deploy, Of::App),
    ("GET", "/certificates", Read, Of::Server),
    ("POST", "/certificates/{name}/renew", Admin, Of::Server),
    ("GET", "/-/reload", Read, Of::Server),
    ("POST", "/-/reload", Admin, Of::Server),
    ("POST", "/-/backup", Admin, Of::Server),
    ("POST", "/-/restore", Admin, Of::Server),
    ("GET", "/-/status", Read, Of::Server),
    ("GET", "/metrics", Read, Of::Apps),
    ("GET", "/-/history", Read, Of::Apps),
    ("GET", "/openapi.json", Read, Of::Apps),
    ("POST", "/-/notify/test", Admin, Of::Server),
    ("GET", "/git/{name}.git/info/refs", Deploy, Of::App),
    ("POST", "/git/{name}.git/git-upload-pack", Deploy, Of::App),
    ("POST", "/git/{name}.git/git-receive-pack", Deploy, Of::App),
    ("GET", "/routes", Read, Of::Apps),
    ("GET", "/events", Read, Of::Apps),
    ("GET", "/audit", Admin, Of::Server),
    ("GET", "/tokens", Admin, Of::Server),
    ("POST", "/tokens", Admin, Of::Server),
    ("DELETE", "/tokens/{id}", Admin, Of::Server),
    ("GET", "/-/ssh-keys", Admin, Of::Server),
    ("POST", "/-/ssh-keys", Admin, Of::Server),
    ("DELETE", "/-/ssh-keys/{id}", Admin, Of::Server),
];

/// A path of a call about an app that is not there.
fn filled(path: &str) -> String {
    let action = "{action:start|stop|restart|redeploy|rollback}";
    let path = path.replace("{name}", "none").replace(action, "start");
    path.replace("{id}", "1").replace("{log}", "stdout")
}

#[test]
fn every_call_has_the_scope_that_is_wanted_of_it() {
    let wanted: Vec<_> = WANTED
        .iter()
        .map(|(method, path, scope, of)| {
            let (scope, of) = (*scope, *of);
            (*method, *path, Needs { scope, of })
        })
        .collect();
    assert_eq!(declared(), wanted);
    for (method, path, needs) in declared() {
        let is_of_app = path.starts_with("/applications/{name}") || path.starts_with("/git/");
        assert_eq!(needs.of == Of::App, is_of_app, "{method} {path}");
        assert!(method == "GET" || needs.scope > Read, "{method} {path}");
    }
}

#[test]
fn every_call_is_refused_to_those_with_a_lesser_scope_and_to_nobody_else() {
    let server = Server::start();
    let tokens: Vec<_> = Scope::ALL
        .iter()
        .map(|scope| (*scope, token_of(&server, scope.name())))
        .collect();
    for (method, path, needs) in declared() {
        let target = filled(path);
        for (scope, token) in &tokens {
            if target == "/-/reload" && *scope == Admin {
                // It would be done, and the server another one.
                continue;
            }
            let call = request(token, method, &target)
                .open(&server.public())
                .unwrap();
            let status = call.status;
            assert_ne!(status, 401, "{method} {target} as {scope}");
            assert_eq!(
                status == 403,
                *scope < needs.scope,
                "{method} {target} as {scope}: {status}"
            );
            assert_ne!(status, 405, "{method} {target}");
        }
    }
    let read = &tokens[0].1;
    let refused = send(
        &server,
        read,
        "POST",
        "/applications/none/start",
        &json!({}),
    );
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json")
    );
    let refused = refused.expect(403).json();
    assert_eq!(
        (&refused["needs"], &refused["has"]),
        (&json!("deploy"), &json!("read"))
    );
    assert!(
        refused["detail"].as_str().unwrap().contains("\"deploy\""),
        "{refused}"
    );
}

#[test]
fn every_call_is_closed_to_a_token_for_another_application() {
    let server = Server::start();
    let apps = json!({"name": "a", "scope": "admin", "apps": ["mine"]});
    let token = token(&server, &apps);
    for (method, path, needs) in declared() {
        let target = filled(path);
        let call = request(&token, method, &target)
            .open(&server.public())
            .unwrap();
        let status = call.status;
        match needs.of {
            Of::App => assert_eq!(status, 404, "{method} {target}"),
            Of::Server => assert_eq!(status, 403, "{method} {target}"),
            Of::Apps => assert!(
                status != 403 && status != 404,
                "{method} {target}: {status}"
            ),
        }
    }
}

#[test]
fn who_deploys_may_scale_and_change_nothing_else() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let token = token_of(&server, "deploy");
    let patch = |change| send(&server, &token, "PATCH", "/applications/echo", &change);
    patch(json!({"scale": {"web": 2}})).expect(200);
    assert_eq!(
        server.status("echo")["processes"].as_array().unwrap().len(),
        2
    );
    for change in [
        json!({"env": {"A": "1"}}),
        json!({"scale": {"web": 1}, "env": {"A": "1"}}),
        json!({"install": ["id"]}),
        json!({"repo": {"url": "https://evil.example/a.git"}}),
    ] {
        let refused = patch(change.clone()).expect(403).json();
        assert_eq!(refused["needs"], "admin", "{change}: {refused}");
    }
    patch(json!({"scale": {"web": 101}})).expect(422);
    send(
        &server,
        &token,
        "POST",
        "/applications/echo/restart",
        &json!({}),
    )
    .expect(200);
    send(
        &server,
        &token,
        "POST",
        "/applications/echo/redeploy",
        &json!({}),
    )
    .expect(200);
    let shown = server.get("/applications/echo").expect(200).json();
    assert_eq!(
        (&shown["scale"]["web"], &shown["env"]),
        (&json!(2), &json!(null))
    );
}
