//! Clients that stay with a process.

use procserver::router::backend::Backend;
use procserver::router::table::Route;
use serde_json::json;

use super::{has, has_not, policies};
use crate::front::fixture::{Client, Fixture, backend, path_route, route};
use crate::front::origin::Origin;

fn origin(name: &'static str) -> Origin {
    Origin::answering(match name {
        "one" => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
    })
}

fn process(name: &str, release: u64, origin: &Origin) -> Backend {
    Backend {
        process: name.into(),
        release,
        ..backend(origin.address)
    }
}

fn sticky(backends: Vec<Backend>) -> Route {
    Route {
        policies: policies(json!({"sticky": {"cookie": "node"}}), None),
        backends,
        ..route("blog", &[])
    }
}

/// Asks with this cookie. Returns who answered, and what cookie came.
fn ask(client: &mut Client, cookie: &str) -> (String, Option<String>) {
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: {cookie}\r\n"),
    };
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"));
    let answer = client.response();
    has(&answer, &["HTTP/1.1 200 "]);
    let set = answer.lines().find_map(|l| l.strip_prefix("Set-Cookie: "));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (body.to_owned(), set.map(str::to_owned))
}

fn pair(set: &str) -> &str {
    set.split(';').next().unwrap()
}

#[test]
fn a_client_stays_with_the_process_that_answered_it_first() {
    let (one, two) = (origin("one"), origin("two"));
    let backends = vec![process("web.1", 1, &one), process("web.2", 1, &two)];
    let front = Fixture::new(vec![sticky(backends)]);
    let mut client = front.connect();
    let mut seen = std::collections::BTreeSet::new();
    // Chance leaves one of two out for fifty times never.
    for _ in 0..50 {
        let (first, set) = ask(&mut client, "");
        let set = set.expect("a cookie");
        has(&set, &["node=", "; Path=/; HttpOnly; SameSite=Lax"]);
        has_not(&set, &["Secure", "web"]);
        for _ in 0..4 {
            let (again, set) = ask(&mut client, &format!("a=b; {}; c=d", pair(&set)));
            assert_eq!((again, set), (first.clone(), None));
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2);
    for got in [one.received(), two.received()] {
        has_not(&got, &["node="]);
    }
}

#[test]
fn the_application_sees_its_own_cookies_alone() {
    let one = origin("one");
    let front = Fixture::new(vec![sticky(vec![process("web.1", 1, &one)])]);
    let mut client = front.connect();
    for (sent, passed) in [
        ("a=b", Some("a=b")),
        ("node=x", None),
        ("node", None),
        ("a=b; node=x", Some("a=b")),
        ("node=x; a=b; nodes=1; NODE=2", Some("a=b; nodes=1; NODE=2")),
        ("a=b; node=x; c=\"d; e\"", Some("a=b; c=\"d; e\"")),
    ] {
        ask(&mut client, sent);
        let got = one.received();
        match passed {
            Some(passed) => has(&got, &[&format!("\r\nCookie: {passed}\r\n")]),
            None => has_not(&got, &["cookie"]),
        }
    }
}

#[test]
fn a_cookie_counts_among_the_processes_that_serve_and_no_others() {
    let (one, two) = (origin("one"), origin("two"));
    let (first, second) = (process("web.1", 1, &one), process("web.2", 1, &two));
    let front = Fixture::new(vec![sticky(vec![first.clone()])]);
    let mut client = front.connect();
    let (_, set) = ask(&mut client, "");
    let (old, is) = (
        pair(&set.unwrap()).to_owned(),
        |who: &str, got: (String, Option<String>)| {
            assert_eq!(got.0, who);
            got.1.expect("another cookie")
        },
    );
    // It drains, and a table without it is on its way.
    front.publish(sticky(vec![first.clone(), second.clone()]));
    first.load.close();
    is("two", ask(&mut client, &old));
    // It is gone.
    front.publish(sticky(vec![second.clone()]));
    is("two", ask(&mut client, &old));
    // Another release has another process of the same name.
    front.publish(sticky(vec![process("web.1", 2, &two)]));
    let new = is("two", ask(&mut client, &old));
    assert_ne!(pair(&new), old);
    // The same process, after a restart of the server or of its actor, is the same.
    front.publish(sticky(vec![process("web.1", 1, &one), second]));
    assert_eq!(ask(&mut client, &old), ("one".to_owned(), None));
    let long = format!("node={}", "f".repeat(8000));
    for rubbish in [
        "node=",
        "node=x",
        "node=%00",
        "node=ffffffffffffffffffffffffffffffff",
        &long,
        "node;node=;=;;",
    ] {
        assert!(ask(&mut client, rubbish).1.is_some(), "{rubbish}");
    }
    // One that is right behind one that is not.
    assert_eq!(
        ask(&mut client, &format!("node=x; {old}")),
        ("one".to_owned(), None)
    );
}

#[test]
fn no_other_application_is_reached_and_by_path_the_cookie_stays_there() {
    let (one, two) = (origin("one"), origin("two"));
    let app = |name: &str, origin: &Origin| Route {
        policies: policies(json!({"sticky": true}), None),
        ..path_route(name, origin)
    };
    let front = Fixture::new(vec![app("blog", &one), app("shop", &two)]);
    let mut client = front.connect();
    client.send("GET /blog/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response();
    has(
        &answer,
        &[
            "\r\nSet-Cookie: procserver_sticky=",
            "; Path=/blog; HttpOnly",
            "one",
        ],
    );
    let set = answer
        .lines()
        .find_map(|l| l.strip_prefix("Set-Cookie: "))
        .unwrap();
    client.send(&format!(
        "GET /shop/ HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n",
        pair(set)
    ));
    has(&client.response(), &["two", "\r\nSet-Cookie: "]);
}

#[test]
fn a_tunnel_gets_the_cookie_too() {
    let one = Origin::start(|conn| {
        conn.request();
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
    });
    let front = Fixture::new(vec![sticky(vec![process("web.1", 1, &one)])]);
    let mut client = front.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    has(
        &client.response(),
        &["HTTP/1.1 101 ", "\r\nSet-Cookie: node="],
    );
}
