//! Interim responses: what a client sees of them, and what they cannot do.

use std::time::Duration;

use super::fixture::{Fixture, OK, route};
use super::origin::Origin;
use super::responses::body;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_1_0: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";

#[test]
fn interim_responses_are_passed_on_to_1_1_and_are_not_the_final_one() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let front = Fixture::before(&origin);
    let mut client = front.connect();
    client.send(GET);
    assert_eq!(
        client.head(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    );
    assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(body(&client.response()), "ok");
    let old = front.talk(GET_1_0);
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "{old}");
}

#[test]
fn an_app_that_says_100_and_no_more_is_told_from_a_response() {
    for (closes, status) in [(true, "502"), (false, "504")] {
        let origin = Origin::start(move |conn| {
            super::origin::read_message(&mut conn.stream, true);
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            if !closes {
                conn.record_rest();
            }
        });
        let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
            s.timeouts.response = Duration::from_millis(100);
        });
        let mut client = front.connect();
        client
            .send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        if !closes {
            client.send("abc");
        }
        let answer = client.response();
        assert_eq!(answer.get(9..12), Some(status), "{answer}");
    }
}

#[test]
fn interim_responses_without_end_are_no_response() {
    let origin = Origin::start(|conn| {
        conn.request();
        while std::io::Write::write_all(&mut conn.stream, b"HTTP/1.1 102 P\r\n\r\n").is_ok() {}
    });
    let front = Fixture::before(&origin);
    let answer = front.talk(GET_1_0);
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("H17"),
        "{answer}"
    );
}

#[test]
fn each_interim_response_gives_the_app_its_time_anew() {
    let origin = Origin::start(|conn| {
        conn.request();
        for _ in 0..3 {
            std::thread::park_timeout(Duration::from_secs(1));
            conn.send("HTTP/1.1 102 Processing\r\n\r\n");
        }
        conn.send(OK);
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.response = Duration::from_millis(2500);
    });
    // One is sent them, to the other nothing is sent meanwhile.
    let (mut new, mut old) = (front.connect(), front.connect());
    new.send(GET);
    old.send(GET_1_0);
    for _ in 0..3 {
        assert!(new.head().starts_with("HTTP/1.1 102 "));
    }
    assert_eq!(body(&new.response()), "ok");
    assert_eq!(body(&old.rest()), "ok");
}
