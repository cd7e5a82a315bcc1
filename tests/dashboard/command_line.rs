//! `procserver dashboard`: one browser of this machine, and nobody else.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::browser::Browser;
use super::{cookie, key};
use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo};
use crate::support::http::{Peer, Request, Response};
use crate::support::machine::send_signal;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// A machine that builds beside this is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The verb at work; it ends with this.
struct Dashboard {
    child: Child,
    /// It ends when nobody reads what it prints.
    stdout: Option<BufReader<ChildStdout>>,
    /// Whose name and port the link has.
    host: String,
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
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut dashboard = Self {
            child,
            stdout: None,
            host: String::new(),
            address: ([127, 0, 0, 1], 0).into(),
            link: String::new(),
        };
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = tell.send((line, stdout));
        });
        let (line, stdout) = told.recv_timeout(PATIENCE).expect("it prints a link");
        dashboard.stdout = Some(stdout);
        let rest = line.trim().strip_prefix("http://").expect("a link");
        let (host, link) = rest.split_once('/').unwrap();
        let (name, port) = host.split_once(':').unwrap();
        assert!(name.ends_with(".localhost"), "{name}");
        dashboard.address.set_port(port.parse().unwrap());
        dashboard.host = host.to_owned();
        dashboard.link = format!("/{link}");
        dashboard
    }

    /// How it has ended by itself.
    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        eventually("it ends", PATIENCE, || self.child.try_wait().unwrap())
    }

    fn request(&self, method: &str, target: &str, cookie: &str) -> Request {
        Request::new(method, target)
            .header("Host", &self.host)
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
    // Not by a name that a server at another port has as well: it would be sent the cookie.
    let port = dashboard.address.port();
    for host in ["127.0.0.1", "localhost", "other.localhost"] {
        let refused = Request::get(&dashboard.link)
            .header("Host", &format!("{host}:{port}"))
            .send(&Peer::Tcp(dashboard.address))
            .expect(403);
        assert!(refused.text().contains("Use the link"), "{host}");
    }
    // What looks at it beforehand does not use it up.
    let looked = dashboard.send(&dashboard.request("HEAD", &dashboard.link, "a=b"));
    assert_eq!((looked.status, cookie(&looked)), (403, None));
    let opened = get(&dashboard.link, "a=b").expect(200);
    let field = opened.header("set-cookie").unwrap();
    assert!(
        field.contains("; HttpOnly")
            && field.contains("; SameSite=Strict")
            && !field.contains("Domain"),
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
    let host = dashboard.host.clone();
    let origin = format!("http://{host}");
    restart(&host, "http://evil.example", &form).expect(403);
    restart("evil.example", &origin, &form).expect(403);
    // Who got hold of the cookie needs the name as well.
    let address = dashboard.address.to_string();
    restart(&address, &format!("http://{address}"), &form).expect(403);
    restart(&host, &origin, "form_key=x").expect(403);
    restart(&host, &origin, &form).expect(303);
    let mut stream = dashboard
        .request("GET", "/ui/events/stream", &own)
        .open(&Peer::Tcp(dashboard.address))
        .unwrap();
    assert_eq!(stream.next_line(), ": following");
    drop(stream);
    send_signal(i32::try_from(dashboard.child.id()).unwrap(), Signal::SIGINT);
    let ended = dashboard.ended();
    assert!(ended.code().is_some(), "Ctrl-C ends it: {ended}");
}

#[test]
fn it_ends_when_nobody_reads_what_it_prints() {
    let server = Server::start();
    let socket = format!("unix:{}", server.socket().display());
    let mut dashboard = Dashboard::start(&["--server", &socket]);
    dashboard
        .send(&dashboard.request("GET", "/ui", "a=b"))
        .expect(403);
    assert_eq!(dashboard.child.try_wait().unwrap(), None);
    // As where ssh was ended that had run it without a terminal.
    dashboard.stdout = None;
    assert!(dashboard.ended().success());
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
    let mut wrong = procserver();
    let wrong = wrong.args(["dashboard", "--server", &server.url(), "--token", "wrong"]);
    assert_eq!(finish(wrong).code, Some(1));
    assert_eq!(
        server.get("/tokens").expect(200).json()[0]["name"],
        Value::from("first")
    );
}

#[test]
fn a_real_browser_finds_the_name_and_gives_its_cookie_to_no_other() {
    let Some(browser) = Browser::start("procserver dashboard") else {
        return;
    };
    let server = Server::start();
    server.deploy(&document("echo", &web_repo("1")));
    let socket = format!("unix:{}", server.socket().display());
    let dashboard = Dashboard::start(&["--server", &socket, "--no-open"]);
    browser.go(&format!("http://{}{}", dashboard.host, dashboard.link));
    browser.until_text("Applications");
    browser.go(&format!("http://{}/ui/apps/echo", dashboard.host));
    // A form, with what the browser says of its origin.
    browser.fill_in("input[name='type.web']", "2");
    browser.click("form.formation button");
    browser.until_text("web.2");
    browser.go(&format!("http://{}/ui", dashboard.address));
    browser.until_text("Use the link");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = other.local_addr().unwrap();
    let script = format!("fetch('http://{at}/ui', {{ mode: 'no-cors', credentials: 'include' }})");
    browser.run(&format!("{script}; return 0"));
    let text = head_of(&other);
    assert!(text.starts_with("GET /ui "), "{text}");
    assert!(!text.contains("procserver_ui"), "{text}");
}

/// The first head that somebody sends there.
#[track_caller]
fn head_of(listener: &TcpListener) -> String {
    listener.set_nonblocking(true).unwrap();
    eventually("somebody comes", PATIENCE, || match listener.accept() {
        // Browsers also open connections that they never use.
        Ok((stream, _)) => read_head(stream),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            None
        }
    })
}

fn read_head(stream: TcpStream) -> Option<String> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE / 4)).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    (!head.is_empty()).then(|| head.join("\n"))
}
