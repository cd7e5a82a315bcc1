//! The access log: a JSON object a line for each request, of the whole server and of each app.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::send_signal;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    let parse = |line: &str| {
        let plain = line.bytes().all(|b| matches!(b, b' '..=b'~'));
        assert!(plain, "{line:?}");
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    };
    whole.lines().map(parse).collect()
}

/// The line of the request with this id, once it is there.
#[track_caller]
fn line_of(server: &Server, id: &str) -> Value {
    let path = server.directory().join("logs/access.log");
    eventually("the line is in the access log", SOON, || {
        lines(&path).into_iter().find(|l| l["request_id"] == id)
    })
}

fn server_with_blog() -> Server {
    let (server, repo) = (Server::start(), web_repo("1"));
    let domain = json!({ "domain": ["^blog\\.test$"] });
    server.deploy(&with(document("blog", &repo), domain));
    server
}

#[test]
fn a_request_is_told_with_its_app_process_rule_sizes_and_times() {
    let server = server_with_blog();
    let answer = Request::new("POST", "/echo?q=\"1\"")
        .header("Host", "blog.test")
        .header("X-Request-ID", "by-host")
        .header("User-Agent", "tester/1 \u{e9}")
        .body("four")
        .send(&server.public())
        .expect(200);
    let line = line_of(&server, "by-host");
    for (name, value) in [
        ("app", json!("blog")),
        ("process", json!("web.1")),
        ("release", json!(1)),
        ("rule", json!("host")),
        ("remote", json!("127.0.0.1")),
        ("protocol", json!("HTTP/1.1")),
        ("method", json!("POST")),
        ("host", json!("blog.test")),
        ("path", json!("/echo?q=\"1\"")),
        ("status", json!(200)),
        ("code", Value::Null),
        ("bytes_in", json!(4)),
        ("bytes_out", json!(answer.text().len())),
        ("retries", json!(0)),
        ("user_agent", json!("tester/1 \u{c3}\u{a9}")),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    assert_eq!(line.get("client"), None, "nobody was believed");
    let first = line["first_byte_ms"].as_f64().unwrap();
    assert!(first > 0.0 && first <= line["total_ms"].as_f64().unwrap());
    for (rule, request) in [
        ("path", Request::get("/blog/")),
        ("x-app", Request::get("/").header("X-App", "blog")),
    ] {
        let request = request.header("X-Request-ID", rule);
        request.send(&server.public()).expect(200);
        assert_eq!(line_of(&server, rule)["rule"], rule);
    }
}

#[test]
fn answers_of_the_server_itself_are_told_with_their_code() {
    let server = server_with_blog();
    let get = |path: &str, id: &str| {
        let request = Request::get(path).header("X-Request-ID", id);
        request.send(&server.public()).status
    };
    assert_eq!(get("/nobody", "no-app"), 404);
    let line = line_of(&server, "no-app");
    assert_eq!((&line["app"], &line["rule"]), (&Value::Null, &Value::Null));
    assert_eq!(get("/healthz", "api"), 200);
    assert_eq!(line_of(&server, "api")["rule"], "api");
    server.act("blog", "stop").expect(200);
    assert_eq!(get("/blog/", "stopped"), 503);
    let line = line_of(&server, "stopped");
    assert_eq!(
        (&line["app"], &line["code"]),
        (&json!("blog"), &json!("H14"))
    );
    assert_eq!(line["process"], Value::Null);
    assert!(line["bytes_out"].as_u64() > Some(50), "{line}");
}

#[test]
fn what_is_no_request_is_told_too_and_cannot_write_lines_of_its_own() {
    let server = Server::start();
    let address = server.url().replace("http://", "");
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: \x1b[31m\"}\n{\r\n\r\n",
        "\x16\x03\x01",
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = String::new();
        // The connection may be reset behind the answer, of which nothing must be lost.
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
        let head = answer.to_ascii_lowercase();
        let (_, id) = head.split_once("x-request-id: ").unwrap();
        let line = line_of(&server, id.lines().next().unwrap());
        assert_eq!(
            (&line["status"], &line["method"]),
            (&json!(400), &Value::Null)
        );
    }
}

#[test]
fn an_app_has_its_own_access_log_which_can_be_followed() {
    let server = server_with_blog();
    let mut follower = server
        .request("GET", "/applications/blog/logs/access?follow=true&tail=0")
        .open(&server.public())
        .unwrap();
    assert_eq!(follower.status, 200);
    Request::get("/blog/")
        .header("X-Request-ID", "followed")
        .send(&server.public())
        .expect(200);
    server.visit("/nobody").expect(404);
    let line = follower.next_line();
    let (_, text) = line.split_once(" web.1 | ").unwrap();
    let told: Value = serde_json::from_str(text).unwrap();
    assert_eq!(told, line_of(&server, "followed"));
    let mut command = procserver();
    command
        .args([
            "logs",
            "blog",
            "--access",
            "-n",
            "5",
            "--server",
            &server.url(),
        ])
        .args(["--token", &server.token()]);
    let shown = finish(&mut command).success();
    assert!(
        shown.contains("\"followed\"") && !shown.contains("nobody"),
        "{shown}"
    );
}

#[test]
fn the_last_request_is_told_before_the_server_ends() {
    let mut server = server_with_blog();
    Request::get("/blog/")
        .header("X-Request-ID", "last")
        .send(&server.public())
        .expect(200);
    assert!(server.terminate().success());
    let all = lines(&server.directory().join("logs/access.log"));
    assert!(all.iter().any(|l| l["request_id"] == "last"));
}

#[test]
fn it_is_rotated_as_other_logs_and_can_be_switched_off() {
    let server = Setup::new()
        .flag("--log-size", "4K")
        .flag("--log-files", "2")
        .start();
    let directory = server.directory().join("logs");
    for turn in 0.. {
        server.visit("/healthz").expect(200);
        line_of_nothing(&directory, turn);
        if directory.join("access.log.1").exists() {
            break;
        }
    }
    let older = std::fs::metadata(directory.join("access.log.1")).unwrap();
    assert!(older.len() <= 4096);
    assert!(!directory.join("access.log.2").exists());

    let mut off = Setup::new().flag("--access-log", "false").start();
    off.visit("/healthz").expect(200);
    off.terminate();
    assert!(!off.directory().join("logs").exists());
}

/// Waits until one more line is in the log, whether or not that begins a new file.
fn line_of_nothing(directory: &Path, before: usize) {
    eventually("one more line", SOON, || {
        let all = ["access.log.1", "access.log"].map(|name| lines(&directory.join(name)).len());
        (all.iter().sum::<usize>() > before).then_some(())
    });
}

#[test]
fn behind_a_trusted_proxy_the_client_that_it_names_is_told_too() {
    let server = Setup::new().flag("--trusted-proxies", "127.0.0.1").start();
    for (id, name, value, client) in [
        (
            "one",
            "X-Forwarded-For",
            "6.6.6.6, 192.0.2.7",
            json!("192.0.2.7"),
        ),
        (
            "two",
            "Forwarded",
            "for=\"[2001:db8::7]:80\"",
            json!("2001:db8::7"),
        ),
        ("none", "X-Other", "192.0.2.7", Value::Null),
    ] {
        let request = Request::get("/healthz").header("X-Request-ID", id);
        request
            .header(name, value)
            .send(&server.public())
            .expect(200);
        let line = line_of(&server, id);
        assert_eq!(
            (&line["remote"], &line["client"]),
            (&json!("127.0.0.1"), &client)
        );
    }
}

#[test]
fn a_tunnel_is_told_when_it_ends() {
    let server = server_with_blog();
    let open = |id: &str| {
        let mut stream = TcpStream::connect(server.url().replace("http://", "")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: blog.test\r\nX-Request-ID: {id}\r\n\
             Connection: Upgrade\r\nUpgrade: echo\r\n\r\n12345"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut came = Vec::new();
        let mut byte = [0];
        while !came.ends_with(b"\r\n\r\n12345") {
            stream.read_exact(&mut byte).unwrap();
            came.push(byte[0]);
        }
        assert!(came.starts_with(b"HTTP/1.1 101 "));
        stream
    };
    let (stream, mut other) = (open("tunnel"), open("killed"));
    for id in ["during", "later"] {
        let request = Request::get("/blog/").header("X-Request-ID", id);
        request.send(&server.public()).expect(200);
        line_of(&server, id);
    }
    let path = server.directory().join("logs/access.log");
    let so_far = lines(&path);
    assert!(
        so_far.iter().all(|l| l["request_id"] != "tunnel"),
        "{so_far:?}"
    );
    drop(stream);
    let line = line_of(&server, "tunnel");
    for (name, value) in [
        ("status", json!(101)),
        ("code", Value::Null),
        ("bytes_in", json!(5)),
        ("bytes_out", json!(5)),
        ("app", json!("blog")),
        ("process", json!("web.1")),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    // Two others were answered and logged meanwhile, which takes the tenth of a second of a batch at least.
    assert!(line["total_ms"].as_f64() > Some(100.0), "{line}");

    send_signal(server.ready_pid("blog", "web.1"), Signal::SIGKILL);
    // The kernel closes what the process had open; the other direction is the client's to close.
    let _closed_or_reset = other.read(&mut [0]);
    drop(other);
    let line = line_of(&server, "killed");
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&json!(101), &json!(5))
    );
}
