//! How a session begins, how long it lasts, and what ends it.

use serde_json::json;

use super::{HOST, Visitor, cookie, key, server};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

fn made(server: &Server, wish: serde_json::Value) -> (String, String) {
    let made = server.send("POST", "/tokens", &wish).expect(201).json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

#[test]
fn a_session_begins_with_a_token_has_a_cookie_of_its_own_and_outlives_the_server() {
    let mut server = server();
    let mut visitor = Visitor::of(&server);
    let to_login = visitor.get("/ui/apps/echo").expect(303);
    assert_eq!(
        to_login.header("location"),
        Some("/ui/login?next=/ui/apps/echo")
    );
    let answer = visitor.log_in("wrong").expect(401);
    assert!(
        answer.text().contains("not this server&#39;s"),
        "{}",
        answer.text()
    );
    // Whatever somebody has planted in the browser, it gets another one.
    let planted = visitor.cookie.clone();
    let answer = visitor.log_in(&server.token()).expect(303);
    assert_ne!(visitor.cookie, planted);
    let field = answer.header("set-cookie").unwrap();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/ui"] {
        assert!(field.contains(part), "{field}");
    }
    let page = visitor.get("/ui").expect(200).text();
    assert!(page.contains("first (admin)"), "{page}");
    let lines = server.get("/audit?tail=2").json();
    assert_eq!(
        (&lines[0]["path"], &lines[0]["outcome"], &lines[1]["who"]),
        (&"/ui/login".into(), &401.into(), &"first".into()),
        "{lines}"
    );
    // Only digests are on disk.
    let kept = std::fs::read_to_string(server.directory().join("sessions.json")).unwrap();
    let secret = visitor.cookie.as_deref().unwrap();
    assert!(!kept.contains(secret.split_once('=').unwrap().1), "{kept}");
    server.terminate();
    server.start_again();
    visitor.peer = server.public();
    visitor.get("/ui").expect(200);
    let out = visitor.submit("/ui/logout", &[]).expect(303);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    visitor.get("/ui").expect(303);
}

#[test]
fn who_logs_out_while_the_disk_takes_nothing_is_told_and_is_out() {
    let server = server();
    let visitor = Visitor::logged_in(&server, &server.token());
    // A file is not put in the place of a directory.
    let file = server.directory().join("sessions.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let out = visitor.submit("/ui/logout", &[]).expect(500);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert!(
        out.text().contains("You are logged out, but"),
        "{}",
        out.text()
    );
    visitor.get("/ui").expect(303);
}

#[test]
fn a_session_ends_with_its_token_at_once_also_for_who_follows() {
    let server = server();
    let (id, token) = made(&server, json!({"name": "x", "scope": "read"}));
    let visitor = Visitor::logged_in(&server, &token);
    let mut stream = visitor
        .request("GET", "/ui/events/stream")
        .open(&server.public())
        .unwrap();
    assert_eq!(stream.status, 200);
    assert_eq!(stream.next_line(), ": following");
    let mut body = stream.into_body();
    server
        .request("DELETE", &format!("/tokens/{id}"))
        .send(&server.public())
        .expect(200);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut body, &mut rest).expect("it ends");
    visitor.get("/ui").expect(303);
    // Of a token for one app there is nothing else.
    let wish = json!({"name": "y", "scope": "deploy", "apps": ["other"]});
    let bound = Visitor::logged_in(&server, &made(&server, wish).1);
    bound.get("/ui/server").expect(403);
    bound.get("/ui/apps/echo").expect(404);
}

#[test]
fn too_many_wrong_tokens_lock_out_and_pages_that_follow_are_bounded() {
    let server = server();
    let visitor = Visitor::logged_in(&server, &server.token());
    let follow = || {
        let request = visitor.request("GET", "/ui/events/stream");
        request.open(&server.public()).unwrap()
    };
    let held: Vec<_> = (0..20).map(|_| follow()).collect();
    assert!(held.iter().all(|stream| stream.status == 200));
    assert_eq!(follow().status, 503);
    drop(held);
    eventually("there is room again", SOON, || {
        (follow().status == 200).then_some(())
    });
    let mut stranger = Visitor::of(&server);
    for _ in 0..10 {
        stranger.log_in("wrong").expect(401);
    }
    let refused = stranger.log_in(&server.token()).expect(429);
    let wait = refused.header("retry-after").expect("when to come again");
    assert!(wait.parse::<u64>().unwrap() > 0, "{wait}");
    assert!(
        refused.text().contains("Too many wrong tokens"),
        "{}",
        refused.text()
    );
    // Who is in stays in.
    visitor.get("/ui").expect(200);
}

#[test]
fn nobody_is_led_elsewhere_by_a_log_in() {
    let server = server();
    for (next, wanted) in [
        ("/ui/apps/echo", "/ui/apps/echo"),
        ("//evil.example", "/ui"),
        ("https://evil.example/ui", "/ui"),
        ("/ui/../../evil", "/ui"),
        ("/applications", "/ui"),
    ] {
        let mut visitor = Visitor::of(&server);
        let page = visitor.get("/ui/login").expect(200);
        visitor.cookie = cookie(&page);
        let (key, token) = (key(&page.text()), server.token());
        let fields = [
            ("form_key", key.as_str()),
            ("token", &token),
            ("next", next),
        ];
        let answer = visitor.post("/ui/login", &fields).expect(303);
        assert_eq!(answer.header("location"), Some(wanted), "{next}");
    }
}

#[test]
fn by_https_the_cookie_is_one_that_no_other_host_can_set() {
    let server = Setup::new()
        .flag("--api-hosts", HOST)
        .flag("--trusted-proxies", "127.0.0.0/8")
        .start();
    let by_tls = |request: Request| request.header("X-Forwarded-Proto", "https");
    let visitor = Visitor::of(&server);
    let page = by_tls(visitor.request("GET", "/ui/login")).send(&server.public());
    let first = cookie(&page).unwrap();
    let form = format!("form_key={}&token={}", key(&page.text()), server.token());
    let answer = by_tls(visitor.request("POST", "/ui/login"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Cookie", &first)
        .body(form)
        .send(&server.public())
        .expect(303);
    let field = answer.header("set-cookie").unwrap();
    assert!(field.starts_with("__Host-procserver_ui="), "{field}");
    assert!(
        field.contains("; Path=/;") && field.ends_with("; Secure"),
        "{field}"
    );
    let own = cookie(&answer).unwrap();
    let page = |cookie: &str| {
        let request = visitor.request("GET", "/ui").header("Cookie", cookie);
        by_tls(request).send(&server.public()).status
    };
    assert_eq!(page(&own), 200);
    assert_eq!(page(own.trim_start_matches("__Host-")), 303);
}
