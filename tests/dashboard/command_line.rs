//! `procserver dashboard`: one browser of this machine, and nobody else.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{cookie, key};
use crate::support::command::procserver;
use crate::support::fixture::{document, web_repo};
use crate::support::http::{Peer, Request, Response};
use crate::support::machine::send_signal;
use crate::support::server::Server;

/// The verb at work; it ends with this.
struct Dashboard {
    child: Child,
    address: SocketAddr,
    /// The link, without the host.
    link: String,
}

impl Dashboard {
    fn start(arguments: &[&str]) -> Self {
        let mut child = procserver()
            .arg("dashboard")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://").expect("a link");
        let (address, link) = rest.split_once('/').unwrap();
        Self {
            child,
            address: address.parse().unwrap(),
            link: format!("/{link}"),
        }
    }

    fn request(&self, method: &str, target: &str, cookie: &str) -> Request {
        Request::new(method, target)
            .header("Host", &self.address.to_string())
            .header("Accept", "text/html")
            .header("Cookie", cookie)
    }

    fn send(&self, request: &Request) -> Response {
        request.send(&Peer::Tcp(self.address))
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_link_lets_one_browser_in_and_nobody_else_gets_anything() {
    let server = Server::start();
    server.deploy(&document("echo", &web_repo("1")));
    let socket = format!("unix:{}", server.socket().display());
    let mut dashboard = Dashboard::start(&["--server", &socket, "--no-open"]);
    let get =
        |target: &str, cookie: &str| dashboard.send(&dashboard.request("GET", target, cookie));
    get("/ui", "a=b").expect(403);
    get("/ui?link=wrong", "a=b").expect(403);
    let opened = get(&dashboard.link, "a=b").expect(200);
    let field = opened.header("set-cookie").unwrap();
    assert!(
        field.contains("; HttpOnly") && field.contains("; SameSite=Strict"),
        "{field}"
    );
    let own = cookie(&opened).unwrap();
    // Once: whoever finds the link in a history or a log finds nothing.
    get(&dashboard.link, "a=b").expect(403);
    let page = get("/ui/apps/echo", &own).expect(200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let page = page.text();
    assert!(page.contains("uid ") && !page.contains("Log out"), "{page}");
    // Nothing but pages.
    for target in [
        "/applications",
        "/ui/../tokens",
        "/tokens",
        "/ui/%2e%2e/tokens",
    ] {
        get(target, &own).expect(404);
    }
    let form = format!("form_key={}", key(&page));
    let restart = |host: &str, origin: &str, form: &str| {
        let request = Request::new("POST", "/ui/apps/echo/restart")
            .header("Host", host)
            .header("Origin", origin)
            .header("Cookie", &own)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        dashboard.send(&request)
    };
    let host = dashboard.address.to_string();
    let origin = format!("http://{host}");
    restart(&host, "http://evil.example", &form).expect(403);
    restart("evil.example", &origin, &form).expect(403);
    restart(&host, &origin, "form_key=x").expect(403);
    restart(&host, &origin, &form).expect(303);
    let mut stream = dashboard
        .request("GET", "/ui/events/stream", &own)
        .open(&Peer::Tcp(dashboard.address))
        .unwrap();
    assert_eq!(stream.next_line(), ": following");
    drop(stream);
    send_signal(i32::try_from(dashboard.child.id()).unwrap(), Signal::SIGINT);
    let ended = dashboard.child.wait().unwrap();
    assert!(ended.code().is_some(), "Ctrl-C ends it: {ended}");
}

#[test]
fn a_server_elsewhere_is_shown_by_a_token_wherever_its_api_is() {
    let server = Server::start();
    let token = server.token();
    let dashboard = Dashboard::start(&["--server", &server.url(), "--token", &token]);
    let opened = dashboard.send(&dashboard.request("GET", &dashboard.link, "a=b"));
    let own = cookie(&opened).unwrap();
    let page = dashboard
        .send(&dashboard.request("GET", "/ui", &own))
        .expect(200)
        .text();
    assert!(page.contains("first (admin)"), "{page}");
    let wrong = procserver()
        .args(["dashboard", "--server", &server.url(), "--token", "wrong"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(
        server.get("/tokens").expect(200).json()[0]["name"],
        Value::from("first")
    );
}
