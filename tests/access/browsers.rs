//! Pages of other sites reach nothing of the API, and no answer of it is one that a browser would use for them.

use std::process::Command;

use serde_json::json;

use super::send;
use crate::support::http::{Request, Response};
use crate::support::machine::skip;
use crate::support::pebble::spare_port;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::tls::{certificate, pair};

const FIREFOX: (&str, &str) = (
    "User-Agent",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
);

fn call(server: &Server, fields: &[(&str, &str)]) -> Response {
    let mut request = server.request("GET", "/applications");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.send(&server.public())
}

#[test]
fn a_page_of_another_site_is_refused_with_the_right_token_too() {
    let server = Setup::new().flag("--api-hosts", "api.example").start();
    let own = format!("http://{}", server.address());
    let host = server.address().to_string();
    for (fields, status) in [
        (&[("Sec-Fetch-Site", "cross-site")][..], 403),
        (&[("Sec-Fetch-Site", "same-site")], 403),
        (&[("Sec-Fetch-Site", "same-origin")], 200),
        (&[("Sec-Fetch-Site", "none"), FIREFOX], 200),
        (&[("Origin", "https://evil.example")], 403),
        (&[("Origin", "null")], 403),
        (&[("Host", host.as_str()), ("Origin", own.as_str())], 200),
        (
            &[
                ("Host", "api.example"),
                ("Origin", "https://api.example"),
                FIREFOX,
            ],
            200,
        ),
        // DNS rebinding: for the browser it is one origin.
        (
            &[("Host", "evil.example"), ("Origin", "http://evil.example")],
            403,
        ),
        (
            &[("Host", "evil.example"), ("Sec-Fetch-Site", "same-origin")],
            403,
        ),
        (&[("Host", "evil.example"), FIREFOX], 403),
        (&[("Host", "localhost:8080"), FIREFOX], 200),
        (
            &[("Host", "evil.example"), ("User-Agent", "curl/8.14.1")],
            200,
        ),
    ] {
        let answer = call(&server, fields);
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.text());
    }
    let refused = call(&server, &[("Host", "evil.example"), FIREFOX]).text();
    assert!(refused.contains("api_hosts"), "{refused}");
}

#[test]
fn no_preflight_is_granted_and_no_answer_is_a_page_or_sets_a_cookie() {
    let server = Server::start();
    let preflight = Request::new("OPTIONS", "/applications")
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization");
    let own = Request::new("OPTIONS", "/applications")
        .header("Authorization", &format!("Bearer {}", server.token()));
    let page = server
        .request("GET", "/applications")
        .header("Accept", "text/html");
    let unknown = server
        .request("GET", "/applications/none")
        .header("Accept", "text/html");
    let stranger = Request::get("/tokens").header("Accept", "text/html");
    let healthy = Request::get("/healthz").header("Accept", "text/html");
    for (request, status) in [
        (preflight, 403),
        (own, 405),
        (page, 200),
        (unknown, 404),
        (stranger, 401),
        (healthy, 200),
    ] {
        let answer = request.send(&server.public()).expect(status);
        let field = |name| answer.header(name);
        assert_eq!(field("x-content-type-options"), Some("nosniff"), "{status}");
        assert_eq!(field("cache-control"), Some("no-store"));
        assert_eq!(field("referrer-policy"), Some("no-referrer"));
        assert!(
            field("content-security-policy")
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert!(field("content-type").unwrap().contains("json"), "{status}");
        for none in [
            "set-cookie",
            "access-control-allow-origin",
            "access-control-allow-methods",
        ] {
            assert_eq!(field(none), None, "{status}");
        }
    }
    let made = send(
        &server,
        &server.token(),
        "POST",
        "/tokens",
        &json!({"name": "a", "scope": "read"}),
    );
    assert_eq!(made.expect(201).header("cache-control"), Some("no-store"));
}

#[test]
fn the_same_holds_over_https_and_http2() {
    let version = Command::new("curl").arg("--version").output();
    if !version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("HTTP2")) {
        return skip("HTTPS and HTTP/2", "there is no curl with HTTP/2");
    }
    let mut setup = Setup::new();
    let directory = setup.directory().to_owned();
    let _trusted = certificate(&directory, "a", "localhost");
    let port = spare_port();
    setup.set_flag("--tls-listen", &format!("127.0.0.1:{port}"));
    setup.set_flag("--tls-certificate", &pair(&directory, "a"));
    let server = setup.start();
    let url = format!("https://localhost:{port}/applications");
    let token = format!("Authorization: Bearer {}", server.token());
    let origin = format!("Origin: https://localhost:{port}");
    for version in ["--http2", "--http1.1"] {
        for (field, status) in [
            ("Accept: */*", 200),
            (origin.as_str(), 200),
            ("Origin: https://evil.example", 403),
            ("Sec-Fetch-Site: cross-site", 403),
            ("Host: evil.example", 200),
        ] {
            let mut curl = Command::new("curl");
            curl.args(["-sk", "-D", "-", version, "-H", &token, "-H", field, &url]);
            let said = String::from_utf8(curl.output().unwrap().stdout).unwrap();
            let first = said.lines().next().unwrap_or_default();
            assert!(
                first.contains(&format!(" {status}")),
                "{version} {field}: {said}"
            );
            assert_eq!(first.starts_with("HTTP/2"), version == "--http2", "{said}");
            let said = said.to_ascii_lowercase();
            assert!(said.contains("x-content-type-options: nosniff"), "{said}");
            assert!(
                said.contains("content-security-policy: default-src 'none'"),
                "{said}"
            );
        }
    }
}
