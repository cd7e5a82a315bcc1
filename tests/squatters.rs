//! Another user's program on an app's port gets nothing of the app's traffic, however it came there.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{document, with};
use crate::support::machine::{is_root, send_signal, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// An app that stops listening at SIGUSR1 and listens again at SIGUSR2, on the address it is given.
const APP: &str = r#"
import os, select, signal, socket, sys, time
address, wanted, listener = sys.argv[1], len(sys.argv) < 3, None
def want(number, _):
    global wanted
    wanted = number == signal.SIGUSR2
signal.signal(signal.SIGUSR1, want)
signal.signal(signal.SIGUSR2, want)
def listen():
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, int(os.environ["PORT"])))
    made.listen(64)
    return made
print("started", flush=True)
while True:
    if not wanted and listener:
        listener.close()
        listener = None
    try:
        if wanted and not listener:
            listener = listen()
    except OSError:
        pass
    if not listener:
        time.sleep(0.02)
    elif select.select([listener], [], [], 0.02)[0]:
        client, _ = listener.accept()
        client.settimeout(5)
        try:
            if client.recv(65536):
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\napp")
        except OSError:
            pass
        client.close()
"#;

/// A program of another user that takes a port as soon as it can, and says so.
const SQUATTER: &str = r#"
import socket, sys, time
mode, address, port = sys.argv[1:]
while True:
    taken = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if ":" in address:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        taken.bind((address, int(port)))
        if mode == "listens":
            taken.listen(64)
        break
    except OSError:
        taken.close()
        time.sleep(0.01)
print("taken", flush=True)
if mode == "bound":
    time.sleep(600)
while True:
    client, _ = taken.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthief")
    client.close()
"#;

/// Ended when it is dropped.
struct Squatter(Child);

impl Squatter {
    /// Resolves when the port is taken.
    fn take(mode: &str, address: &str, port: u16) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", SQUATTER, mode, address, &port.to_string()])
            .current_dir("/")
            .uid(65_534)
            .gid(65_534)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "taken\n");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn repo(arguments: &str) -> Repo {
    let procfile = format!("web: exec python3 app.py {arguments}\n");
    Repo::new(&[("Procfile", &procfile), ("app.py", APP)])
}

fn first_port(server: &Server) -> u16 {
    // The spare port is the last of twenty.
    server.spare_port() - 19
}

fn port_of(server: &Server) -> u16 {
    let port = server.process("echo", "web.1")["port"].as_u64().unwrap();
    u16::try_from(port).unwrap()
}

fn warnings(server: &Server) -> String {
    server.status("echo")["warnings"].to_string()
}

/// What answers.
#[track_caller]
fn visit(server: &Server) -> String {
    server.visit("/echo/").expect(200).text()
}

#[track_caller]
fn assert_nobody_is_asked(server: &Server) {
    let told = server.get("/routes?url=http://any/echo/").json();
    assert_eq!(told["processes"], json!([]));
}

#[test]
fn a_port_that_another_program_has_bound_is_not_given_and_is_named() {
    if !is_root() {
        return skip("a squatter before the app", "it needs another user");
    }
    for (mode, address) in [
        ("bound", "127.0.0.1"),
        ("bound", "::1"),
        ("bound", "0.0.0.0"),
        ("listens", "::1"),
        ("listens", "127.0.0.1"),
        ("listens", "::"),
    ] {
        let server = Server::start();
        let port = first_port(&server);
        let squatter = Squatter::take(mode, address, port);
        let repo = repo("0.0.0.0");
        server.deploy(&document("echo", &repo));
        assert_ne!(port_of(&server), port, "{mode} on {address}");
        assert_eq!(visit(&server), "app");
        let named = match mode {
            "listens" => format!("by pid {} (python3) of user nobody", squatter.pid()),
            _ => "by another program".to_owned(),
        };
        let expected = format!("port {port} of web.1 is taken {named}: it has port");
        eventually(&expected, SOON, || {
            warnings(&server).contains(&expected).then_some(())
        });
    }
}

#[test]
fn a_program_that_answers_before_the_app_gets_nothing_and_is_named() {
    if !is_root() {
        return skip("a squatter while the app starts", "it needs another user");
    }
    // It does not listen before it is told.
    let (server, repo) = (Server::start(), repo("0.0.0.0 later"));
    let document = with(
        document("echo", &repo),
        json!({ "health_check": { "interval": "100ms", "boot_timeout": "15s" } }),
    );
    let begun = server.send("POST", "/applications", &document);
    begun.expect(202);
    let port = eventually("it has a port", SOON, || {
        server.status("echo")["processes"][0]["pid"].as_u64()?;
        let port = server.status("echo")["processes"][0]["port"].as_u64()?;
        u16::try_from(port).ok()
    });
    let squatter = Squatter::take("listens", "127.0.0.1", port);
    let named = format!(
        "pid {} (python3) of user nobody answers on its port",
        squatter.pid()
    );
    eventually("it is warned of", SOON, || {
        warnings(&server).contains(&named).then_some(())
    });
    let failure = eventually("the deployment fails", SOON, || {
        let found = server.get("/applications/echo/deployments/1").json();
        (found["state"] == "failed").then(|| found["failure"].clone())
    });
    let reason = failure["reason"].as_str().unwrap();
    assert!(
        reason.contains(&format!("pid {} (python3)", squatter.pid())),
        "{failure}"
    );
    // Nothing stays of a first deploy that failed.
    assert_eq!(server.status("echo")["release"], Value::Null);
    assert_nobody_is_asked(&server);
}

#[test]
fn the_address_that_is_connected_to_is_the_one_that_the_app_has() {
    if !is_root() || std::net::TcpListener::bind("[::1]:0").is_err() {
        return skip(
            "a squatter on the other family",
            "it needs another user and IPv6",
        );
    }
    for (own, other) in [
        ("::1", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::", "0.0.0.0"),
        ("127.0.0.1", "::1"),
    ] {
        let (server, repo) = (Server::start(), repo(&format!("{own} later")));
        let begun = server.send("POST", "/applications", &document("echo", &repo));
        begun.expect(202);
        let (pid, port) = eventually("it runs", SOON, || {
            let process = server.status("echo")["processes"][0].clone();
            let port = u16::try_from(process["port"].as_u64()?).ok()?;
            has_printed(&server)
                .then(|| Some((i32::try_from(process["pid"].as_i64()?).ok()?, port)))?
        });
        let _squatter = Squatter::take("listens", other, port);
        send_signal(pid, Signal::SIGUSR2);
        eventually("it is ready", SOON, || {
            (server.process("echo", "web.1")["state"] == "ready").then_some(())
        });
        for _ in 0..5 {
            assert_eq!(visit(&server), "app", "{own} beside {other}");
        }
    }
}

/// Whether the app has come so far that it takes signals.
fn has_printed(server: &Server) -> bool {
    let log = server.get("/applications/echo/logs/stdout");
    log.status == 200 && log.text().contains("started")
}

/// An app that was ready, whose listener is gone and whose port is another program's now.
#[track_caller]
fn taken_over(server: &Server) -> (i32, Squatter) {
    let pid = server.ready_pid("echo", "web.1");
    let port = port_of(server);
    send_signal(pid, Signal::SIGUSR1);
    (pid, Squatter::take("listens", "127.0.0.1", port))
}

#[track_caller]
fn until_named(server: &Server, squatter: &Squatter) {
    let named = format!("web.1 gets no request: pid {} (python3)", squatter.pid());
    eventually(&named, SOON, || {
        warnings(server).contains(&named).then_some(())
    });
}

#[test]
fn a_program_that_listens_once_the_app_has_closed_is_unrouted_until_the_app_is_back() {
    if !is_root() {
        return skip("a squatter after the app", "it needs another user");
    }
    let (server, repo) = (Server::start(), repo("127.0.0.1"));
    server.deploy(&document("echo", &repo));
    assert_eq!(visit(&server), "app");
    let (pid, squatter) = taken_over(&server);
    until_named(&server, &squatter);
    assert_nobody_is_asked(&server);
    let process = server.process("echo", "web.1");
    let why = process["unhealthy"].as_str().unwrap();
    assert!(why.contains("answers on its port"), "{process}");
    drop(squatter);
    send_signal(pid, Signal::SIGUSR2);
    eventually("the app answers again", SOON, || {
        (visit(&server) == "app").then_some(())
    });
    assert_eq!(warnings(&server), "[]");
    assert_eq!(server.process("echo", "web.1")["unhealthy"], Value::Null);
}

#[test]
fn a_program_that_took_the_port_while_no_server_ran_is_not_adopted_with_the_app() {
    if !is_root() {
        return skip("a squatter between two servers", "it needs another user");
    }
    let (mut server, repo) = (Server::start(), repo("127.0.0.1"));
    server.deploy(&document("echo", &repo));
    let (pid, port) = (server.ready_pid("echo", "web.1"), port_of(&server));
    server.kill();
    send_signal(pid, Signal::SIGUSR1);
    let squatter = Squatter::take("listens", "127.0.0.1", port);
    server.start_again();
    let named = format!(
        "web.1 is not ready: pid {} (python3) of user nobody",
        squatter.pid()
    );
    eventually(&named, SOON, || {
        warnings(&server).contains(&named).then_some(())
    });
    drop(squatter);
    send_signal(pid, Signal::SIGUSR2);
    eventually("the app answers again", SOON, || {
        (visit(&server) == "app").then_some(())
    });
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
}
