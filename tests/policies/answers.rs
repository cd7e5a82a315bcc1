//! Redirects, and fields of responses.

use procserver::router::table::{Availability, Route, StaticFiles};
use serde_json::json;

use super::{GET, has, has_not, policed, policies};
use crate::front::fixture::{Fixture, OK, path_route};
use crate::front::origin::Origin;

#[test]
fn paths_that_moved_are_said_to_be_elsewhere() {
    let origin = Origin::answering(OK);
    let fields = json!({"redirects": [
        {"from": "/old/keep", "to": "/kept", "status": 308},
        {"from": "/old/*", "to": "/*"},
        {"from": "/out/*", "to": "https://www.example.org/*", "status": 302},
    ]});
    let front = Fixture::new(vec![policed(fields.clone(), &[&origin])]);
    let mut client = front.connect();
    for (target, status, location) in [
        ("/old/keep", "308 Permanent Redirect", "/kept"),
        ("/old/a?b=c", "301 Moved Permanently", "/a?b=c"),
        (
            "/old//evil.example/",
            "301 Moved Permanently",
            "/evil.example/",
        ),
        (
            "/old/\\evil.example/",
            "301 Moved Permanently",
            "/evil.example/",
        ),
        ("/out/a/b?c", "302 Found", "https://www.example.org/a/b?c"),
    ] {
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.response();
        // A backslash is no character of a target.
        if !answer.starts_with("HTTP/1.1 400") {
            has(
                &answer,
                &[
                    &format!("HTTP/1.1 {status}\r\n"),
                    &format!("\r\nLocation: {location}\r\n"),
                ],
            );
        } else {
            assert!(target.contains('\\'), "{answer}");
            client = front.connect();
        }
    }
    assert!(origin.received_nothing());
    client.send("GET /old HTTP/1.1\r\nHost: a\r\n\r\n");
    has(&client.response(), &["HTTP/1.1 200 "]);

    // By path it is within the application, as that would say it.
    let route = Route {
        policies: policies(fields, None),
        ..path_route("blog", &origin)
    };
    let front = Fixture::new(vec![route]);
    let mut client = front.connect();
    for (target, location) in [
        ("/blog/old/a?b", "/blog/a?b"),
        ("/blog/out/a", "https://www.example.org/a"),
    ] {
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        has(
            &client.response(),
            &[&format!("\r\nLocation: {location}\r\n")],
        );
    }
}

#[test]
fn fields_are_set_and_taken_out_of_every_response_of_the_application() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Powered-By: PHP\r\nx-frame-options: ALLOWALL\r\nX-Frame-Options: b\r\n\
         Cache-Control: private\r\n\r\nok",
    );
    let fields = json!({
        "headers": {"response": {"X-Frame-Options": "DENY", "X-Powered-By": false, "Cache-Control": "public, max-age=60"}},
        "redirects": [{"from": "/old", "to": "/new"}],
    });
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.txt"), "a file").unwrap();
    let files = StaticFiles {
        root: directory.path().to_owned(),
        dir: ".".into(),
        prefix: "/".into(),
        spa: false,
        cache_control: None,
    };
    let front = Fixture::new(vec![Route {
        static_files: Some(files.into()),
        ..policed(fields.clone(), &[&origin])
    }]);
    let mut client = front.connect();
    for (target, is_own_error) in [("/", false), ("/a.txt", false), ("/old", true)] {
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.response();
        has(&answer, &["\r\nX-Frame-Options: DENY\r\n"]);
        has_not(&answer, &["ALLOWALL", "X-Powered-By", "private"]);
        assert_eq!(
            answer
                .to_ascii_lowercase()
                .matches("x-frame-options")
                .count(),
            1,
            "{answer}"
        );
        assert_eq!(answer.contains("max-age=60"), !is_own_error, "{answer}");
        assert_eq!(
            answer.to_ascii_lowercase().matches("cache-control").count(),
            1,
            "{answer}"
        );
    }
    let front = Fixture::new(vec![Route {
        availability: Availability::Crashed,
        ..policed(fields, &[])
    }]);
    let answer = front.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    has(
        &answer,
        &[
            "HTTP/1.1 503 ",
            "\r\nX-Frame-Options: DENY\r\n",
            "\r\nCache-Control: no-store\r\n",
        ],
    );
    has_not(&answer, &["max-age=60"]);
}

#[test]
fn interim_responses_stay_as_they_are() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        conn.send(OK);
    });
    let fields = json!({"headers": {"response": {"X-A": "b"}}});
    let front = Fixture::new(vec![policed(fields, &[&origin])]);
    let mut client = front.connect();
    client.send(GET);
    let hints = client.response();
    has(&hints, &["HTTP/1.1 103 ", "Link"]);
    has_not(&hints, &["X-A"]);
    has(&client.response(), &["HTTP/1.1 200 ", "\r\nX-A: b\r\n"]);
}
