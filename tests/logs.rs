//! What applications print, as the API shows it.

use regex::Regex;
use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request, Response};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// A server with the app `echo`, and `web` as many times.
fn server_with_echo(web: u32) -> Server {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "scale": { "web": web } }),
    ));
    server
}

/// Makes the process `id` print a line (without blanks) and waits until it is in the log.
#[track_caller]
fn print(server: &Server, id: &str, to: &str, text: &str) {
    let port = server.process("echo", id)["port"]
        .as_u64()
        .expect("a web process has a port");
    let peer = Peer::Tcp(([127, 0, 0, 1], u16::try_from(port).unwrap()).into());
    Request::get(&format!("/print?to={to}&text={text}"))
        .send(&peer)
        .expect(200);
    eventually("the line is in the log", SOON, || {
        let log = server
            .get(&format!("/applications/echo/logs/{to}"))
            .expect(200)
            .text();
        log.contains(text).then_some(())
    });
}

fn log_as(server: &Server, target: &str, kind: &str) -> Response {
    server
        .request("GET", target)
        .header("Accept", kind)
        .send(&server.public())
        .expect(200)
}

#[test]
fn stdout_and_stderr_are_kept_apart_and_each_line_has_time_and_process() {
    let server = server_with_echo(1);
    print(&server, "web.1", "stdout", "good-news");
    print(&server, "web.1", "stderr", "bad-news");
    let line = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z web\.1 \| (.*)$").unwrap();
    for (log, text) in [("stdout", "good-news"), ("stderr", "bad-news")] {
        let answer = server
            .get(&format!("/applications/echo/logs/{log}"))
            .expect(200);
        assert!(
            answer
                .header("content-type")
                .is_some_and(|t| t.starts_with("text/plain"))
        );
        let answer = answer.text();
        let texts: Vec<&str> = answer
            .lines()
            .map(|l| {
                line.captures(l)
                    .unwrap_or_else(|| panic!("{l:?}"))
                    .get(1)
                    .unwrap()
                    .as_str()
            })
            .collect();
        assert_eq!(texts, [text], "{log}");
    }
}

#[test]
fn the_install_log_records_what_every_step_did() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let install = json!({ "install": ["echo to stdout", "echo to stderr >&2"] });
    server.deploy(&with(document("echo", &repo), install));
    let log = server
        .get("/applications/echo/logs/install")
        .expect(200)
        .text();
    let places = ["to stdout", "to stderr"].map(|text| log.find(&format!("| {text}")));
    assert!(places[0].is_some() && places[0] < places[1], "{log}");
    assert!(
        log.contains(&repo.commit_id()[..7]),
        "the commit is named: {log}"
    );
}

#[test]
fn tail_gives_the_last_lines_and_process_those_of_one_process() {
    let server = server_with_echo(2);
    for (id, text) in [("web.1", "first"), ("web.2", "second"), ("web.1", "third")] {
        print(&server, id, "stdout", text);
    }
    let texts = |query: &str| -> Vec<String> {
        let log = server
            .get(&format!("/applications/echo/logs/stdout?{query}"))
            .expect(200)
            .text();
        log.lines()
            .filter_map(|l| Some(l.split_once(" | ")?.1.to_owned()))
            .collect()
    };
    assert_eq!(texts("tail=2"), ["second", "third"]);
    assert_eq!(texts("process=web.1"), ["first", "third"]);
    assert_eq!(texts("process=web.2"), ["second"]);
    assert_eq!(texts("tail=0"), Vec::<String>::new());
}

#[test]
fn ndjson_has_a_record_a_line_with_growing_ids() {
    let server = server_with_echo(1);
    for text in ["one", "two"] {
        print(&server, "web.1", "stdout", text);
    }
    let answer = log_as(
        &server,
        "/applications/echo/logs/stdout",
        "application/x-ndjson",
    );
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let answer = answer.text();
    let records: Vec<Value> = answer
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let texts: Vec<&Value> = records.iter().map(|r| &r["text"]).collect();
    assert_eq!(texts, ["one", "two"]);
    assert!(
        records[0]["id"].as_u64() < records[1]["id"].as_u64(),
        "{answer}"
    );
    for record in &records {
        assert_eq!(record["process"], "web.1", "{answer}");
        assert_eq!(record["stream"], "stdout", "{answer}");
        assert!(
            record["release"].is_u64() && record["time"].is_string(),
            "{answer}"
        );
    }
}

#[test]
fn a_follower_gets_lines_as_they_are_printed() {
    let server = server_with_echo(1);
    print(&server, "web.1", "stdout", "before");
    let target = "/applications/echo/logs/stdout?follow=true&tail=1";
    let mut follower = server
        .request("GET", target)
        .open(&server.public())
        .unwrap();
    assert_eq!(follower.status, 200);
    assert!(follower.next_line().ends_with("| before"));
    for text in ["after", "and-later"] {
        print(&server, "web.1", "stdout", text);
        assert!(follower.next_line().ends_with(text));
    }
}

#[test]
fn server_sent_events_go_on_after_the_last_event_id() {
    let server = server_with_echo(1);
    for text in ["one", "two", "three"] {
        print(&server, "web.1", "stdout", text);
    }
    let follow = |last: Option<&str>| {
        let target = "/applications/echo/logs/stdout?follow=true";
        let mut request = server
            .request("GET", target)
            .header("Accept", "text/event-stream");
        if let Some(id) = last {
            request = request.header("Last-Event-ID", id);
        }
        let stream = request.open(&server.public()).unwrap();
        assert_eq!(
            (stream.status, stream.header("content-type")),
            (200, Some("text/event-stream"))
        );
        stream
    };
    let mut events = follow(None);
    let mut ids = Vec::new();
    while ids.len() < 3 {
        if let Some(id) = events.next_line().strip_prefix("id:") {
            ids.push(id.trim().to_owned());
        }
    }
    let mut events = follow(Some(&ids[1]));
    let data = std::iter::repeat_with(|| events.next_line())
        .find_map(|line| Some(line.strip_prefix("data:")?.to_owned()))
        .expect("it goes on for ever");
    let record: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(record["text"], "three");
}

#[test]
fn a_log_or_a_query_that_does_not_exist_is_refused() {
    let server = server_with_echo(1);
    server.get("/applications/echo/logs/secrets").expect(404);
    for query in ["tail=many", "follow=perhaps"] {
        let status = server
            .get(&format!("/applications/echo/logs/stdout?{query}"))
            .status;
        assert!(matches!(status, 400 | 422), "{query}: {status}");
    }
}

#[test]
fn a_very_long_line_comes_in_marked_parts() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let procfile = "web: exec python3 web.py\nlong: head -c 40000 /dev/zero | tr '\\0' x; echo; exec sleep 600\n";
    repo.commit(&[("Procfile", procfile)]);
    server.deploy(&document("echo", &repo));
    let target = "/applications/echo/logs/stdout?process=long.1";
    let records = eventually("the whole line is in the log", SOON, || {
        let log = log_as(&server, target, "application/x-ndjson").text();
        let records: Vec<Value> = log
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let length: usize = records
            .iter()
            .filter_map(|r| Some(r["text"].as_str()?.len()))
            .sum();
        (length == 40_000).then_some(records)
    });
    assert!(
        records
            .iter()
            .all(|r| r["text"].as_str().is_some_and(|t| t.len() <= 16 * 1024))
    );
    let (last, parts) = records.split_last().unwrap();
    assert!(
        parts.len() >= 2 && parts.iter().all(|r| r["partial"] == true),
        "parts are marked"
    );
    assert_ne!(last["partial"], true, "the end is not");
}

#[test]
fn the_reader_that_is_one_too_many_is_told_so() {
    let server = server_with_echo(1);
    let target = "/applications/echo/logs/stdout?follow=true";
    let socket = Peer::Unix(server.socket());
    let readers: Vec<_> = (0..64)
        .map(|_| Request::get(target).open(&socket).expect("it is followed"))
        .collect();
    assert!(readers.iter().all(|reader| reader.status == 200));
    let refused = server.get("/applications/echo/logs/stdout").expect(503);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("64 readers"), "{}", refused.text());
    drop(readers);
    eventually("there is room again", SOON, || {
        let answer = server.get("/applications/echo/logs/stdout");
        (answer.status == 200).then_some(())
    });
}

/// The texts and ids of server-sent events.
fn events(text: &str) -> Vec<(String, String)> {
    let event = Regex::new(r#"(?m)^id: (.*)\ndata: .*"text":"([^"]*)""#).unwrap();
    let found = event.captures_iter(text);
    found.map(|e| (e[1].to_owned(), e[2].to_owned())).collect()
}

#[test]
fn without_a_name_what_was_printed_comes_in_its_order_whatever_the_stream() {
    let server = server_with_echo(1);
    for number in 0..6 {
        let to = if number % 2 == 0 { "stdout" } else { "stderr" };
        print(&server, "web.1", to, &format!("line{number}"));
    }
    let merged = |query: &str| {
        let target = format!("/applications/echo/logs?{query}");
        server.get(&target).expect(200).text()
    };
    let order = |text: &str| -> Vec<String> {
        let line = Regex::new(r"line\d").unwrap();
        line.find_iter(text)
            .map(|m| m.as_str().to_owned())
            .collect()
    };
    let expected: Vec<_> = (0..6).map(|n| format!("line{n}")).collect();
    assert_eq!(order(&merged("grep=line")), expected);
    assert_eq!(order(&merged("grep=line&tail=3")), expected[3..]);
    assert_eq!(order(&merged("grep=line3&since=2h")), expected[3..4]);
    assert_eq!(
        order(&merged("stream=stderr&grep=line")),
        ["line1", "line3", "line5"]
    );
    let target = "/applications/echo/logs?grep=line&tail=all&follow=false";
    let sent = events(&log_as(&server, target, "text/event-stream").text());
    let texts: Vec<_> = sent.iter().map(|(_, text)| text.clone()).collect();
    assert_eq!(texts, expected);
    // Each is gone on with after it: nothing is missing, nothing comes twice.
    for (index, (id, _)) in sent.iter().enumerate() {
        let request = server
            .request("GET", target)
            .header("Accept", "text/event-stream")
            .header("Last-Event-ID", id);
        let rest = events(&request.send(&server.public()).expect(200).text());
        assert_eq!(rest, sent[index + 1..], "after {id}");
    }
    for (wrong, status) in [("stream=none", 422), ("since=soon", 422), ("grep=", 422)] {
        let target = format!("/applications/echo/logs?{wrong}");
        server.get(&target).expect(status);
    }
}
