//! `metrics_listen`: everybody who reaches it reads the metrics, and nothing else.

use super::{Metrics, Request, promtool};
use crate::support::fixture::{document, web_repo};
use crate::support::http::Peer;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::eventually;

/// The kernel asks a silent client again at growing intervals before it gives up.
const LONG: std::time::Duration = std::time::Duration::from_secs(120);

/// A server with a listener for metrics.
fn server() -> (Server, Peer) {
    let setup = Setup::new();
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    let peer = Peer::Tcp(listen.parse().unwrap());
    (setup.flag("--metrics-listen", &listen).start(), peer)
}

#[test]
fn it_answers_metrics_without_a_token_and_nothing_else_even_with_one() {
    let (server, peer) = server();
    server.deploy(&document("echo", &web_repo("1")));
    let shown = Request::get("/metrics").send(&peer);
    promtool(&shown.text());
    let all = Metrics::of(&shown);
    assert!(all.has_app("echo") && all.get("process_open_fds").is_some());
    Request::new("HEAD", "/metrics").send(&peer).expect(200);
    for (method, target, status) in [
        ("POST", "/metrics", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/metrics/", 404),
        ("GET", "//metrics", 404),
        ("GET", "/", 404),
        ("GET", "/healthz", 404),
        ("GET", "/applications", 404),
        ("GET", "/applications/../metrics", 404),
        ("GET", "/-/status", 404),
        ("GET", "/echo/x", 404),
        ("POST", "/hooks/echo", 404),
        ("DELETE", "/applications/echo", 404),
    ] {
        let asked = server.request(method, target).header("X-App", "echo");
        let answer = asked.send(&peer);
        assert_eq!(answer.status, status, "{method} {target}");
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{method} {target}");
    }
    server.visit("/echo/x").expect(200);
}

#[test]
fn a_crowd_that_asks_at_once_is_answered_and_the_apps_serve_on() {
    let (server, peer) = server();
    server.deploy(&document("echo", &web_repo("1")));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let shown = Request::get("/metrics").send(&peer).expect(200);
                    assert!(shown.text().contains("procserver_build_info"));
                }
            });
        }
        for _ in 0..20 {
            server.visit("/echo/x").expect(200);
        }
    });
}

#[test]
fn an_address_that_is_taken_stops_the_start_and_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let mut serve = crate::support::command::procserver();
    serve.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        &listen,
    ]);
    serve.arg("--data-dir").arg(directory.path());
    let ended = crate::support::command::finish(&mut serve);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("--metrics-listen"),
        "{}",
        ended.stderr
    );
}

#[test]
fn who_takes_nothing_of_its_answers_is_let_go() {
    use std::io::Write as _;
    let (_server, peer) = server();
    let Peer::Tcp(address) = peer else {
        panic!("{peer:?} is no TCP")
    };
    let mut silent = std::net::TcpStream::connect(address).unwrap();
    silent.set_nonblocking(true).unwrap();
    let requests = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let mut sent = 0;
    // It asks as long as that goes, and reads nothing: soon the server can write no more.
    eventually("the server lets it go", LONG, || {
        loop {
            match silent.write(&requests[sent % requests.len()..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                Err(_reset) => return Some(()),
            }
        }
    });
}
