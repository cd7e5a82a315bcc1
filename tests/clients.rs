//! Real clients: curl and Python's `http.client`, through the real server, to a real app; large bodies in small memory.

use std::process::Command;

use serde_json::json;

use crate::support::fixture::{document, with};
use crate::support::machine::{peak_memory, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// Bytes of the large bodies: as many as the default settings allow.
const LARGE: u64 = 1 << 30;

/// Bytes that the server may need more while they pass.
const MEMORY: u64 = 32 << 20;

/// An app that sends as many bytes as the path says, and counts those it gets.
const APP: &str = r#"
import http.server, os

PIECE = b"x" * 65536

class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def head(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_HEAD(self):
        self.head(int(self.path[1:]))

    def do_GET(self):
        left = int(self.path[1:])
        self.head(left)
        while left > 0:
            left -= self.wfile.write(PIECE[:left])

    def pieces(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0:
                left -= (count := len(self.rfile.read(min(left, 65536))))
                yield count

    def do_PUT(self):
        answer = str(sum(self.pieces())).encode()
        self.head(len(answer))
        self.wfile.write(answer)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

/// Uses one connection for requests of all kinds.
const HTTP_CLIENT: &str = r#"
import http.client, sys

connection = http.client.HTTPConnection(sys.argv[1], timeout=30)
connection.connect()
first = connection.sock
for turn in range(20):
    connection.request("GET", f"/{turn * 1000}")
    assert len(connection.getresponse().read()) == turn * 1000
    connection.request("HEAD", "/5")
    response = connection.getresponse()
    assert (response.getheader("Content-Length"), response.read()) == ("5", b"")
    connection.request("PUT", "/", body=b"x" * turn)
    assert connection.getresponse().read() == str(turn).encode()
    connection.request("PUT", "/", body=(b"abc" for _ in range(turn)), encode_chunked=True)
    assert connection.getresponse().read() == str(3 * turn).encode()
    assert connection.sock is first
"#;

struct Clients {
    server: Server,
}

impl Clients {
    fn new() -> Self {
        let server = Server::start();
        let repo = Repo::new(&[("Procfile", "web: exec python3 app.py\n"), ("app.py", APP)]);
        let everything = json!({ "domain": ["^127\\.0\\.0\\.1$"] });
        server.deploy(&with(document("app", &repo), everything));
        Self { server }
    }

    /// What curl prints; the URL of `path` comes last.
    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let url = format!("{}{path}", self.server.url());
        let common = ["-sS", "--max-time", "300"];
        output(Command::new("curl").args(common).args(arguments).arg(url))
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn curl_is_missing() -> bool {
    Command::new("curl").arg("--version").output().is_err()
}

#[test]
fn curl_and_http_client_are_served_in_all_their_ways() {
    if curl_is_missing() {
        return skip(
            "curl_and_http_client_are_served_in_all_their_ways",
            "no curl",
        );
    }
    let clients = Clients::new();
    let says = [
        "-o",
        "/dev/null",
        "-w",
        "%{http_version} %{http_code} %{size_download} ",
    ];
    let get = |more: &[&str]| clients.curl(&[&says[..], more].concat(), "/70000");
    assert_eq!(get(&[]), "1.1 200 70000 ");
    assert_eq!(
        get(&["-0"]),
        "1.1 200 70000 ",
        "the answer to 1.0 is 1.1, closed"
    );
    assert_eq!(get(&["-H", "Host: 127.0.0.1."]), "1.1 200 70000 ");
    let h2c = [
        "-H",
        "Connection: Upgrade, HTTP2-Settings",
        "-H",
        "Upgrade: h2c",
        "-H",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ];
    assert_eq!(get(&h2c), "1.1 200 70000 ", "no upgrade to HTTP/2");
    assert!(
        clients
            .curl(&["-I"], "/9")
            .contains("Content-Length: 9\r\n")
    );
    let again = clients.server.url() + "/1";
    let both = clients.curl(&["-w", " %{num_connects} ", &again], "/2");
    assert_eq!(both, "x 1 xx 0 ", "one connection for both");

    let body = tempfile::NamedTempFile::new().unwrap();
    body.as_file().set_len(3_000_000).unwrap();
    let put = |more: &[&str]| {
        let file = body.path().to_str().unwrap();
        clients.curl(&[&["-T", file][..], more].concat(), "/")
    };
    assert_eq!(put(&[]), "3000000");
    assert_eq!(put(&["-H", "Transfer-Encoding: chunked"]), "3000000");
    assert_eq!(put(&["-H", "Expect: 100-continue"]), "3000000");
    assert_eq!(put(&["-H", "Expect:"]), "3000000");
    assert_eq!(put(&["-0"]), "3000000");
    let address = clients.server.url().replace("http://", "");
    output(Command::new("python3").args(["-c", HTTP_CLIENT, &address]));
}

#[test]
fn large_bodies_pass_in_small_memory() {
    if curl_is_missing() {
        return skip("large_bodies_pass_in_small_memory", "no curl");
    }
    let clients = Clients::new();
    let pid = clients.server.pid();
    let body = tempfile::NamedTempFile::new().unwrap();
    body.as_file().set_len(LARGE).unwrap();
    let file = body.path().to_str().unwrap();
    let before = peak_memory(pid);
    let says = ["-o", "/dev/null", "-w", "%{size_download}"];
    assert_eq!(clients.curl(&says, &format!("/{LARGE}")), LARGE.to_string());
    assert_eq!(clients.curl(&["-T", file], "/"), LARGE.to_string());
    body.as_file().set_len(LARGE / 4).unwrap();
    let chunked = ["-T", file, "-H", "Transfer-Encoding: chunked"];
    assert_eq!(clients.curl(&chunked, "/"), (LARGE / 4).to_string());
    let more = peak_memory(pid) - before;
    assert!(more < MEMORY, "{more} bytes more");
}
