//! One listener for IPv6 and IPv4: clients are known by the address of their own family.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use serde_json::Value;

use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo};
use crate::support::http::{Peer, Request};
use crate::support::machine::skip;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn ipv4_clients_of_a_socket_for_both_are_known_by_ipv4_addresses() {
    if !has_ipv6() {
        return skip("ipv4_clients_of_a_socket_for_both", "no IPv6");
    }
    let setup = Setup::new()
        .flag("--listen", "[::]:0")
        .flag("--trusted-proxies", "::ffff:127.0.0.0/127");
    let server = setup.start();
    server.deploy(&document("echo", &web_repo("1")));
    let port = server.address().port();
    let ask = |to: &str, id: &str| {
        let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
        let request = Request::get("/echo/x")
            .header("X-Request-ID", id)
            .header("X-Forwarded-For", "::ffff:192.0.2.7")
            .send(&Peer::Tcp(to));
        let seen = request.expect(200).json();
        let path = server.directory().join("logs/access.log");
        let line = eventually("the line is in the access log", SOON, || {
            let text = std::fs::read_to_string(&path).ok()?;
            let line = text.lines().find(|line| line.contains(id))?;
            serde_json::from_str::<Value>(line).ok()
        });
        (seen["headers"].clone(), line)
    };
    let (headers, line) = ask("127.0.0.1", "by-four");
    assert_eq!(headers["x-real-ip"], "192.0.2.7", "{headers}");
    assert_eq!(headers["x-forwarded-for"], "::ffff:192.0.2.7, 127.0.0.1");
    assert_eq!(line["remote"], "127.0.0.1", "{line}");
    assert_eq!(line["client"], "192.0.2.7", "{line}");
    let (headers, line) = ask("[::1]", "by-six");
    assert_eq!(headers["x-forwarded-for"], "::1", "{headers}");
    assert_eq!(line["remote"], "::1", "{line}");
}

#[test]
fn who_holds_a_port_of_either_family_is_told_of() {
    if !has_ipv6() {
        return skip("who_holds_a_port_of_either_family_is_told_of", "no IPv6");
    }
    for held in ["0.0.0.0:0", "127.0.0.1:0", "[::]:0"] {
        let other = TcpListener::bind(held).unwrap();
        let address = format!("[::]:{}", other.local_addr().unwrap().port());
        let directory = tempfile::tempdir().unwrap();
        let mut serve = procserver();
        serve.arg("serve").arg("--data-dir").arg(directory.path());
        let refused = finish(serve.args(["--listen", &address]));
        assert_eq!(refused.code, Some(1), "{held}: {}", refused.stderr);
        for word in [&*address, "another program", "ss -ltnp"] {
            assert!(refused.stderr.contains(word), "{held}: {}", refused.stderr);
        }
    }
}
