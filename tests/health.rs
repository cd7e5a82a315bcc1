//! A process that was ready goes on being checked.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::send_signal;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// A server that stops listening at SIGUSR1 and begins again at SIGUSR2; it answers with the name of its process.
const APP: &str = r#"
import http.server, os, signal, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = os.environ["PS"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
wanted = True
change = threading.Event()
def want(number, _):
    global wanted
    wanted = number == signal.SIGUSR2
    change.set()
signal.signal(signal.SIGUSR1, want)
signal.signal(signal.SIGUSR2, want)
server = None
while True:
    change.clear()
    if wanted and not server:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    elif not wanted and server:
        server.shutdown()
        server.server_close()
        server = None
    change.wait(0.05)
"#;

fn two(server: &Server, health: Value) -> Repo {
    let repo = Repo::new(&[("Procfile", "web: exec python3 app.py\n"), ("app.py", APP)]);
    let two = json!({ "scale": { "web": 2 }, "health_check": health });
    server.deploy(&with(document("echo", &repo), two));
    repo
}

/// The processes that requests are routed to.
fn routed(server: &Server) -> Vec<String> {
    let told = server.get("/routes?url=http://any/echo/").json();
    let processes = &told["processes"];
    let ids = processes.as_array().cloned().unwrap_or_default();
    ids.iter()
        .filter_map(|p| Some(p["id"].as_str()?.to_owned()))
        .collect()
}

#[track_caller]
fn until_routed(server: &Server, expected: &[&str]) {
    eventually(&format!("{expected:?} are routed to"), SOON, || {
        (routed(server) == expected).then_some(())
    });
}

#[track_caller]
fn until_warned(server: &Server, words: &str) {
    eventually(words, SOON, || {
        let warnings = server.status("echo")["warnings"].to_string();
        warnings.contains(words).then_some(())
    });
}

#[test]
fn one_that_stops_listening_gets_no_request_until_it_is_back_and_the_last_one_does() {
    let server = Server::start();
    let _repo = two(
        &server,
        json!({ "interval": "100ms", "boot_timeout": "20s" }),
    );
    let (first, second) = (
        server.ready_pid("echo", "web.1"),
        server.ready_pid("echo", "web.2"),
    );
    until_routed(&server, &["web.1", "web.2"]);
    send_signal(first, Signal::SIGUSR1);
    until_routed(&server, &["web.2"]);
    until_warned(
        &server,
        "web.1 gets no request: nobody accepts connections in its place",
    );
    for _ in 0..10 {
        assert_eq!(server.visit("/echo/").expect(200).text(), "web.2");
    }
    // Where none is healthy, what could answer is asked all the same.
    send_signal(second, Signal::SIGUSR1);
    until_warned(
        &server,
        "web.2 is unhealthy, and gets requests only because no other process is healthy",
    );
    assert!(routed(&server).contains(&"web.2".to_owned()));
    send_signal(first, Signal::SIGUSR2);
    until_routed(&server, &["web.1"]);
    send_signal(second, Signal::SIGUSR2);
    until_routed(&server, &["web.1", "web.2"]);
    assert_eq!(server.status("echo")["warnings"], json!([]));
    assert_eq!(server.ready_pid("echo", "web.1"), first);
}

#[test]
fn one_that_hangs_is_noticed_by_its_path_and_routed_again_when_it_goes_on() {
    let server = Server::start();
    let health =
        json!({ "path": "/", "interval": "100ms", "timeout": "300ms", "boot_timeout": "20s" });
    let _repo = two(&server, health);
    let first = server.ready_pid("echo", "web.1");
    send_signal(first, Signal::SIGSTOP);
    until_routed(&server, &["web.2"]);
    until_warned(
        &server,
        "web.1 gets no request: the health check was not answered in time",
    );
    send_signal(first, Signal::SIGCONT);
    until_routed(&server, &["web.1", "web.2"]);
}

#[test]
fn connections_that_fail_count_at_once_however_seldom_it_is_checked() {
    let server = Server::start();
    let _repo = two(&server, json!({ "interval": "1h", "boot_timeout": "20s" }));
    let first = server.ready_pid("echo", "web.1");
    let port = server.process("echo", "web.1")["port"].as_u64().unwrap();
    let port = u16::try_from(port).unwrap();
    send_signal(first, Signal::SIGUSR1);
    eventually("nobody listens", SOON, || {
        std::net::TcpStream::connect(("127.0.0.1", port))
            .is_err()
            .then_some(())
    });
    // Each request is answered: the other process is asked where one cannot be connected to.
    eventually("web.1 is not routed to", SOON, || {
        server.visit("/echo/").expect(200);
        (routed(&server) == ["web.2"]).then_some(())
    });
    until_warned(&server, "web.1 gets no request");
}

#[test]
fn one_that_is_checked_without_a_path_is_not_connected_to() {
    let server = Server::start();
    let repo = web_repo("1");
    let script = "import socket,os,sys;s=socket.create_server((\"127.0.0.1\",int(os.environ[\"PORT\"])))\nwhile True: s.accept(); print(\"connection\",flush=True)";
    repo.commit(&[
        ("Procfile", "web: exec python3 app.py\n"),
        ("app.py", script),
    ]);
    server.deploy(&document("echo", &repo));
    // The other process is checked twelve times meanwhile, and so is this one.
    let other = Repo::new(&[("Procfile", "web: exec python3 app.py\n"), ("app.py", APP)]);
    let checked = json!({ "health_check": { "path": "/", "interval": "100ms" } });
    server.deploy(&with(document("other", &other), checked));
    eventually("twelve checks", SOON, || {
        let log = server.get("/applications/other/logs/stderr").text();
        (log.matches("GET / HTTP").count() >= 12).then_some(())
    });
    let log = server.get("/applications/echo/logs/stdout").text();
    assert_eq!(log.matches("connection").count(), 1, "{log}");
}

/// Answers for one host only, and leads to https what did not come by it.
const STRICT: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["Host"] == "shop.example.org"
        secure = self.headers["X-Forwarded-Proto"] == "https"
        self.send_response(400 if not known else 200 if secure else 301)
        self.send_header("Location", "https://shop.example.org/")
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn a_check_names_a_host_and_fields_and_takes_the_statuses_that_the_document_gives() {
    let server = Server::start();
    let repo = Repo::new(&[
        ("Procfile", "web: exec python3 app.py\n"),
        ("app.py", STRICT),
    ]);
    let health = |changes: Value| {
        let plain = json!({ "path": "/", "interval": "100ms", "boot_timeout": "20s" });
        json!({ "health_check": with(plain, changes) })
    };
    let hint = |changes: Value| {
        let document = with(document("shop", &repo), health(changes));
        let refused = server.send_and_wait("POST", "/applications", &document);
        refused.expect(422).json()["failure"].clone()
    };
    let told = hint(json!({ "boot_timeout": "2s" })).to_string();
    assert!(told.contains("health_check.host"), "{told}");
    let host = json!({ "host": "shop.example.org" });
    let secure = json!({ "headers": { "X-Forwarded-Proto": "https" } });
    let any = json!({ "headers": {}, "status": "200-399" });
    for changes in [with(host.clone(), secure), with(host, any)] {
        let patch = health(changes);
        let answer = server.send_and_wait("PATCH", "/applications/shop", &patch);
        answer.expect(200);
        assert_eq!(server.status("shop")["state"], "running");
    }
}
