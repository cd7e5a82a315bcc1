//! A pause: requests wait, and none is lost.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::fixture::{document, web_files, web_repo};
use crate::support::http::Request;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

const CONNECTIONS: usize = 50;

fn pause(server: &Server, wish: &Value) -> Value {
    let answer = server.send("POST", "/applications/echo/pause", wish);
    answer.expect(200).json()
}

fn resume(server: &Server) -> Value {
    server.act("echo", "resume").expect(200).json()
}

/// Waits until so many requests are held.
fn held(server: &Server, count: usize) {
    eventually(&format!("{count} requests are held"), SOON, || {
        (server.status("echo")["held"].as_u64().unwrap_or(0) == count as u64).then_some(())
    });
}

/// Visits the app from many threads during `work`. Each answer is 200; returns how many there were.
fn visited_during(server: &Server, work: impl FnOnce()) -> usize {
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let visit = || {
        while !over.load(Ordering::SeqCst) {
            server.visit("/echo/").expect(200);
            answers.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(visit)).collect();
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        visitors.into_iter().for_each(|v| v.join().unwrap());
        worked.unwrap();
    });
    answers.load(Ordering::SeqCst)
}

#[test]
fn under_load_a_pause_with_a_deploy_in_it_loses_no_request_and_lets_none_through() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let answered = visited_during(&server, || {
        let paused = pause(&server, &json!({ "for": "5m" }));
        assert_eq!(paused["in_flight"], 0, "{paused}");
        held(&server, CONNECTIONS);
        let status = server.status("echo");
        assert_eq!(status["paused_until"], paused["paused_until"], "{status}");
        repo.commit(&web_files("2"));
        server.act("echo", "redeploy").expect(200);
        // The deploy is no way around it.
        held(&server, CONNECTIONS);
        assert_eq!(resume(&server)["changed"], true);
        let status = server.status("echo");
        assert!(status["paused_until"].is_null(), "{status}");
        let visited = server.visit("/echo/").expect(200).json();
        assert_eq!(visited["version"], "2");
    });
    assert!(answered > CONNECTIONS, "{answered}");
    assert_eq!(resume(&server)["changed"], false, "it was over");
}

/// Answers one after the other, with the number of those before.
const COUNTING: &str = r#"
import http.server, itertools, os
before = itertools.count()
class Counting(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(next(before)).encode())
http.server.HTTPServer.request_queue_size = 128
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Counting).serve_forever()
"#;

#[test]
fn those_that_were_held_go_on_in_the_order_in_which_they_came() {
    // Each worker thread has an order of its own.
    let server = Setup::new().flag("--workers", "1").start();
    let files = [
        ("Procfile", "web: exec python3 app.py\n"),
        ("app.py", COUNTING),
    ];
    let repo = Repo::new(&files);
    server.deploy(&document("echo", &repo));
    pause(&server, &json!({ "for": "5m" }));
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (1..=30)
            .map(|nth| {
                let visitor = scope.spawn(|| server.visit("/echo/").expect(200).text());
                held(&server, nth);
                visitor
            })
            .collect();
        resume(&server);
        for (before, visitor) in visitors.into_iter().enumerate() {
            assert_eq!(visitor.join().unwrap(), before.to_string());
        }
    });
}

#[test]
fn what_is_in_flight_goes_on_and_the_answer_says_how_much_there_is() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let storage = server.visit("/echo/").expect(200).json()["env"]["STORAGE_DIR"].clone();
    let go = std::path::Path::new(storage.as_str().unwrap()).join("go");
    let mut body = Request::get("/echo/download")
        .open(&server.public())
        .expect("a response");
    assert_eq!(body.next_line(), "head");
    let wish = json!({ "for": "5m" });
    let soon = server
        .request("POST", "/applications/echo/pause")
        .header("Prefer", "wait=1")
        .body(wish.to_string())
        .send(&server.public())
        .expect(200)
        .json();
    assert_eq!(soon["in_flight"], 1, "{soon}");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| pause(&server, &wish));
        std::fs::write(&go, "").unwrap();
        assert_eq!(waits.join().unwrap()["in_flight"], 0);
    });
    assert_eq!(body.next_line(), "tail");
}

#[test]
fn a_pause_ends_by_itself_and_a_client_that_goes_away_frees_its_place() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    pause(&server, &json!({ "for": "5m" }));
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    held(&server, 1);
    drop(stream);
    held(&server, 0);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| server.visit("/echo/").status);
        held(&server, 1);
        // Another one takes the place of the first.
        pause(&server, &json!({ "for": "1s" }));
        assert_eq!(visitor.join().unwrap(), 200);
    });
    let status = server.status("echo");
    assert!(status["paused_until"].is_null(), "{status}");
}

#[test]
fn a_pause_outlives_a_server_that_was_killed_and_still_ends() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let paused = pause(&server, &json!({ "for": "5m" }));
    server.kill();
    server.start_again();
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| server.visit("/echo/").status);
        held(&server, 1);
        let status = server.status("echo");
        assert_eq!(status["paused_until"], paused["paused_until"], "{status}");
        assert_eq!(resume(&server)["changed"], true);
        assert_eq!(visitor.join().unwrap(), 200);
    });
    let routes = server.get("/routes?url=/echo/").expect(200).json();
    assert!(routes.to_string().contains("\"ready\""), "{routes}");
    // Each is told once, with who had it done.
    let log = server.log();
    for told in [
        "app.paused app=echo by=\"token ",
        "app.resumed app=echo by=\"token ",
    ] {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
}

#[test]
fn a_wrong_pause_changes_nothing() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    for wrong in [json!({"for": "11m"}), json!({"fro": "1m"}), json!([])] {
        server
            .send("POST", "/applications/echo/pause", &wrong)
            .expect(422);
    }
    server.visit("/echo/").expect(200);
    server
        .send("POST", "/applications/none/pause", &json!({}))
        .expect(404);
}
