//! TLS clients of others: curl, OpenSSL and Python shake hands by either version, and are answered.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::fixture::{document, web_repo};
use crate::support::machine::skip;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::tls;

/// Asks twice on one connection, and once on another that resumes the session.
const PYTHON: &str = r#"
import socket, ssl, sys

port, roots, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=roots)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
context.set_alpn_protocols(["http/1.1"])
session = None
for turn in range(2):
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with context.wrap_socket(plain, server_hostname="a.test", session=session) as stream:
        print(stream.version(), stream.cipher()[2], stream.session_reused)
        for last in (False, True):
            close = "Connection: close\r\n" if last else ""
            stream.sendall(f"GET /echo/x HTTP/1.1\r\nHost: a.test\r\n{close}\r\n".encode())
            answer = b""
            while b'"https"' not in answer:
                answer += stream.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        while stream.recv(65536):
            pass
        session = stream.session
"#;

struct Clients {
    server: Server,
    roots: PathBuf,
}

impl Clients {
    /// A server with a certificate for a.test.
    fn new() -> Self {
        let mut setup = Setup::new();
        let directory = setup.directory().to_owned();
        tls::certificate(&directory, "a", "a.test");
        let listen = format!("127.0.0.1:{}", setup.spare_port());
        setup.set_flag("--tls-listen", &listen);
        setup.set_flag("--tls-certificate", &tls::pair(&directory, "a"));
        let server = setup.start();
        server.deploy(&document("echo", &web_repo("1")));
        let roots = directory.join("a.pem");
        Self { server, roots }
    }

    fn port(&self) -> String {
        self.server.spare_port().to_string()
    }
}

fn is_missing(program: &str, arguments: &[&str]) -> bool {
    let tried = Command::new(program).args(arguments).output();
    !tried.is_ok_and(|output| output.status.success())
}

#[track_caller]
fn text(output: &Output) -> String {
    let all = [&*output.stdout, &*output.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(output.status.success(), "{all}");
    all
}

#[test]
fn curl_shakes_hands_and_is_answered() {
    if is_missing("curl", &["--version"]) {
        return skip("curl_shakes_hands_and_is_answered", "no curl");
    }
    let clients = Clients::new();
    let port = clients.port();
    for (version, flags) in [
        ("1.2", ["--tlsv1.2", "--tls-max", "1.2"]),
        ("1.3", ["--tlsv1.3", "--tls-max", "1.3"]),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-sSv", "--max-time", "60"]).args(flags);
        curl.args(["--resolve", &format!("a.test:{port}:127.0.0.1"), "--cacert"]);
        let url = format!("https://a.test:{port}/echo/x");
        let output = curl
            .arg(&clients.roots)
            .args([&url, &url])
            .output()
            .unwrap();
        let all = text(&output);
        assert!(all.contains(&format!("using TLSv{version}")), "{all}");
        assert_eq!(
            all.matches("\"x-forwarded-proto\": \"https\"").count(),
            2,
            "{all}"
        );
    }
    // Older versions are refused.
    let mut old = Command::new("curl");
    old.args([
        "-sS",
        "-k",
        "--tls-max",
        "1.1",
        "--ciphers",
        "ALL:@SECLEVEL=0",
    ]);
    let old = old.arg(format!("https://127.0.0.1:{port}/")).output();
    assert!(!old.unwrap().status.success());
}

#[test]
fn curl_that_is_answered_before_its_body_has_the_answer_by_http_2_too() {
    if is_missing("curl", &["--http2", "--version"]) {
        return skip("curl_that_is_answered_before_its_body", "no curl");
    }
    let clients = Clients::new();
    let body = clients.roots.with_file_name("body");
    std::fs::write(&body, vec![b'x'; 3_000_000]).unwrap();
    let port = clients.port();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--http2", "--max-time", "60", "--data-binary"])
        .arg(format!("@{}", body.display()))
        .args(["--resolve", &format!("a.test:{port}:127.0.0.1"), "--cacert"])
        .arg(&clients.roots)
        .args(["--write-out", "%{http_version} %{http_code}"])
        .arg(format!("https://a.test:{port}/nobody"));
    let all = text(&curl.output().unwrap());
    assert!(all.ends_with("}\n2 404"), "{all}");
}

#[test]
fn openssl_shakes_hands_and_is_answered() {
    if is_missing("openssl", &["version"]) {
        return skip("openssl_shakes_hands_and_is_answered", "no openssl");
    }
    let clients = Clients::new();
    // By itself OpenSSL has AES-256 first.
    let chacha_first = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    for (flags, chosen) in [
        (
            &["-tls1_2"][..],
            "TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (&["-tls1_3"], "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"),
        (
            &["-tls1_3", "-ciphersuites", chacha_first],
            "TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let mut client = Command::new("openssl")
            .args(["s_client", "-servername", "a.test", "-verify_return_error"])
            .args(["-connect", &format!("127.0.0.1:{}", clients.port())])
            .args(["-verify_hostname", "a.test", "-alpn", "http/1.1"])
            .args(flags)
            .args(["-ign_eof", "-CAfile"])
            .arg(&clients.roots)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(tls::LAST.as_bytes()).unwrap();
        let all = text(&client.wait_with_output().unwrap());
        drop(stdin);
        for word in [
            "Verification: OK",
            "ALPN protocol: http/1.1",
            "HTTP/1.1 200 OK",
            "\"x-forwarded-proto\": \"https\"",
        ] {
            assert!(all.contains(word), "{word}: {all}");
        }
        assert!(all.contains(&format!("New, {chosen}")), "{all}");
    }
}

#[test]
fn python_shakes_hands_is_answered_and_resumes() {
    if is_missing("python3", &["-c", "import ssl"]) {
        return skip(
            "python_shakes_hands_is_answered_and_resumes",
            "no ssl module",
        );
    }
    let clients = Clients::new();
    for (version, name) in [("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")] {
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON, &clients.port()]);
        let output = python.arg(&clients.roots).arg(version).output().unwrap();
        let all = text(&output);
        let turns: Vec<&str> = all.lines().collect();
        assert_eq!(turns.len(), 2, "{all}");
        assert!(turns.iter().all(|turn| turn.starts_with(name)), "{all}");
        assert!(
            turns[0].ends_with("False") && turns[1].ends_with("True"),
            "{all}"
        );
    }
}
