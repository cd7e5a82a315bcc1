//! Maintenance and the networks that are let in.

use std::os::unix::fs::symlink;

use procserver::router::table::{Availability, Route, StaticFiles};
use serde_json::json;

use super::{GET, has, has_not, policed, policies};
use crate::front::fixture::{Client, Fixture, OK, route};
use crate::front::origin::Origin;
use crate::http2::client as http2;

#[test]
fn in_maintenance_everybody_is_refused_and_told_when_to_come_back() {
    let origin = Origin::answering(OK);
    let front = Fixture::new(vec![policed(json!({"maintenance": true}), &[&origin])]);
    let mut client = front.connect();
    // Two at once, and a HEAD, all on one connection.
    client.send(&format!("{GET}{GET}HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"));
    for _ in 0..2 {
        let answer = client.response();
        has(
            &answer,
            &[
                "HTTP/1.1 503 ",
                "\r\nRetry-After: 120\r\n",
                "\"code\":\"H80\"",
                "maintained",
                "application/problem+json",
            ],
        );
    }
    has(
        &client.head(),
        &["HTTP/1.1 503 ", "\r\nRetry-After: 120\r\n"],
    );
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
    has(
        &client.response(),
        &["text/html", "<h1>Service Unavailable</h1>", "maintained"],
    );

    // A WebSocket, an upload, and one that waits to be told to send it.
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(upgrade);
    has(&client.response(), &["HTTP/1.1 503 "]);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc";
    has(&front.talk(upload), &["HTTP/1.1 503 ", "Connection: close"]);
    let expects = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = front.talk(expects);
    has(&answer, &["HTTP/1.1 503 "]);
    has_not(&answer, &["100 Continue"]);
    assert!(origin.received_nothing());

    // It ends as it began: for the next request, on the same connection.
    front.publish(route("blog", &[&origin]));
    client.send(GET);
    has(&client.response(), &["HTTP/1.1 200 "]);
}

#[test]
fn maintenance_comes_before_files_and_before_what_is_wrong_with_the_application() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.txt"), "a file").unwrap();
    let files = StaticFiles {
        root: directory.path().to_owned(),
        dir: ".".into(),
        prefix: "/".into(),
        spa: false,
        cache_control: None,
    };
    let at = |availability| Route {
        static_files: Some(files.clone().into()),
        availability,
        ..policed(json!({"maintenance": {"retry_after": "1h"}}), &[])
    };
    for availability in [
        Availability::Starting,
        Availability::Stopped,
        Availability::Crashed,
        Availability::Undeployed,
        Availability::NoWeb,
    ] {
        let front = Fixture::new(vec![at(availability)]);
        let answer = front.talk("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        has(&answer, &["H80", "\r\nRetry-After: 3600\r\n"]);
    }
}

#[test]
fn the_page_is_a_file_of_the_release_and_nothing_outside_of_it() {
    let (release, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| release.path().join(name);
    std::fs::write(path("page.html"), "<p>Back at noon").unwrap();
    std::fs::write(path("large.html"), "x".repeat(512 * 1024 + 1)).unwrap();
    std::fs::write(outside.path().join("secret"), "SECRET").unwrap();
    symlink(outside.path().join("secret"), path("link.html")).unwrap();
    symlink(outside.path(), path("elsewhere")).unwrap();
    symlink("page.html", path("inside.html")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    let origin = Origin::answering(OK);
    for (page, shows) in [
        ("page.html", "<p>Back at noon"),
        ("inside.html", "<p>Back at noon"),
        ("missing.html", "<h1>Service Unavailable</h1>"),
        ("large.html", "<h1>Service Unavailable</h1>"),
        ("link.html", "<h1>Service Unavailable</h1>"),
        ("elsewhere/secret", "<h1>Service Unavailable</h1>"),
        ("fifo", "<h1>Service Unavailable</h1>"),
        ("directory", "<h1>Service Unavailable</h1>"),
    ] {
        let fields = json!({"maintenance": {"page": page}});
        let front = Fixture::new(vec![Route {
            policies: policies(fields, Some(release.path())),
            ..route("blog", &[&origin])
        }]);
        let mut client = front.connect();
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
            let answer = client.response();
            has(
                &answer,
                &["HTTP/1.1 503 ", "text/html; charset=utf-8", shows],
            );
            has_not(&answer, &["SECRET"]);
        }
        // A program is not shown the page.
        client.send(GET);
        has(&client.response(), &["application/problem+json", "H80"]);
    }
}

#[test]
fn who_is_in_none_of_the_networks_is_refused() {
    let origin = Origin::answering(OK);
    let fields =
        json!({"allow": ["127.0.0.2", "::ffff:127.0.0.4", "2001:db8::/32"], "maintenance": false});
    let front = Fixture::new(vec![policed(fields, &[&origin])]);
    for (from, status) in [(1, 403), (2, 200), (3, 403), (4, 200)] {
        let mut client = Client::from([127, 0, 0, from], front.address);
        client.send(GET);
        let answer = client.response();
        has(&answer, &[&format!("HTTP/1.1 {status} ")]);
        // What a stranger says of where he comes from counts for nothing.
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.2\r\nX-Real-IP: 127.0.0.2\r\n\r\n");
        has(&client.response(), &[&format!("HTTP/1.1 {status} ")]);
    }
}

#[test]
fn of_a_trusted_proxy_the_client_that_it_names_is_let_in_or_not() {
    let origin = Origin::answering(OK);
    let fields = json!({"allow": ["203.0.113.0/24", "2001:db8::/32"]});
    let front = Fixture::tuned(vec![policed(fields, &[&origin])], |settings| {
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let mut client = front.connect();
    for (named, status) in [
        ("203.0.113.7", 200),
        ("::ffff:203.0.113.7", 200),
        ("2001:db8::9", 200),
        ("203.0.114.7", 403),
        ("203.0.113.7, 198.51.100.1", 403),
        ("rubbish", 403),
    ] {
        client.send(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {named}\r\n\r\n"
        ));
        has(&client.response(), &[&format!("HTTP/1.1 {status} ")]);
    }
}

#[test]
fn by_http2_it_is_the_same() {
    let origin = Origin::answering(OK);
    let front = http2::front(vec![policed(json!({"maintenance": true}), &[&origin])]);
    http2::run(async {
        let mut client = http2::Client::connect(front.address).await;
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("120"))
        );
        front.publish(policed(json!({"allow": ["10.0.0.0/8"]}), &[&origin]));
        assert_eq!(client.get("/").await.status, 403);
        let (response, mut body) = client.begin(http2::request("POST", "/")).await;
        let _ = body.send_data(vec![b'x'; 1000].into(), false);
        assert_eq!(response.await.unwrap().status(), 403);
        front.publish(policed(json!({"allow": ["127.0.0.0/8"]}), &[&origin]));
        assert_eq!(client.get("/").await.status, 200);
    });
}
