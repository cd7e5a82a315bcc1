//! A tunnel through the real server, while the release behind it is replaced.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::is_alive;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

struct Tunnel(TcpStream);

impl Tunnel {
    fn open(server: &Server, app: &str) -> Self {
        let mut stream = TcpStream::connect(server.url().replace("http://", "")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!(
            "GET /{app}/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Self(stream)
    }

    #[track_caller]
    fn echoes(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        self.0.read_exact(&mut back).expect("the tunnel is open");
        assert_eq!(back, text.as_bytes());
    }

    /// It closes in good order.
    #[track_caller]
    fn ends_well(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("no reset");
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn a_deploy_gives_the_tunnels_of_its_app_time_and_leaves_those_of_others() {
    let server = Server::start();
    let (echo, other) = (web_repo("1"), web_repo("1"));
    let drain = json!({ "drain": "5s" });
    server.deploy(&with(document("echo", &echo), drain));
    server.deploy(&document("other", &other));
    let (mut own, mut others) = (
        Tunnel::open(&server, "echo"),
        Tunnel::open(&server, "other"),
    );
    own.echoes("before");
    others.echoes("before");
    echo.commit(&web_files("2"));
    let redeploy = server.request("POST", "/applications/echo/redeploy");
    redeploy.send(&server.public()).expect(202);
    eventually("the new release answers", SOON, || {
        (server.visit("/echo/").expect(200).json()["version"] == "2").then_some(())
    });
    own.echoes("while the old one drains");
    own.ends_well();
    others.echoes("untouched");

    server.act("other", "stop").expect(200);
    others.ends_well();
    server.visit("/echo/").expect(200);
}

#[test]
fn a_release_that_is_replaced_ends_when_its_requests_and_tunnels_are_over_not_when_its_grace_is() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let patient = json!({ "drain": "1h", "stop": { "timeout": "0s" } });
    server.deploy(&with(document("echo", &repo), patient));
    let pid = server.ready_pid("echo", "web.1");
    let mut tunnel = Tunnel::open(&server, "echo");
    let download = Request::get("/echo/download").open(&server.public());
    let mut download = download.unwrap();
    assert_eq!(download.next_line(), "head");
    repo.commit(&web_files("2"));
    server.act("echo", "redeploy").expect(200);
    let left = || {
        let status = server.status("echo");
        let processes = status["processes"].as_array().unwrap().clone();
        let old = processes.iter().find(|process| process["pid"] == pid);
        old.map(|process| process["draining"].clone())
    };
    assert_eq!(left(), Some(json!(2)));
    std::fs::write(server.directory().join("apps/echo/storage/go"), "").unwrap();
    assert_eq!(download.next_line(), "tail");
    eventually("the tunnel is left", SOON, || {
        (left() == Some(json!(1))).then_some(())
    });
    tunnel.echoes("still");
    drop(tunnel);
    eventually("the old release ends", SOON, || {
        left().is_none().then_some(())
    });
}

#[test]
fn a_stop_ends_a_release_that_drains_for_long() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let patient = json!({ "drain": "1h" });
    server.deploy(&with(document("echo", &repo), patient));
    let mut tunnel = Tunnel::open(&server, "echo");
    repo.commit(&web_files("2"));
    server.act("echo", "redeploy").expect(200);
    tunnel.echoes("it drains for an hour");
    // A stop does not wait for that hour.
    server.act("echo", "stop").expect(200);
    tunnel.ends_well();
}

#[test]
fn no_more_than_two_sets_of_processes_live_whatever_is_asked_for_in_a_row() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(document("echo", &repo), json!({ "drain": "1h" })));
    let mut pids = vec![server.ready_pid("echo", "web.1")];
    let mut tunnels = vec![Tunnel::open(&server, "echo")];
    for round in 0..9 {
        let patch = json!({ "env": { "ROUND": round.to_string() } });
        let answer = match round % 3 {
            0 => server.act("echo", "restart"),
            1 => server.act("echo", "redeploy"),
            _ => server.send_and_wait("PATCH", "/applications/echo", &patch),
        };
        answer.expect(200);
        let status = server.status("echo");
        let sets = status["processes"].as_array().unwrap();
        pids.extend(
            sets.iter()
                .filter_map(|p| p["pid"].as_i64())
                .map(|pid| pid as i32),
        );
        pids.sort_unstable();
        pids.dedup();
        let alive = pids.iter().filter(|pid| is_alive(**pid)).count();
        assert_eq!((sets.len(), alive), (2, 2), "round {round}: {status}");
        tunnels.push(Tunnel::open(&server, "echo"));
    }
    let drains = tunnels.split_off(8);
    tunnels.iter_mut().for_each(Tunnel::ends_well);
    for mut tunnel in drains {
        tunnel.echoes("its set lives");
    }
}

#[test]
fn a_redeploy_does_not_wait_for_the_drain_of_a_scale_down() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let patient = json!({ "drain": "1h", "scale": { "web": 2 } });
    server.deploy(&with(document("echo", &repo), patient));
    let mut tunnels = [(); 4].map(|()| Tunnel::open(&server, "echo"));
    let one = json!({ "scale": { "web": 1 } });
    server.send("PATCH", "/applications/echo", &one).expect(202);
    eventually("web.2 drains", SOON, || {
        let status = server.status("echo");
        let mut all = status["processes"].as_array().unwrap().iter();
        all.any(|p| p["draining"] == 2).then_some(())
    });
    tunnels.iter_mut().for_each(|tunnel| tunnel.echoes("still"));
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
}
