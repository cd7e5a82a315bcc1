//! A release that does not get ready fails with exactly what it did instead, and its last lines.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;

/// The failure of a redeploy to `web`, a shell command, over a release that serves.
fn failure_of(web: &str, health: Value) -> Value {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    repo.commit(&[("Procfile", &format!("web: {web}\n"))]);
    let changed = with(document("echo", &repo), json!({ "health_check": health }));
    let answer = server.send_and_wait("PUT", "/applications/echo", &changed);
    let failure = answer.expect(422).json()["failure"].clone();
    assert_eq!(failure["step"], "start", "{failure}");
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    failure
}

#[track_caller]
fn says(failure: &Value, words: &[&str]) {
    let reason = failure["reason"].as_str().unwrap();
    for word in words {
        assert!(reason.contains(word), "no \"{word}\" in {failure}");
    }
}

fn quick() -> Value {
    json!({ "interval": "100ms", "boot_timeout": "2s" })
}

#[test]
fn one_that_ends_says_with_what_and_shows_its_last_lines() {
    let failure = failure_of("echo the reason >&2; exit 7", quick());
    says(
        &failure,
        &["web.1 ended with exit code 7 before it was ready"],
    );
    assert_eq!(
        (&failure["exit_code"], &failure["log_tail"]),
        (&json!(7), &json!(["the reason"]))
    );
}

#[test]
fn one_that_never_listens_says_on_which_port_it_should() {
    let failure = failure_of("echo port $PORT; exec sleep 600", quick());
    let port = failure["log_tail"][0].as_str().unwrap().to_owned();
    says(
        &failure,
        &["did not listen on", &port, "nor on any other", "within 2s"],
    );
}

#[test]
fn one_that_listens_elsewhere_says_where() {
    let script = "import socket,time;s=socket.create_server((\"127.0.0.1\",0));print(s.getsockname()[1],flush=True);time.sleep(600)";
    let failure = failure_of(&format!("exec python3 -c '{script}'"), quick());
    let elsewhere = format!("127.0.0.1:{}", failure["log_tail"][0].as_str().unwrap());
    says(
        &failure,
        &["did not listen on port", "it listens on", &elsewhere],
    );
}

#[test]
fn one_that_answers_an_error_says_which() {
    let health = json!({ "path": "/up", "interval": "100ms", "boot_timeout": "2s" });
    let web = "exec python3 -c 'import http.server as h,os; \
               h.HTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), h.BaseHTTPRequestHandler).serve_forever()'";
    let failure = failure_of(web, health);
    says(
        &failure,
        &["answered GET /up on port", "with 501 instead of 2xx"],
    );
}
