//! Paths, hosts and names that try to reach another app than the router thinks.

use std::io::{BufReader, Read as _};

use procserver::router::table::Route;
use serde::Deserialize;

use super::super::fixture::{Client, Fixture, path_route, route, until};
use super::super::origin::Origin;
use super::{Bytes, report, table, to_text, whole_request};

#[derive(Deserialize)]
struct Case {
    name: String,
    send: Bytes,
    /// It comes by the app port of `own`.
    #[serde(default)]
    own_port: bool,
    /// `APP TARGET` as the app got it, `api TARGET`, or the status of a refusal.
    reaches: String,
}

/// An app that answers with its name and the target that it got.
fn app(name: &'static str) -> Origin {
    Origin::start(move |conn| {
        let stream = conn.stream.try_clone().unwrap();
        let mut reader = BufReader::new(&stream);
        while let Some(request) = whole_request(&mut reader) {
            let target = request.split(' ').nth(1).unwrap();
            let body = format!("{name} {target}");
            conn.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

fn reached(mut client: Client, case: &Case) -> String {
    client.send_bytes(&case.send.get());
    let mut came = Vec::new();
    let _ = client.stream.read_to_end(&mut came);
    let came = to_text(&came);
    let status = came.get(9..12).unwrap_or("none");
    let body = came.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match (status, body.strip_prefix("api: GET ")) {
        ("200", Some(api)) => format!("api {}", api.lines().next().unwrap_or("")),
        ("200", None) => body.to_owned(),
        _ => status.to_owned(),
    }
}

#[test]
fn nothing_reaches_another_app_than_the_table_says() {
    let cases: Vec<Case> = table(include_str!("../../conformance/routes.json"), 60);
    let (one, two, kept, hosted, own) = (
        app("one"),
        app("two"),
        app("kept"),
        app("hosted"),
        app("own"),
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let front = Fixture::new(vec![
        path_route("one", &one),
        path_route("two", &two),
        Route {
            strip_path: false,
            ..path_route("kept", &kept)
        },
        Route {
            domain: vec!["^hosted\\.local$".into()],
            path: false,
            ..route("hosted", &[&hosted])
        },
        Route {
            port: Some(port),
            path: false,
            ..path_route("own", &own)
        },
    ]);
    let own_address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    until("the app port listens", || {
        std::net::TcpStream::connect(own_address).is_ok()
    });
    let check = |case: &Case| {
        let client = if case.own_port {
            Client::connect(own_address)
        } else {
            front.connect()
        };
        let got = reached(client, case);
        (got != case.reaches).then(|| format!("- {}: {got:?}, not {:?}", case.name, case.reaches))
    };
    report(&cases.iter().filter_map(check).collect::<Vec<_>>());
}
