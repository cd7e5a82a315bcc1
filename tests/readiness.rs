//! A release that does not get ready fails with exactly what it did instead, and its last lines.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::repo::Repo;
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

/// A server whose address and answers are its arguments.
const APP: &str = r#"
import http.server, os, socket, sys, time
address, answer = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if answer == "late":
            time.sleep(600)
        self.send_response(int(answer))
        self.send_header("Location", "/login")
        self.end_headers()
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
Server((address, int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// The failure of a first deploy of [`APP`], or nothing when it gets ready.
fn failure_of_app(arguments: &str, health: Value) -> Option<Value> {
    let procfile = format!("web: exec python3 app.py {arguments}\n");
    let (server, repo) = (
        Server::start(),
        Repo::new(&[("Procfile", &procfile), ("app.py", APP)]),
    );
    let document = with(document("echo", &repo), json!({ "health_check": health }));
    let answer = server.send_and_wait("POST", "/applications", &document);
    (answer.status != 201).then(|| answer.expect(422).json()["failure"].clone())
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

#[test]
fn one_whose_listener_has_left_its_session_says_where_that_is() {
    let script = "import socket,time;s=socket.create_server((\"127.0.0.1\",0));print(s.getsockname()[1],flush=True);time.sleep(600)";
    let web = format!("(setsid python3 -c '{script}' &); exec sleep 600");
    let failure = failure_of(&web, quick());
    let elsewhere = format!("127.0.0.1:{}", failure["log_tail"][0].as_str().unwrap());
    says(
        &failure,
        &["did not listen on port", "it listens on", &elsewhere],
    );
}

#[test]
fn both_loopback_addresses_will_do_and_another_one_is_named() {
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
        let is_there = std::net::TcpListener::bind((address, 0)).is_ok();
        if !is_there {
            crate::support::machine::skip(address, "this machine does not have it");
            continue;
        }
        let patient = json!({ "interval": "100ms", "boot_timeout": "20s" });
        assert_eq!(failure_of_app(&format!("{address} 404"), patient), None);
    }
    let failure = failure_of_app("127.0.0.2 200", quick()).unwrap();
    says(&failure, &["of 127.0.0.1 or ::1 (it listens on 127.0.0.2:"]);
}

#[test]
fn a_health_check_that_redirects_or_is_never_answered_is_told_as_that() {
    let health =
        json!({ "path": "/up", "interval": "100ms", "timeout": "500ms", "boot_timeout": "3s" });
    let failure = failure_of_app("127.0.0.1 302", health.clone()).unwrap();
    says(
        &failure,
        &["answered GET /up on port", "with 302 instead of 2xx"],
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(hint.contains("a redirect is not followed"), "{failure}");
    let failure = failure_of_app("127.0.0.1 late", health).unwrap();
    says(
        &failure,
        &["accepted connections on port", "but did not answer GET /up"],
    );
}

#[test]
fn a_start_that_fails_is_in_the_install_log_like_every_step() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    repo.commit(&[("Procfile", "web: echo the reason >&2; exit 7\n")]);
    server.act("echo", "redeploy").expect(422);
    let log = server
        .get("/applications/echo/logs/install")
        .expect(200)
        .text();
    for line in [
        "start | === start\n",
        "start | === start done in ",
        "start | === deployment 1 succeeded: release 1\n",
        "start | === start failed: web.1 ended with exit code 7 before it was ready\n",
        "start |     | the reason\n",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
}

#[test]
fn where_the_ports_are_used_up_a_scale_up_fails_at_once_and_a_scale_down_is_not_kept_waiting() {
    let (server, repo) = (Server::start(), web_repo("1"));
    // Nineteen ports are there; the time to get ready is longer than this test waits.
    repo.commit(&[(
        "Procfile",
        "web: exec python3 web.py\nbusy: exec sleep 600\n",
    )]);
    let patient = json!({ "health_check": { "interval": "100ms", "boot_timeout": "10m" } });
    server.deploy(&with(document("echo", &repo), patient));
    let scale = |busy: u32| {
        let change = json!({ "scale": { "busy": busy } });
        server.send_and_wait("PATCH", "/applications/echo", &change)
    };
    let answer = scale(25);
    let failure = answer.expect(422).json()["failure"].clone();
    says(
        &failure,
        &[
            "24 processes are to be started, each with a port",
            "17 are free",
        ],
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(hint.contains("procserver scale echo TYPE=N"), "{hint}");
    let answer = scale(2);
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    assert_eq!(server.process("echo", "busy.2")["state"], "ready");
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
}
