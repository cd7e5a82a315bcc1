//! By which ways requests come to apps, and what an app that is reached by path may set.

use std::sync::Arc;

use procserver::front::own_token::OwnToken;
use procserver::router::reach::{Reach, XApp};
use procserver::router::table::Route;

use super::fixture::{Fixture, OK, path_route, route};
use super::origin::Origin;

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn close(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n")
}

#[test]
fn an_app_by_path_begins_at_its_slash() {
    let (one, kept) = (Origin::answering(OK), Origin::answering(OK));
    let front = Fixture::new(vec![
        path_route("one", &one),
        Route {
            strip_path: false,
            ..path_route("kept", &kept)
        },
    ]);
    for (line, location) in [
        ("GET /one", "/one/"),
        ("HEAD /one?a=b?c", "/one/?a=b?c"),
        ("POST /kept?", "/kept/?"),
        ("GET /%6fne?x", "/%6fne/?x"),
    ] {
        let answer = front.talk(&close(line, "Host: h\r\n"));
        assert_eq!(status(&answer), "308", "{line}");
        assert!(
            answer.contains(&format!("\r\nLocation: {location}\r\n")),
            "{answer}"
        );
    }
    assert!(one.received_nothing() && kept.received_nothing());
    for (path, target) in [("/one//x", "//x"), ("/one/", "/"), ("/one/%2F?q", "/%2F?q")] {
        front.talk(&close(&format!("GET {path}"), "Host: h\r\n"));
        let got = one.received();
        assert!(
            got.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{got}"
        );
    }
    // By its name and its host nothing is cut off, and nothing led on.
    front.talk(&close("GET /one", "Host: h\r\nX-App: one\r\n"));
    assert!(one.received().starts_with("GET /one HTTP/1.1\r\n"));
}

const SETS: &str = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/; Secure\r\nset-cookie: c=d\r\n\
                    Service-Worker-Allowed: /\r\nClear-Site-Data: \"*\"\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn what_an_app_by_path_sets_stays_in_its_path() {
    let origins = [Origin::answering(SETS), Origin::answering(SETS)];
    let front = Fixture::new(vec![
        path_route("one", &origins[0]),
        Route {
            strip_path: false,
            ..path_route("kept", &origins[1])
        },
    ]);
    for app in ["one", "kept"] {
        let answer = front.talk(&close(&format!("GET /{app}/x"), "Host: h\r\n"));
        for field in [
            format!("Set-Cookie: a=b; Secure; Path=/{app}\r\n"),
            format!("set-cookie: c=d; Path=/{app}\r\n"),
            format!("Service-Worker-Allowed: /{app}/\r\n"),
        ] {
            assert!(answer.contains(&field), "{answer}");
        }
        assert!(!answer.contains("Clear-Site-Data"), "{answer}");
        // A host of its own is its own.
        let answer = front.talk(&close("GET /x", &format!("Host: h\r\nX-App: {app}\r\n")));
        for field in SETS.lines().filter(|line| line.contains(": ")) {
            assert!(answer.contains(field), "{field} in {answer}");
        }
    }
}

#[test]
fn the_servers_own_token_reaches_no_app() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let origin = Origin::answering(OK);
    let routes = vec![
        path_route("one", &origin),
        Route {
            domain: vec!["^hosted$".into()],
            ..route("two", &[&origin])
        },
    ];
    let front = Fixture::withholding(routes, OwnToken::new(TOKEN.into()));
    let sent = format!("authorization:  bEaReR \t{TOKEN}\r\nAuthorization: Bearer of-the-app\r\n");
    for (line, fields) in [
        ("GET /one/", "Host: h\r\n"),
        ("GET /", "Host: hosted\r\n"),
        ("GET http://hosted/", "Host: h\r\n"),
        ("GET /", "Host: h\r\nX-App: one\r\n"),
    ] {
        let answer = front.talk(&close(line, &format!("{fields}{sent}")));
        assert_eq!(status(&answer), "200", "{line}");
        let got = origin.received();
        assert!(!got.contains(TOKEN), "{got}");
        assert!(
            got.contains("\r\nAuthorization: Bearer of-the-app\r\n"),
            "{got}"
        );
    }
    let answer = front.talk(&close("GET /", &format!("Host: api.local\r\n{sent}")));
    assert!(answer.contains(TOKEN), "the API needs it: {answer}");
}

#[test]
fn names_and_paths_reach_what_the_settings_say() {
    let (one, hidden) = (Origin::answering(OK), Origin::answering(OK));
    let routes = || {
        vec![
            path_route("one", &one),
            Route {
                path: false,
                ..path_route("hidden", &hidden)
            },
        ]
    };
    let asked = |front: &Fixture, line: &str, fields: &str| {
        let answer = front.talk(&close(line, fields));
        status(&answer).to_owned()
    };
    let open = Fixture::new(routes());
    assert_eq!(asked(&open, "GET /", "Host: h\r\nX-App: one\r\n"), "200");
    assert_eq!(asked(&open, "GET /", "Host: h\r\nX-App: hidden\r\n"), "404");
    let narrow = Fixture::tuned(routes(), |settings| {
        settings.reach = Arc::new(Reach {
            x_app: XApp::These(vec!["hidden".into()]),
            path_hosts: Some(vec!["apps.local".into()]),
            ..Reach::default()
        });
    });
    assert_eq!(asked(&narrow, "GET /", "Host: h\r\nX-App: one\r\n"), "404");
    assert_eq!(
        asked(&narrow, "GET /", "Host: h\r\nX-App: hidden\r\n"),
        "200"
    );
    assert_eq!(asked(&narrow, "GET /one/", "Host: evil.example\r\n"), "404");
    assert_eq!(
        asked(&narrow, "GET /one/", "Host: Apps.Local.:80\r\n"),
        "200"
    );
}
