//! Where pages are, who gets them, and what a form must carry.

use super::{Visitor, deployed, key, server};
use crate::access::token_of;
use crate::support::http::Request;

#[test]
fn pages_are_on_api_hosts_alone_and_no_app_is_sent_their_cookie() {
    let server = server();
    deployed(&server);
    let visitor = Visitor::logged_in(&server, &server.token());
    let cookie = visitor.cookie.clone().unwrap();
    assert!(cookie.starts_with("procserver_ui="), "{cookie}");
    // By path and by host there are apps, and nothing is beside them.
    for host in ["127.0.0.1", "localhost", "other.example"] {
        Request::get("/ui")
            .header("Host", host)
            .header("Cookie", &cookie)
            .send(&server.public())
            .expect(404);
    }
    let own = Request::get("/ui/apps")
        .header("Host", "shop.example")
        .header("Cookie", &format!("a=b; {cookie}; __Host-{cookie}; c=d"))
        .send(&server.public())
        .expect(200)
        .json();
    assert_eq!(own["path"], "/ui/apps", "it is the app's");
    assert_eq!(own["headers"]["cookie"], "a=b; c=d");
    // The API knows no cookies.
    visitor.get("/applications").expect(401);
    visitor.get("/-/ui").expect(401);
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let server = server();
    deployed(&server);
    let visitor = Visitor::logged_in(&server, &server.token());
    for target in [
        "/ui",
        "/ui/login",
        "/ui/assets/dashboard.js",
        "/ui/apps/echo",
        "/ui/apps/echo/logs",
        "/ui/none",
    ] {
        let got = visitor.get(target);
        let head = visitor.request("HEAD", target).send(&server.public());
        assert_eq!(head.status, got.status, "{target}");
        for field in ["content-type", "content-security-policy", "cache-control"] {
            assert_eq!(head.header(field), got.header(field), "{target} {field}");
        }
        assert_eq!(head.text(), "", "{target}");
    }
    // A stream that nobody reads is not begun.
    for target in ["/ui/apps/echo/logs/stream", "/ui/events/stream"] {
        let head = visitor.request("HEAD", target).send(&server.public());
        let head = head.expect(200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
    }
    // Who is not logged in is led back to where they were.
    for method in ["GET", "HEAD"] {
        let answer = Visitor::of(&server)
            .request(method, "/ui/apps/echo")
            .send(&server.public())
            .expect(303);
        let place = Some("/ui/login?next=/ui/apps/echo");
        assert_eq!(answer.header("location"), place, "{method}");
    }
}

#[test]
fn a_page_is_shown_within_no_other_runs_no_script_of_its_own_and_is_kept_by_nobody() {
    let server = server();
    let visitor = Visitor::logged_in(&server, &server.token());
    for target in ["/ui", "/ui/login", "/ui/none", "/ui/apps/none"] {
        let page = visitor.get(target);
        let policy = page.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{target}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{target}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    }
    let page = visitor.get("/ui").text();
    let script = page.split("<script src=\"").nth(1).unwrap();
    let script = script.split('"').next().unwrap();
    // Who has not logged in needs it, too.
    let got = Visitor::of(&server).get(script).expect(200);
    assert!(got.header("cache-control").unwrap().contains("immutable"));
    assert!(
        got.header("content-type")
            .unwrap()
            .starts_with("text/javascript")
    );
}

#[test]
fn a_form_of_another_page_changes_nothing() {
    let server = server();
    deployed(&server);
    let visitor = Visitor::logged_in(&server, &server.token());
    let target = "/ui/apps/echo/stop";
    let own = key(&visitor.get("/ui/apps/echo").expect(200).text());
    let other = Visitor::logged_in(&server, &server.token());
    let other = key(&other.get("/ui").expect(200).text());
    for fields in [
        &[][..],
        &[("form_key", "")],
        &[("form_key", other.as_str())],
    ] {
        visitor.post(target, fields).expect(403);
    }
    let form = |name: &str, value: &str| {
        visitor
            .request("POST", target)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header(name, value)
            .body(format!("form_key={own}"))
            .send(&server.public())
    };
    form("Origin", "https://evil.example").expect(403);
    form("Origin", "null").expect(403);
    form("Sec-Fetch-Site", "same-site").expect(403);
    // Nor does a link.
    visitor.get(target).expect(404);
    assert_eq!(server.status("echo")["state"], "running");
    visitor.post(target, &[("form_key", &own)]).expect(303);
    let lines = server.get("/audit?tail=1").expect(200).json();
    assert_eq!(
        (&lines[0]["method"], &lines[0]["path"], &lines[0]["who"]),
        (
            &"POST".into(),
            &"/applications/echo/stop".into(),
            &"first".into()
        ),
        "as by any client: {lines}"
    );
}

#[test]
fn who_may_read_sees_no_secret_and_no_form_and_can_do_nothing() {
    let server = server();
    deployed(&server);
    let reader = Visitor::logged_in(&server, &token_of(&server, "read"));
    let page = reader.get("/ui/apps/echo").expect(200).text();
    assert!(
        !page.contains("/restart\"") && !page.contains("/scale"),
        "{page}"
    );
    let env = reader.get("/ui/apps/echo/env").expect(200).text();
    assert!(env.contains("SESAME") && env.contains("••••"), "{env}");
    assert!(!env.contains("Show the values"), "{env}");
    let revealed = reader.submit("/ui/apps/echo/env/reveal", &[]).expect(200);
    assert!(!revealed.text().contains("open-it-now"));
    for (target, fields) in [
        ("/ui/apps/echo/stop", &[][..]),
        ("/ui/apps/echo/scale", &[("type.web", "0")]),
        ("/ui/apps/echo/env", &[("name", "A"), ("value", "b")]),
        ("/ui/apps/echo/domains", &[("host", "a.example")]),
        ("/ui/apps/echo/run", &[("command", "id")]),
    ] {
        reader.submit(target, fields).expect(403);
    }
    reader.get("/ui/audit").expect(403);
    // Who may see it is shown it when asked for, not before.
    let admin = Visitor::logged_in(&server, &server.token());
    let env = admin.get("/ui/apps/echo/env").expect(200).text();
    assert!(!env.contains("open-it-now"), "{env}");
    let revealed = admin.submit("/ui/apps/echo/env/reveal", &[]).expect(200);
    assert!(revealed.text().contains("open-it-now"));
    assert_eq!(revealed.header("cache-control"), Some("no-store"));
}

#[test]
fn what_strangers_make_the_server_show_is_no_markup() {
    let server = server();
    deployed(&server);
    let evil = "<img src=x onerror=alert(1)>";
    let encoded = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
    let visitor = Visitor::logged_in(&server, &server.token());
    server
        .visit(&format!("/echo/print?text={encoded}"))
        .expect(200);
    // An error says what was sent.
    let fields = [("name", evil), ("value", "x")];
    let refused = visitor.submit("/ui/apps/echo/env", &fields).expect(422);
    assert!(!refused.text().contains("<img"), "{}", refused.text());
    assert!(refused.text().contains("img src=x"), "{}", refused.text());
    visitor
        .submit(
            "/ui/apps/echo/run",
            &[("command", &format!("echo '{evil}'"))],
        )
        .expect(303);
    for target in [
        format!("/ui?q={encoded}"),
        format!("/ui/apps/echo/logs?grep={encoded}"),
        format!("/ui/apps/echo/logs?process={encoded}"),
        format!("/ui/apps/{encoded}"),
        format!("/ui/login?next={encoded}"),
        "/ui/apps/echo/logs".to_owned(),
        "/ui/apps/echo/run".to_owned(),
        "/ui/apps/echo".to_owned(),
    ] {
        let page = visitor.get(&target);
        assert!(page.status < 500, "{target}: {}", page.status);
        assert!(!page.text().contains("<img"), "{target}: {}", page.text());
    }
}

#[test]
fn who_follows_a_link_of_another_site_is_told_how_to_go_on() {
    let server = server();
    let visitor = Visitor::logged_in(&server, &server.token());
    let led = |mode: &str, destination: &str| {
        visitor
            .request("GET", "/ui/apps")
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", mode)
            .header("Sec-Fetch-Dest", destination)
            .send(&server.public())
            .expect(403)
    };
    let page = led("navigate", "document");
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let text = page.text();
    assert!(
        text.contains("A page of another site led here") && text.contains("<a href=\"/ui\">"),
        "{text}"
    );
    // The browser keeps the cookie that it has, which it did not send.
    assert_eq!(page.header("set-cookie"), None);
    assert!(page.header("vary").unwrap().contains("Sec-Fetch-Mode"));
    // Within a page of that site nothing is shown.
    let within = led("navigate", "iframe").text();
    assert!(!within.contains("led here"), "{within}");
}
