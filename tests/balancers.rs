//! A real haproxy in front, which says by the PROXY protocol whose connection it passes on.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::front::fixture::Client;
use crate::support::fixture::{document, web_repo};
use crate::support::machine::skip;
use crate::support::pebble::is_listened_on;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};
use crate::tls;

/// From where the balancer connects: nobody else does.
const BALANCER: &str = "127.0.0.5";

/// The addresses at which haproxy listens: for version 1 and 2, before HTTP and before TLS.
struct Haproxy {
    child: Child,
    /// No client is given one of its ports.
    _ports: Setup,
    plain: [u16; 2],
    secure: [u16; 2],
}

impl Haproxy {
    fn before(server: &Server) -> Self {
        let ports = Setup::new();
        let last = ports.spare_port();
        let (plain, secure) = ([last - 3, last - 2], [last - 1, last]);
        let mut config =
            "defaults\n mode tcp\n timeout connect 20s\n timeout client 60s\n timeout server 60s\n"
                .to_owned();
        let to = [server.address().port(), server.spare_port()];
        for (ports, to) in [(plain, to[0]), (secure, to[1])] {
            for (port, option) in ports.iter().zip(["send-proxy", "send-proxy-v2-ssl-cn"]) {
                config.push_str(&format!(
                    "listen l{port}\n bind 127.0.0.1:{port}\n server s 127.0.0.1:{to} source {BALANCER} {option} check inter 50ms\n"
                ));
            }
        }
        let file = server.directory().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().unwrap();
        for port in plain.iter().chain(&secure) {
            eventually("haproxy listens", SOON, || {
                is_listened_on(*port).then_some(())
            });
        }
        Self {
            child,
            _ports: ports,
            plain,
            secure,
        }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn ask(from: [u8; 4], port: u16, request: &str) -> String {
    let mut client = Client::from(from, SocketAddr::from(([127, 0, 0, 1], port)));
    client.send(request);
    client.rest()
}

fn told(server: &Server, id: &str) -> Value {
    let path = server.directory().join("logs/access.log");
    eventually("the line is in the access log", SOON, || {
        let text = std::fs::read_to_string(&path).ok()?;
        let line = text.lines().find(|line| line.contains(id))?;
        serde_json::from_str(line).ok()
    })
}

#[test]
fn haproxy_names_the_client_by_http_and_by_tls_in_both_versions() {
    const NAME: &str = "haproxy_names_the_client_by_http_and_by_tls_in_both_versions";
    if Command::new("haproxy").arg("-v").output().is_err() {
        return skip(NAME, "no haproxy");
    }
    let mut setup = Setup::new()
        .flag("--trusted-proxies", BALANCER)
        .flag("--proxy-protocol", "true")
        // Each worker tells it once a minute.
        .flag("--workers", "1");
    let directory = setup.directory().to_owned();
    let trusted = tls::certificate(&directory, "a", "a.test");
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.set_flag("--tls-listen", &listen);
    setup.set_flag("--tls-certificate", &tls::pair(&directory, "a"));
    let server = setup.start();
    server.deploy(&document("echo", &web_repo("1")));
    let haproxy = Haproxy::before(&server);

    for (at, port) in haproxy.plain.into_iter().enumerate() {
        let id = format!("by-version-{at}");
        let request = format!(
            "GET /echo/x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-ID: {id}\r\nConnection: close\r\n\r\n"
        );
        let answer = ask([127, 0, 0, 9], port, &request);
        assert!(
            answer.contains("\"x-forwarded-for\": \"127.0.0.9\""),
            "{answer}"
        );
        assert!(answer.contains("\"x-real-ip\": \"127.0.0.9\""), "{answer}");
        let line = told(&server, &id);
        assert_eq!(line["remote"], "127.0.0.9", "{line}");
        assert_eq!(line.get("client"), None, "{line}");
    }
    for port in haproxy.secure {
        let config = tls::trusting(std::slice::from_ref(&trusted));
        let mut stream = tls::connect_at(port, &config, "a.test").unwrap();
        let answer = tls::exchange(&mut stream, tls::LAST).unwrap();
        assert!(
            answer.contains("\"x-forwarded-proto\": \"https\""),
            "{answer}"
        );
        assert!(
            answer.contains("\"x-forwarded-for\": \"127.0.0.1\""),
            "{answer}"
        );
        let port = format!("\"x-forwarded-port\": \"{port}\"");
        assert!(answer.contains(&port), "{answer}");
    }

    // Wrong tokens lock out who sends them, not all behind the balancer.
    let wrong = "GET /applications HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n";
    let statuses = |last: u8| {
        let ports = haproxy.plain.iter().cycle().take(11);
        let answers = ports.map(|port| ask([127, 0, 0, last], *port, wrong));
        answers.map(|answer| answer[9..12].to_owned()).last()
    };
    assert_eq!(statuses(9).as_deref(), Some("429"));
    let other = ask([127, 0, 0, 10], haproxy.plain[0], wrong);
    assert!(other.starts_with("HTTP/1.1 401 "), "{other}");

    // haproxy looked every 50 ms whether somebody listens, and that is nothing to tell.
    let want = "for want of a PROXY header";
    assert!(!server.log().contains(want), "{}", server.log());
    let none = Client::from([127, 0, 0, 5], server.address());
    for mut client in [none, Client::from([127, 0, 0, 5], server.address())] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.rest(), "");
    }
    let log = eventually("it is told", SOON, || {
        let log = server.log();
        log.contains(want).then_some(log)
    });
    assert_eq!(log.matches(want).count(), 1, "{log}");
    let line = log.lines().find(|line| line.contains(want)).unwrap();
    assert!(
        line.contains("127.0.0.5") && line.contains("send-proxy"),
        "{line}"
    );
}
