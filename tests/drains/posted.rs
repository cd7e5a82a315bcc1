//! By HTTP: a batch is taken when it was answered so, and only then.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{all_is_sent, deploy, drain_is, lines_repo, numbers, run, write_up_to};
use crate::support::server::Server;

#[test]
fn a_receiver_that_closes_midway_refuses_and_is_slow_gets_every_line_once_and_in_order() {
    let receiver = Receiver::start(true, |number| match number % 6 {
        0 => Answer::CloseMidway,
        1 => Answer::Say(503),
        2 => Answer::CloseAfter,
        3 => Answer::TakeLate(Duration::from_millis(300)),
        4 => Answer::Say(429),
        _ => Answer::Take,
    });
    let server = Server::start();
    let repo = lines_repo();
    let url = format!("https://{}/in", receiver.address());
    deploy(
        &server,
        &repo,
        json!([{"url": url, "ca": receiver.certificate()}]),
    );
    for step in 1..=4 {
        write_up_to(&server, step * 1500);
    }
    write_up_to(&server, 6000);
    super::logged(&server, 6000);
    let drain = all_is_sent(&server);
    assert_eq!(
        (&drain["dropped"], &drain["sent"]),
        (&json!(0), &json!(6000))
    );
    let taken = receiver.taken();
    let lines: Vec<Value> = taken
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let texts: Vec<_> = lines
        .iter()
        .map(|line| line["line"].as_str().unwrap())
        .collect();
    assert_eq!(numbers(texts), (1..=6000).collect::<Vec<_>>());
    let first = &lines[0];
    assert_eq!(
        (&first["app"], &first["process"], &first["stream"]),
        (&json!("noisy"), &json!("lines.1"), &json!("stdout"))
    );
    // What is sent again says that it is the same, and what is not does not.
    let mut by_key: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    let requests = receiver.requests();
    for request in &requests {
        let key = request.fields["idempotency-key"].clone();
        let line = request.body.lines().next().unwrap_or_default().to_owned();
        by_key.entry(key).or_default().insert(line);
    }
    assert!(by_key.values().all(|first_lines| first_lines.len() == 1));
    assert!(by_key.len() < requests.len() && requests.iter().all(|r| r.path == "/in"));
}

#[test]
fn what_is_refused_for_good_is_dropped_counted_and_said() {
    let receiver = Receiver::start(false, |number| match number {
        0 => Answer::Say(422),
        _ => Answer::Take,
    });
    let server = Server::start();
    let url = format!("http://sesame-token@{}/path-secret", receiver.address());
    deploy(&server, &lines_repo(), json!([{"url": url}]));
    write_up_to(&server, 10);
    let drain = drain_is(&server, "lines are dropped", |drain| {
        drain["dropped"].as_u64() > Some(0)
    });
    let dropped = drain["dropped"].as_u64().unwrap();
    write_up_to(&server, 20);
    let drain = all_is_sent(&server);
    assert_eq!(drain["sent"].as_u64().unwrap() + dropped, 20);
    let status = server.status("noisy");
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains(&format!("{dropped} lines were dropped")),
        "{warnings}"
    );
    let log = server.log();
    assert!(
        log.contains("drain.dropped") && log.contains("422"),
        "{log}"
    );
    // The URL is a secret, and in the request it is what it is.
    let shown = format!("{status}{log}{}", server.get("/metrics").text());
    assert!(!shown.contains("sesame-token") && !shown.contains("path-secret"));
    assert_eq!(
        receiver.requests()[0].fields["authorization"],
        "Bearer sesame-token"
    );
    assert!(
        shown.contains("procserver_drain_lines_total{app=\"noisy\""),
        "{shown}"
    );
}

#[test]
fn loki_gets_labels_and_times_that_grow() {
    let receiver = Receiver::start(false, |_| Answer::Take);
    let server = Server::start();
    let repo = lines_repo();
    let url = format!("loki+http://tenant:sesame@{}", receiver.address());
    let document = crate::support::fixture::document("noisy", &repo);
    let more = json!({"drains": [{"url": url}], "env": {"BOTH": "1"}});
    server.deploy(&crate::support::fixture::with(document, more));
    write_up_to(&server, 500);
    drain_is(&server, "all lines are sent", |drain| drain["sent"] == 500);
    let mut all: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for request in receiver.requests() {
        assert_eq!(request.path, "/loki/api/v1/push");
        assert_eq!(request.fields["content-type"], "application/json");
        assert_eq!(
            request.fields["authorization"],
            "Basic dGVuYW50OnNlc2FtZQ=="
        );
        // As Loki reads it: nothing else is there, and every value is a pair of strings.
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Push {
            streams: Vec<Stream>,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stream {
            stream: BTreeMap<String, String>,
            values: Vec<(String, String)>,
        }
        let push: Push = serde_json::from_str(&request.body).unwrap();
        for Stream { stream, values } in push.streams {
            let labels: Vec<_> = stream.keys().map(String::as_str).collect();
            assert_eq!(labels, ["app", "host", "process", "stream"]);
            let of = all.entry(stream["stream"].clone()).or_default();
            of.extend(
                values
                    .into_iter()
                    .map(|(time, line)| (time.parse().unwrap(), line)),
            );
        }
    }
    let count: usize = all.values().map(Vec::len).sum();
    assert_eq!(count, 500);
    for (stream, values) in all {
        // Equal times and texts would be one line for Loki.
        let distinct: HashSet<_> = values.iter().collect();
        assert_eq!(distinct.len(), values.len(), "{stream}");
        let texts = values.iter().map(|(_, line)| line.as_str());
        let expected = (1..=500).filter(|n| (n % 10 == 0) == (stream == "stderr"));
        assert_eq!(numbers(texts), expected.collect::<Vec<_>>(), "{stream}");
    }
}

#[test]
fn the_verb_shows_adds_and_removes_drains_without_a_restart_of_the_application() {
    let receiver = Receiver::start(true, |_| Answer::Take);
    let server = Server::start();
    deploy(&server, &lines_repo(), json!([]));
    let pid = server.ready_pid("noisy", "lines.1");
    write_up_to(&server, 5);
    super::logged(&server, 5);
    let url = format!("https://user:sesame@{}/in", receiver.address());
    let none = run(&server, &["drains", "noisy"]);
    assert!(
        none.stderr.contains("procserver drains add noisy"),
        "{none:?}"
    );
    run(&server, &["drains", "add", "noisy", &url]).success();
    write_up_to(&server, 10);
    // Nobody whom this machine trusts has signed its certificate.
    let drain = drain_is(&server, "it is not trusted", |drain| {
        drain["state"] == "failing"
    });
    assert!(
        drain["error"].as_str().unwrap().contains("certificate"),
        "{drain}"
    );
    let shown = run(&server, &["drains", "noisy"]).success();
    assert!(
        shown.contains("failing") && !shown.contains("sesame"),
        "{shown}"
    );
    let ca = server.directory().join("receiver.pem");
    std::fs::write(&ca, receiver.certificate()).unwrap();
    run(
        &server,
        &[
            "drains",
            "add",
            "noisy",
            &url,
            "--receiver-ca",
            ca.to_str().unwrap(),
        ],
    )
    .success();
    all_is_sent(&server);
    // What was there before is not sent, and what waited is.
    let taken = receiver.taken();
    let lines: Vec<_> = taken
        .lines()
        .map(|line| line.split('"').nth_back(1).unwrap())
        .collect();
    assert_eq!(numbers(lines), [6, 7, 8, 9, 10]);
    run(&server, &["drains", "rm", "noisy", "1"]).success();
    let json = run(&server, &["drains", "noisy", "--json"]).success();
    assert_eq!(json.trim(), "[]");
    let missing = run(&server, &["drains", "rm", "noisy", &url]);
    assert!(missing.stderr.contains("has no drain"), "{missing:?}");
    assert_eq!(server.ready_pid("noisy", "lines.1"), pid);
}
