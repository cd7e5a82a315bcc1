//! `[traces]`: spans of requests come to a collector, and the application is told which one is the parent of its own.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::support::fixture::{document, web_repo};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// A collector that answers each batch with `status`, and gives the spans of it.
fn collector(status: u16) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, spans) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(body) = batch(&mut stream) {
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\n{{}}");
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
                let of = &body["resourceSpans"][0];
                let name = &of["resource"]["attributes"][0]["value"]["stringValue"];
                assert_eq!(name, "procserver");
                for span in of["scopeSpans"][0]["spans"].as_array().unwrap() {
                    // The test may be over.
                    let _ = sender.send(span.clone());
                }
            }
        }
    });
    (url, spans)
}

/// Reads one request as a collector does; `None` at the end of the connection.
fn batch(stream: &mut impl std::io::BufRead) -> Option<Value> {
    let (mut length, mut line, mut head) = (0, String::new(), String::new());
    while stream.read_line(&mut line).ok()? > 0 && line != "\r\n" {
        let lower = line.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        head.push_str(&lower);
        line.clear();
    }
    if head.is_empty() {
        return None;
    }
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}

/// What the application says of the `traceparent` that it got.
fn asked(server: &Server, target: &str, parent: Option<&str>) -> Option<String> {
    let mut request = Request::get(target);
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    let answer = request.send(&server.public()).expect(200).json();
    let headers = answer["headers"].as_object().unwrap();
    let mut parents = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    let parent = parents
        .next()
        .map(|(_, value)| value.as_str().unwrap().to_owned());
    assert!(parents.next().is_none());
    parent
}

#[test]
fn a_request_has_a_span_that_is_the_parent_of_the_applications_own() {
    let (url, spans) = collector(200);
    let server = Setup::new()
        .flag("--traces-url", &url)
        .flag("--traces-sample", "1")
        .flag("--access-log", "false")
        .start();
    server.deploy(&document("echo", &web_repo("1")));
    let own = |path: &str| loop {
        let span = spans.recv_timeout(SOON).expect("a span");
        let attributes = span["attributes"].as_array().unwrap().clone();
        let has = |key: &str, value: &str| {
            let is = |a: &Value| a["key"] == key && a["value"]["stringValue"] == value;
            attributes.iter().any(is)
        };
        if has("url.path", path) {
            assert!(has("procserver.application", "echo") && has("procserver.process", "web.1"));
            return span;
        }
    };
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told = asked(&server, "/echo/a?key=secret", Some(theirs)).unwrap();
    let span = own("/echo/a");
    assert!(!span.to_string().contains("secret"), "{span}");
    let id = span["spanId"].as_str().unwrap();
    assert_eq!(told, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01"));
    assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(span["name"], "GET echo");
    let nanos = |field: &str| span[field].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("startTimeUnixNano") < nanos("endTimeUnixNano"));

    let begun = asked(&server, "/echo/b", Some("rubbish")).unwrap();
    let span = own("/echo/b");
    let id = |name: &str| span[name].as_str().unwrap().to_owned();
    assert_eq!(begun, format!("00-{}-{}-01", id("traceId"), id("spanId")));
    assert_eq!(span.get("parentSpanId"), None);

    // Who does not record wants no span, and its field goes on as it is.
    let unrecorded = theirs.replace("-01", "-00");
    assert_eq!(
        asked(&server, "/echo/c", Some(&unrecorded)),
        Some(unrecorded)
    );
    eventually("they are counted", SOON, || {
        let metrics = server.get("/metrics").text();
        let counted = metrics.contains("procserver_trace_spans_total{state=\"dropped\"} 0");
        let status = server.get("/-/status").json();
        (counted && status["traces"]["exported"].as_u64()? >= 2).then_some(())
    });
}

#[test]
fn what_the_collector_does_not_take_is_dropped_and_counted_and_requests_go_on() {
    let (url, _spans) = collector(500);
    let server = Setup::new()
        .flag("--traces-url", &url)
        .flag("--traces-sample", "1")
        .start();
    server.deploy(&document("echo", &web_repo("1")));
    assert!(asked(&server, "/echo/a", None).is_some());
    eventually("they are counted", SOON, || {
        let status = server.get("/-/status").json();
        (status["traces"]["dropped"].as_u64()? > 0).then_some(())
    });
    // They are counted first.
    eventually("the log says why", SOON, || {
        let said = "spans are not taken: the collector answers 500";
        server.log().contains(said).then_some(())
    });
    server.visit("/echo/x").expect(200);
}

#[test]
fn without_the_setting_nothing_is_told_and_nothing_changed() {
    let server = Server::start();
    server.deploy(&document("echo", &web_repo("1")));
    assert_eq!(asked(&server, "/echo/a", None), None);
    let parent = "whatever it is";
    assert_eq!(
        asked(&server, "/echo/a", Some(parent)).as_deref(),
        Some(parent)
    );
    assert_eq!(server.get("/-/status").json().get("traces"), None);
}
