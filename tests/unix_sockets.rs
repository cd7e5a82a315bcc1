//! A process that listens at `$SOCKET` needs no port: all that is done by the port is done by the socket.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{document, with};
use crate::support::machine::{is_root, send_signal, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually, within};

/// Answers at its socket with what it was asked and who it is; with `both` at its port, too.
const APP: &str = r#"
import http.server, json, os, socketserver, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return "unix"
    def tunnel(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        while data := self.rfile.read1(65536):
            self.wfile.write(data)
        self.wfile.write(b"bye")
        self.close_connection = True
    def do_GET(self):
        if self.headers.get("Upgrade") == "echo":
            return self.tunnel()
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode()
        answer = {"by": self.server.by, "version": open("VERSION").read().strip(), "path": self.path,
                  "body": body, "host": self.headers["Host"], "pid": os.getpid(), "uid": os.getuid()}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_POST = do_GET
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads, request_queue_size, by = True, 64, "socket"
class Tcp(http.server.ThreadingHTTPServer):
    by = "port"
if "both" in sys.argv:
    tcp = Tcp(("127.0.0.1", int(os.environ["PORT"])), Handler)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
Unix(os.environ["SOCKET"], Handler).serve_forever()
"#;

fn repo(arguments: &str) -> Repo {
    let procfile = format!("web: exec python3 app.py {arguments}\n");
    Repo::new(&[("Procfile", &procfile), ("app.py", APP), ("VERSION", "1")])
}

#[track_caller]
fn ask(server: &Server) -> Value {
    server.visit("/echo/").expect(200).json()
}

/// That of the process that is ready: the one before it may be ending beside it.
#[track_caller]
fn socket_of(server: &Server) -> PathBuf {
    eventually("it is ready at its socket", SOON, || {
        let status = server.status("echo");
        let mut processes = status["processes"].as_array()?.iter();
        let ready = processes.find(|p| p["id"] == "web.1" && p["state"] == "ready")?;
        ready["socket"].as_str().map(PathBuf::from)
    })
}

/// The directories of sockets that there are.
fn sockets(server: &Server) -> Vec<PathBuf> {
    let all = server.socket().parent().unwrap().join("s");
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn serves_at_its_socket(mut server: Server) {
    let repo = repo("");
    let health =
        json!({ "health_check": { "path": "/up", "interval": "100ms", "boot_timeout": "20s" } });
    server.deploy(&with(document("echo", &repo), health));
    let socket = socket_of(&server);
    let told = server.get("/routes?url=http://any/echo/").json();
    let expected = format!("unix:{}", socket.display());
    assert_eq!(told["processes"][0]["address"], expected);
    let port = server.process("echo", "web.1")["port"].as_u64().unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).is_err());
    for n in 0..20 {
        let body = "x".repeat(n * 1000);
        let answer = server
            .request("POST", "/echo/a")
            .body(body.clone())
            .send(&server.public())
            .expect(200)
            .json();
        assert_eq!(
            (&answer["path"], &answer["body"]),
            (&json!("/a"), &json!(body))
        );
    }
    let pid = server.ready_pid("echo", "web.1");

    // The next server takes it over.
    server.kill();
    server.start_again();
    assert_eq!(ask(&server)["pid"], pid);
    assert_eq!(
        (server.ready_pid("echo", "web.1"), socket_of(&server)),
        (pid, socket.clone())
    );

    // What a dead process left there is in nobody's way.
    send_signal(pid, Signal::SIGKILL);
    eventually("it is back", SOON, || {
        let answer = server.visit("/echo/");
        (answer.status == 200 && answer.json()["pid"] != pid).then_some(())
    });

    repo.commit(&[("VERSION", "2")]);
    server.act("echo", "redeploy").expect(200);
    assert_eq!(ask(&server)["version"], "2");
    assert_ne!(socket_of(&server), socket);
    eventually("the old socket is gone", SOON, || {
        (sockets(&server).len() == 1).then_some(())
    });
    let removed = server.request("DELETE", "/applications/echo");
    let removed = removed.header("Prefer", "wait=50").send(&server.public());
    assert!(
        [200, 202, 204].contains(&removed.status),
        "{}",
        removed.status
    );
    eventually("no socket is left", SOON, || {
        sockets(&server).is_empty().then_some(())
    });
}

#[test]
fn what_listens_there_is_ready_checked_asked_adopted_replaced_and_removed_by_it() {
    serves_at_its_socket(Server::start());
}

#[test]
fn the_same_where_the_server_is_not_root() {
    serves_at_its_socket(Setup::new().not_by_root().start());
}

#[test]
fn an_upgrade_there_is_a_tunnel_of_which_each_side_ends_for_itself() {
    let (server, repo) = (Server::start(), repo(""));
    server.deploy(&document("echo", &repo));
    let head = "GET /echo/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let connect = || {
        let client = TcpStream::connect(server.url().replace("http://", "")).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client
    };
    // Its end comes before the 101, and behind what it has to say.
    let mut at_once = connect();
    at_once
        .write_all(format!("{head}hello").as_bytes())
        .unwrap();
    at_once.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    at_once.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhellobye"), "{answer}");

    let mut later = connect();
    later.write_all(head.as_bytes()).unwrap();
    let mut came = Vec::new();
    let mut expect = |end: &str| {
        while !came.ends_with(end.as_bytes()) {
            let mut byte = [0];
            later.read_exact(&mut byte).expect("more comes");
            came.push(byte[0]);
        }
        (&later).write_all(b"hello").unwrap();
    };
    expect("\r\n\r\n");
    expect("\r\n\r\nhello");
    expect("\r\n\r\nhellohello");
    later.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    later.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hellobye");
}

#[test]
fn the_socket_is_preferred_to_the_port_also_when_it_comes_later() {
    let (server, repo) = (Server::start(), repo("both"));
    server.deploy(&document("echo", &repo));
    eventually("it is asked at its socket", SOON, || {
        (ask(&server)["by"] == "socket").then_some(())
    });
    let socket = socket_of(&server);
    // When it goes, there still is the port.
    std::fs::remove_file(&socket).unwrap();
    eventually("it is asked at its port", SOON, || {
        let answer = server.visit("/echo/");
        (answer.status == 200 && answer.json()["by"] == "port").then_some(())
    });
    eventually("the status says so", SOON, || {
        server.process("echo", "web.1")["socket"]
            .is_null()
            .then_some(())
    });
}

#[test]
fn nobody_but_the_app_and_root_can_connect_or_listen_there() {
    if !is_root() {
        return skip("a socket's directory", "it needs another user");
    }
    let (server, repo) = (Server::start(), repo(""));
    server.deploy(&document("echo", &repo));
    let socket = socket_of(&server);
    let directory = std::fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!(json!(directory.uid()), ask(&server)["uid"]);
    assert_eq!(directory.mode() & 0o777, 0o700);
    let script = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let other = Command::new("python3")
        .args(["-c", script])
        .arg(&socket)
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&other.stderr);
    assert!(error.contains("PermissionError"), "{error}");
}

/// An app that makes something at `$SOCKET` which leads to a socket of somebody else.
fn is_not_led_astray(server: &Server, command: &str, elsewhere: &Path) {
    let listener = UnixListener::bind(elsewhere).unwrap();
    listener.set_nonblocking(true).unwrap();
    let procfile = format!("web: {command}; echo made; exec sleep 600\n");
    let repo = Repo::new(&[("Procfile", &procfile)]);
    let brief = json!({ "health_check": { "interval": "100ms", "boot_timeout": "2s" } });
    let answer = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("echo", &repo), brief),
    );
    let failure = answer.expect(422).json()["failure"].clone();
    let log = server.get("/applications/echo/logs/stdout").text();
    assert!(log.contains("made"), "{log}");
    assert!(listener.accept().is_err(), "nobody connected: {failure}");
}

#[test]
fn a_link_there_is_not_followed() {
    let server = Server::start();
    let elsewhere = server.directory().join("elsewhere.sock");
    let command = format!("ln -s {} $SOCKET", elsewhere.display());
    is_not_led_astray(&server, &command, &elsewhere);
}

#[test]
fn a_link_to_the_server_itself_is_not_followed() {
    let server = Server::start();
    let command = format!("ln -sf {} $SOCKET", server.socket().display());
    is_not_led_astray(&server, &command, &server.directory().join("unused.sock"));
    let told = server.get("/routes?url=http://any/echo/").json();
    assert_eq!(told["processes"], json!([]));
}

#[test]
fn an_app_with_a_socket_variable_of_its_own_keeps_it() {
    let server = Server::start();
    let repo = Repo::new(&[
        (
            "Procfile",
            "web: exec python3 web.py\nother: echo [$SOCKET]; exec sleep 600\n",
        ),
        ("web.py", include_str!("support/web.py")),
        ("VERSION", "1"),
    ]);
    let own = json!({ "env": { "SOCKET": "/tmp/database.sock" } });
    server.deploy(&with(document("echo", &repo), own));
    assert_eq!(ask(&server)["env"]["SOCKET"], "/tmp/database.sock");
    assert!(sockets(&server).is_empty());
    let without = server.send_and_wait("PATCH", "/applications/echo", &json!({ "env": null }));
    assert!([200, 201].contains(&without.status));
    let socket = ask(&server)["env"]["SOCKET"].as_str().unwrap().to_owned();
    assert!(socket.ends_with("/http.sock"), "{socket}");
    // What is not routed has none.
    let log = within(SOON, || {
        let log = server
            .get("/applications/echo/logs/stdout?process=other.1")
            .text();
        (log.matches('[').count() == 2).then_some(log)
    });
    assert!(log.unwrap().contains("other.1 | []\n"));
}

#[test]
fn a_node_server_listens_there() {
    if Command::new("node").arg("--version").output().is_err() {
        return skip("node at a socket", "there is no node");
    }
    let script = "require('http').createServer((q, a) => a.end('node')).listen(process.env.SOCKET)";
    let (server, repo) = (
        Server::start(),
        Repo::new(&[("Procfile", "web: exec node app.js\n"), ("app.js", script)]),
    );
    server.deploy(&document("echo", &repo));
    assert_eq!(server.visit("/echo/").expect(200).text(), "node");
    assert!(UnixStream::connect(socket_of(&server)).is_ok());
}

#[test]
fn a_socket_that_would_be_too_long_is_none_and_that_is_said() {
    let parent = tempfile::tempdir().unwrap();
    // RUNTIME gets 85 bytes: enough for the server's own socket, and too many for those of apps.
    let name = "/procserver-test-xxxxxx/run".len();
    let deep = 85 - name - parent.path().as_os_str().len() - 1;
    let deep = parent.path().join("d".repeat(deep));
    std::fs::create_dir(&deep).unwrap();
    for open in [parent.path(), &deep] {
        std::fs::set_permissions(open, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    let server = Setup::below(&deep).start();
    let repo = crate::support::fixture::web_repo("1");
    server.deploy(&document("echo", &repo));
    assert_eq!(ask(&server)["env"]["SOCKET"], Value::Null);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(
        warnings.contains("set a shorter `runtime_dir`"),
        "{warnings}"
    );
}
