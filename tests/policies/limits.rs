//! How many requests an address may make, and the application's own times and sizes.

use std::time::Duration;

use procserver::router::policies::Policies;
use procserver::router::table::Route;
use serde_json::{Value, json};

use super::{GET, has, policed};
use crate::front::fixture::{Client, Fixture, OK, passing, route};
use crate::front::origin::Origin;
use crate::http2::client as http2;

fn limited(burst: u32) -> Value {
    json!({"rate": {"requests": "1/h", "burst": burst}})
}

#[test]
fn an_address_has_its_burst_and_then_waits() {
    let origin = Origin::answering(OK);
    let first = policed(limited(3), &[&origin]);
    let counting = first.policies.clone().unwrap();
    let front = Fixture::new(vec![first]);
    let ask = |client: &mut Client, status: u16| {
        client.send(GET);
        let answer = client.response();
        has(&answer, &[&format!("HTTP/1.1 {status} ")]);
        answer
    };
    let mut client = front.connect();
    (0..3).for_each(|_| drop(ask(&mut client, 200)));
    let answer = ask(&mut client, 429);
    let wait = answer.lines().find_map(|l| l.strip_prefix("Retry-After: "));
    let wait: u64 = wait.unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    // Another connection is the same address, and another address is not.
    ask(&mut front.connect(), 429);
    ask(&mut Client::from([127, 0, 0, 2], front.address), 200);
    // Backends come and go, and nobody begins anew.
    let mut next = policed(json!({}), &[&origin, &origin]);
    next.policies = Policies::after(Some(&counting), &counting.of, None);
    front.publish(next);
    ask(&mut client, 429);
}

#[test]
fn a_request_counts_once_however_slowly_its_body_comes() {
    let origin = Origin::answering(OK);
    let front = Fixture::new(vec![policed(limited(2), &[&origin])]);
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    client.send(&"x".repeat(99_997));
    has(&client.response(), &["HTTP/1.1 200 "]);
    client.send(GET);
    has(&client.response(), &["HTTP/1.1 200 "]);
    client.send(GET);
    has(&client.response(), &["HTTP/1.1 429 "]);
}

#[test]
fn each_stream_of_http2_counts() {
    let origin = Origin::answering(OK);
    let front = http2::front(vec![policed(limited(3), &[&origin])]);
    http2::run(async {
        let mut client = http2::Client::connect(front.address).await;
        for status in [200, 200, 200, 429] {
            assert_eq!(client.get("/").await.status, status);
        }
        let mut other = http2::Client::connect(front.address).await;
        assert_eq!(other.get("/").await.status, 429);
    });
}

#[test]
fn a_flood_of_addresses_lets_nobody_begin_anew() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![policed(limited(2), &[&origin])], |settings| {
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let mut client = front.connect();
    let get = |from: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\n\r\n");
    for status in [200, 200, 429] {
        client.send(&get("192.0.2.1"));
        has(&client.response(), &[&format!("HTTP/1.1 {status} ")]);
    }
    for batch in 0..20u32 {
        let all: String = (0..100)
            .map(|n| get(&format!("10.{batch}.{n}.1")))
            .collect();
        client.send(&all);
        for _ in 0..100 {
            has(&client.response(), &["HTTP/1.1 200 "]);
        }
    }
    client.send(&get("192.0.2.1"));
    has(&client.response(), &["HTTP/1.1 429 "]);
    // Who has a network of IPv6 has 2^64 addresses.
    for (n, status) in [(1, 200), (2, 200), (3, 429)] {
        client.send(&get(&format!("2001:db8::{n}")));
        has(&client.response(), &[&format!("HTTP/1.1 {status} ")]);
    }
}

#[test]
fn an_application_that_has_less_time_than_the_settings_give_is_answered_for() {
    let origin = Origin::start(|conn| {
        conn.request();
        // Nothing comes until the front end gives up.
        conn.record_rest();
    });
    let fields = json!({"timeouts": {"response": "1s"}});
    let front = Fixture::tuned(vec![policed(fields, &[&origin])], |settings| {
        settings.timeouts.response = Duration::from_secs(3600);
        settings.timeouts.idle = Duration::from_secs(3600);
    });
    let mut client = front.connect();
    client.send(GET);
    has(&client.response(), &["HTTP/1.1 504 ", "H12"]);
}

#[test]
fn an_application_may_take_less_or_more_than_the_settings_say() {
    let origin = Origin::answering(OK);
    let upload =
        |length: usize| format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let with = |fields: Value, base: Route| Route {
        policies: super::policies(fields, None),
        ..base
    };
    for base in [passing("blog", &[&origin]), route("blog", &[&origin])] {
        let front = |fields: Value| {
            Fixture::tuned(vec![with(fields, base.clone())], |settings| {
                settings.limits.body = 4096;
            })
        };
        let more = front(json!({"body": "64K"}));
        let mut client = more.connect();
        client.send(&format!("{}{}", upload(50_000), "x".repeat(50_000)));
        has(&client.response(), &["HTTP/1.1 200 "]);
        let refused = more.talk(&upload((64 << 10) + 1));
        has(&refused, &["HTTP/1.1 413 ", "at most 65536"]);

        let less = front(json!({"body": "1K"}));
        let refused = less.talk(&upload(1025));
        has(&refused, &["HTTP/1.1 413 ", "at most 1024"]);
        let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let piece = format!("800\r\n{}\r\n", "x".repeat(2048));
        let refused = less.talk(&format!("{chunked}{piece}"));
        has(&refused, &["HTTP/1.1 413 "]);
        let mut client = less.connect();
        client.send(&format!("{}{}", upload(1024), "x".repeat(1024)));
        has(&client.response(), &["HTTP/1.1 200 "]);

        let refused = front(json!({})).talk(&upload(4097));
        has(&refused, &["HTTP/1.1 413 ", "at most 4096"]);
    }
}

#[test]
fn connections_to_the_application_are_kept_or_not() {
    for (time, kept) in [("0s", false), ("10m", true)] {
        let origin = Origin::start(|conn| {
            while conn.request().is_some() {
                conn.record(&format!("on {}", conn.number));
                conn.send(OK);
            }
        });
        let fields = json!({"upstream_keep_alive": time});
        let front = Fixture::new(vec![policed(fields, &[&origin])]);
        let mut client = front.connect();
        for n in 0..3 {
            client.send(GET);
            has(&client.response(), &["HTTP/1.1 200 "]);
            origin.received();
            let number = if kept { 0 } else { n };
            assert_eq!(origin.received(), format!("on {number}"), "{time}");
        }
    }
}
