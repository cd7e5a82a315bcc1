//! Requests that no generator makes: other methods, broken paths, repeated parameters, bodies in pieces.

use serde_json::Value;

use crate::support::fixture::{document, web_repo};
use crate::support::http::Response;
use crate::support::server::Server;

/// What a path is filled with for an application that there is.
fn filled(path: &str) -> String {
    let path = path.replace("{name}", "web").replace("{log}", "stdout");
    path.replace("{id}", "1")
}

/// Each path of the description with its methods in upper case.
fn described(server: &Server) -> Vec<(String, Vec<String>)> {
    let description = server.get("/openapi.json").expect(200).json();
    let paths = description["paths"].as_object().unwrap().iter();
    let methods = |methods: &Value| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(|method| method.to_ascii_uppercase()).collect()
    };
    paths
        .map(|(path, all)| (path.clone(), methods(all)))
        .collect()
}

/// Fails unless it is an answer that the description knows: no failure of the server, and errors as problems.
#[track_caller]
fn check(what: &str, response: &Response) {
    assert!(response.status < 500, "{what}: {}", response.text());
    if response.status >= 400 {
        let kind = response.header("content-type").unwrap_or_default();
        // Some paths below /git/ are none once they are decoded.
        let is_text = what.contains("/git/") && kind == "text/plain; charset=utf-8";
        let is_problem = kind == "application/problem+json";
        assert!(is_text || is_problem, "{what}: {}: {kind}", response.status);
    }
    if response.status == 401 {
        assert!(response.header("www-authenticate").is_some(), "{what}");
    }
}

fn server() -> Server {
    let server = Server::start();
    server.deploy(&document("web", &web_repo("1")));
    server
}

#[test]
fn a_method_that_is_not_described_is_405_with_those_that_are() {
    let server = server();
    for (path, methods) in described(&server) {
        for method in [
            "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "get",
        ] {
            let by_get = method == "HEAD" && methods.iter().any(|known| known == "GET");
            if by_get || methods.iter().any(|known| known == method) {
                continue;
            }
            let what = format!("{method} {path}");
            let response = server
                .request(method, &filled(&path))
                .send(&server.public());
            if method == "HEAD" {
                // Its body is left out, and so its form.
                assert_eq!(response.status, 405, "{what}");
            } else {
                check(&what, &response);
            }
            // The front end answers TRACE itself, and knows no method in lower case.
            if response.status == 405 && method != "TRACE" {
                let mut allowed: Vec<&str> =
                    response.header("allow").unwrap().split(", ").collect();
                allowed.retain(|method| *method != "HEAD");
                let mut known: Vec<&str> = methods.iter().map(String::as_str).collect();
                allowed.sort_unstable();
                known.sort_unstable();
                assert_eq!(allowed, known, "{what}");
            } else {
                assert!(
                    matches!(method, "TRACE" | "get"),
                    "{what}: {}",
                    response.status
                );
            }
        }
    }
}

#[test]
fn head_is_answered_as_get_without_a_body() {
    let server = server();
    for (path, methods) in described(&server) {
        // A WebSocket.
        if !methods.iter().any(|method| method == "GET") || path.ends_with("/attach") {
            continue;
        }
        let head = server
            .request("HEAD", &filled(&path))
            .send(&server.public());
        assert!(head.status < 500, "HEAD {path}: {}", head.status);
        assert_eq!(head.bytes().len(), 0, "HEAD {path}");
        let is_endless = path == "/events";
        if !is_endless {
            let get = server.get(&filled(&path));
            assert_eq!(get.status, head.status, "{path}");
            assert_eq!(
                get.header("content-type"),
                head.header("content-type"),
                "{path}"
            );
        }
    }
}

#[test]
fn broken_paths_and_queries_are_refused_and_break_nothing() {
    let server = server();
    let long = "a".repeat(20_000);
    let segments = [
        "%00",
        "a%2Fb",
        "..%2f..%2fetc",
        "%FF%FE",
        "%",
        "%zz",
        "%E2%80%AE",
        "%0d%0aX-A:b",
        &long,
    ];
    for (path, methods) in described(&server) {
        let Some((before, after)) = path.split_once('{') else {
            continue;
        };
        let after = after.split_once('}').unwrap().1;
        for segment in segments {
            let target = format!("{before}{segment}{}", filled(after));
            for method in &methods {
                let shown: String = target.chars().take(80).collect();
                let what = format!("{method} {shown}");
                let request = server.request(method, &target).body("{}");
                let response = request.send(&server.public());
                check(&what, &response);
                assert!(response.status >= 400, "{what}: {}", response.status);
            }
        }
    }
    for query in [
        "tail=1&tail=2",
        "tail=%00",
        "tail=1&tail=%FF",
        "=",
        "&&&",
        "a[]=1",
        "tail",
        "since=%F0%9F%92%A9",
        "process=..%2F..",
    ] {
        let target = format!("/applications/web/logs?{query}");
        check(&target, &server.get(&target));
    }
    server.visit("/web/x").expect(200);
}

#[test]
fn a_body_in_pieces_counts_as_one_of_a_length_and_other_types_are_refused() {
    let server = server();
    let chunked = |body: &str| {
        let pieces = body.as_bytes().chunks(7);
        let pieces = pieces.map(|piece| {
            let text = String::from_utf8_lossy(piece);
            format!("{:x}\r\n{text}\r\n", piece.len())
        });
        format!("{}0\r\n\r\n", pieces.collect::<String>())
    };
    for (path, methods) in described(&server) {
        for method in methods
            .iter()
            .filter(|method| *method != "GET" && *method != "DELETE")
        {
            if path == "/-/reload" {
                continue;
            }
            let what = format!("{method} {path}");
            let raw = format!(
                "{method} {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\
                 Connection: close\r\n\r\n{}",
                filled(&path),
                server.token(),
                chunked("{not: 'a field of anything'}")
            );
            let status = raw_status(&server, raw.as_bytes());
            assert!((200..500).contains(&status), "{what} in chunks: {status}");
            let typed = server
                .request(method, &filled(&path))
                .header("Content-Type", "image/png");
            check(&what, &typed.body("{}").send(&server.public()));
        }
    }
    server.visit("/web/x").expect(200);
}

/// The status of the answer to these bytes.
fn raw_status(server: &Server, bytes: &[u8]) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}
