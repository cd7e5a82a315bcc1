//! Those who may look at an application are shown no secret of it, wherever it appears.

use procserver::api::resources::declared;
use procserver::tokens::Scope;
use serde_json::{Value, json};

use super::{get, request, send, token_of};
use crate::support::fixture::{document, web_files, with};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Neither its name nor its looks say that it is a secret.
const PLANTED: &str = "planted-in-env";
const IN_HEADER: &str = "planted-in-header";

/// An app that prints its secret wherever it can, also when its second deployment fails.
fn talkative(server: &Server) -> Repo {
    let mut files = web_files("1").to_vec();
    files.push((
        "Procfile",
        "web: echo \"out $GREETING\"; echo \"err $GREETING\" >&2; exec python3 web.py\n\
         worker: echo \"$GREETING\" >&2; exit 3\n",
    ));
    let repo = Repo::new(&files);
    let changes = json!({
        "env": {"GREETING": PLANTED, "SHORT": "abc"},
        "health_check": {"path": "/", "headers": {"X-Key": IN_HEADER}, "interval": "100ms"},
        "install": ["echo \"installs $GREETING\"", format!("test ! -e {PLANTED}")],
        "scale": {"worker": 0},
    });
    server.deploy(&with(document("echo", &repo), changes));
    server.visit(&format!("/echo/{PLANTED}")).expect(200);
    let failing = json!({"install": ["echo \"fails with $GREETING\"; exit 1"]});
    server
        .send_and_wait("PATCH", "/applications/echo", &failing)
        .expect(422);
    repo
}

/// Everything that can be read of the app, each with the forms that it has.
fn targets() -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for (_, path, _) in declared()
        .into_iter()
        .filter(|(method, ..)| *method == "GET")
    {
        if path.contains("/logs") {
            for log in ["stdout", "stderr", "install", "access"] {
                for accept in ["text/plain", "application/x-ndjson", "text/event-stream"] {
                    let path = path.replace("{log}", log);
                    all.push((format!("{path}?tail=all&follow=false"), accept));
                }
            }
        } else if path == "/events" || path.starts_with("/tokens") {
            // The first is followed below, the others are the administrator's.
        } else {
            for id in 1..4 {
                all.push((path.replace("{id}", &id.to_string()), "*/*"));
            }
        }
    }
    all.push(("/routes?url=http://h/echo/".to_owned(), "*/*"));
    let named = |(target, accept): (String, _)| (target.replace("{name}", "echo"), accept);
    all.into_iter().map(named).collect()
}

#[test]
fn a_planted_secret_is_in_no_answer_to_those_who_may_not_see_it() {
    let server = Server::start();
    let _repo = talkative(&server);
    eventually("both logs have it", SOON, || {
        let log = |name: &str| {
            server
                .get(&format!("/applications/echo/logs/{name}"))
                .text()
        };
        let all = [log("stdout"), log("stderr"), log("access")];
        all.iter().all(|log| log.contains(PLANTED)).then_some(())
    });
    let admin = token_of(&server, "admin");
    let (mut seen, mut masked) = (0, 0);
    for scope in [Scope::Read, Scope::Deploy] {
        let token = token_of(&server, scope.name());
        for (target, accept) in targets() {
            let read = |token: &str| {
                let request = request(token, "GET", &target).header("Accept", accept);
                request.send(&server.public()).text()
            };
            let text = read(&token);
            for secret in [PLANTED, IN_HEADER, "\"abc\""] {
                assert!(!text.contains(secret), "{scope}: {target}: {text}");
            }
            masked += usize::from(text.contains("••••"));
            let all = read(&admin);
            assert!(!all.contains("••••"), "{target}: {all}");
            seen += usize::from(all.contains(PLANTED));
        }
    }
    assert!(seen >= 30 && masked == seen, "seen {seen}, masked {masked}");
}

#[test]
fn no_search_in_a_log_tells_what_is_masked_in_it() {
    let server = Server::start();
    let _repo = talkative(&server);
    let read = token_of(&server, "read");
    let found = |token: &str, text: &str| {
        let target = format!("/applications/echo/logs/stdout?grep={text}");
        get(&server, token, &target).expect(200).text()
    };
    eventually("it is in the log", SOON, || {
        found(&server.token(), PLANTED)
            .contains(PLANTED)
            .then_some(())
    });
    assert_eq!(found(&read, PLANTED), "");
    assert_eq!(found(&read, "planted"), "");
    assert!(found(&read, "out").contains("out ••••"));
}

#[test]
fn a_follower_sees_no_secret_that_comes_later() {
    let server = Server::start();
    let _repo = talkative(&server);
    let token = token_of(&server, "read");
    let target = "/applications/echo/logs/stdout?follow=true&tail=0";
    let mut log = request(&token, "GET", target)
        .open(&server.public())
        .unwrap();
    let change = json!({"env": {"GREETING": "a-later-secret"}, "install": []});
    server
        .send_and_wait("PATCH", "/applications/echo", &change)
        .expect(200);
    let line = log.next_line();
    assert!(line.ends_with("web.1 | out ••••"), "{line}");
}

#[test]
fn events_and_answers_to_changes_tell_no_secret() {
    let server = Server::start();
    let _repo = talkative(&server);
    let token = token_of(&server, "deploy");
    let failed = send(
        &server,
        &token,
        "POST",
        "/applications/echo/redeploy",
        &json!({}),
    );
    let failed = failed.expect(422).text();
    assert!(
        failed.contains("fails with ••••") && !failed.contains(PLANTED),
        "{failed}"
    );
    let scaled = json!({"scale": {"worker": 1}});
    let scaled = send(&server, &token, "PATCH", "/applications/echo", &scaled).text();
    assert!(!scaled.contains(PLANTED), "{scaled}");
    let all = request(&token, "GET", "/events").header("Last-Event-ID", "0");
    let mut all = all.open(&server.public()).unwrap();
    let mut told = Vec::new();
    let is_last = |line: &str| line.contains("process.exited") && line.contains("worker.1");
    while !told.last().is_some_and(|line: &String| is_last(line)) {
        told.push(all.next_line());
    }
    let told = told.join("\n");
    assert!(
        told.contains("deployment.finished") && !told.contains(PLANTED),
        "{told}"
    );
    let status = get(&server, &token, "/applications/echo/status").text();
    assert!(!status.contains(PLANTED), "{status}");
}

#[test]
fn a_masked_document_cannot_be_put_back_and_its_tag_tells_nothing() {
    let server = Server::start();
    let _repo = talkative(&server);
    let token = token_of(&server, "deploy");
    let shown = get(&server, &token, "/applications/echo").expect(200);
    let tag = shown.header("etag").unwrap().to_owned();
    for name in [
        "%65cho",
        "e%63h%6F",
        "echo%2F",
        "echo%252F",
        "%2565cho",
        "./echo",
        "echo/.",
        "ECHO",
    ] {
        let answer = get(&server, &token, &format!("/applications/{name}"));
        let text = answer.text();
        assert!(
            !text.contains(PLANTED) && !text.contains(IN_HEADER),
            "{name}: {text}"
        );
    }
    let own = server.get("/applications/echo");
    assert_ne!(own.header("etag").unwrap(), tag);
    let document: Value = shown.json();
    assert_eq!(
        document["env"],
        json!({"GREETING": "••••", "SHORT": "••••"})
    );
    let refused = server
        .send("PUT", "/applications/echo", &document)
        .expect(422)
        .json();
    let pointers: Vec<_> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["pointer"])
        .collect();
    assert!(pointers.contains(&&json!("/env/GREETING")), "{refused}");
    assert!(
        pointers.contains(&&json!("/health_check/headers/X-Key")),
        "{refused}"
    );
    let patch = json!({"env": {"NEW": "••••"}});
    let refused = server
        .send("PATCH", "/applications/echo", &patch)
        .expect(422)
        .json();
    assert_eq!(refused["errors"][0]["pointer"], "/env/NEW");
    assert_eq!(server.get("/applications/echo").json(), own.json());

    let scale = request(&token, "PATCH", "/applications/echo")
        .header("Content-Type", "application/json")
        .body("{\"scale\": {\"worker\": 0}}");
    scale
        .clone()
        .header("If-Match", "\"0\"")
        .send(&server.public())
        .expect(412);
    scale
        .header("If-Match", &tag)
        .send(&server.public())
        .expect(200);
}
