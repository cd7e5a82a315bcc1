//! HTTPS: certificates from files, chosen by the name that a client asks for.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
};

use serde_json::json;

use crate::cli::shows_at_once;
use crate::front::fixture::Client;
use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request};
use crate::support::pebble::spare_port;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for `name` and its key, in files of the server's directory.
pub(crate) fn certificate(directory: &Path, file: &str, name: &str) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    write_pair(directory, file, &cert.pem(), &signing_key);
    cert.der().clone()
}

/// Replaces each file whole, as tools that renew certificates do.
pub(crate) fn write_pair(directory: &Path, file: &str, cert: &str, key: &KeyPair) {
    for (kind, text) in [("pem", cert), ("key", &key.serialize_pem())] {
        let new = directory.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, directory.join(format!("{file}.{kind}"))).unwrap();
    }
}

pub(crate) fn pair(directory: &Path, file: &str) -> String {
    let path = |kind| {
        directory
            .join(format!("{file}.{kind}"))
            .display()
            .to_string()
    };
    format!("{},{}", path("pem"), path("key"))
}

/// A server with a certificate for a.test.
fn start() -> (Server, CertificateDer<'static>) {
    let mut setup = Setup::new();
    let directory = setup.directory().to_owned();
    let trusted = certificate(&directory, "a", "a.test");
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.set_flag("--tls-listen", &listen);
    setup.set_flag("--tls-certificate", &pair(&directory, "a"));
    (setup.start(), trusted)
}

pub(crate) fn trusting(certificates: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).unwrap();
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(server: &Server, config: &Arc<ClientConfig>, name: &str) -> io::Result<Stream> {
    connect_at(server.spare_port(), config, name)
}

/// Shakes hands as a client that asks for `name`.
pub(crate) fn connect_at(port: u16, config: &Arc<ClientConfig>, name: &str) -> io::Result<Stream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(session, stream))
}

/// What is answered until the server says that nothing follows: without a close_notify, an error.
pub(crate) fn exchange(stream: &mut Stream, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

pub(crate) const LAST: &str = "GET /echo/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

#[test]
fn an_app_is_told_that_its_client_came_by_tls_and_the_end_is_no_cut() {
    let (server, trusted) = start();
    server.deploy(&document("echo", &web_repo("1")));
    let config = trusting(&[trusted]);
    let mut stream = connect(&server, &config, "a.test").unwrap();
    let two = format!("GET /echo/x HTTP/1.1\r\nHost: a.test\r\n\r\n{LAST}");
    let answer = exchange(&mut stream, &two).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(
        answer.matches("\"x-forwarded-proto\": \"https\"").count(),
        2,
        "{answer}"
    );
    let port = format!("\"x-forwarded-port\": \"{}\"", server.spare_port());
    assert_eq!(answer.matches(&port).count(), 2, "{answer}");
    let plain = server.visit("/echo/x").expect(200).json();
    assert_eq!(plain["headers"]["x-forwarded-proto"], "http", "{plain}");
    eventually("the access log says how each came", SOON, || {
        let log = std::fs::read_to_string(server.directory().join("logs/access.log")).ok()?;
        let of = |scheme: &str| log.matches(&format!("\"scheme\":\"{scheme}\"")).count();
        (of("https") == 2 && of("http") >= 1).then_some(())
    });
}

#[test]
fn what_offers_acme_among_others_is_a_client_like_any() {
    let (server, trusted) = start();
    let offering = |protocols: &[&[u8]]| {
        let mut config = (*trusting(std::slice::from_ref(&trusted))).clone();
        config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        connect(&server, &Arc::new(config), "a.test")
    };
    for both in [
        [&b"acme-tls/1"[..], b"http/1.1"],
        [b"http/1.1", b"acme-tls/1"],
    ] {
        let mut stream = offering(&both).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = exchange(&mut stream, LAST).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    // Nobody proves anything here now.
    offering(&[b"acme-tls/1"]).unwrap_err();
}

#[test]
fn a_token_that_comes_unencrypted_to_a_host_of_the_api_is_not_taken() {
    let mut setup = Setup::new()
        .flag("--api-hosts", "a.test")
        .flag("--trusted-proxies", "127.0.0.5")
        .flag("--proxy-protocol", "true");
    let directory = setup.directory().to_owned();
    certificate(&directory, "a", "a.test");
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.set_flag("--tls-listen", &listen);
    setup.set_flag("--tls-certificate", &pair(&directory, "a"));
    let server = setup.start();
    let token = server.token();
    let ask = |method: &str, host: &str, fields: &str| {
        let mut client = Client::from([127, 0, 0, 5], server.address());
        // As from another machine.
        client.send("PROXY TCP4 203.0.113.7 198.51.100.1 4711 80\r\n");
        client.send(&format!(
            "{method} /applications HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n"
        ));
        client.rest()
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let refused = ask("GET", "A.test:80", &bearer);
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.contains("https://a.test"), "{refused}");
    for (method, status) in [("GET", 301), ("POST", 308)] {
        let answer = ask(method, "a.test", "");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let location = format!(
            "Location: https://a.test:{}/applications\r\n",
            server.spare_port()
        );
        assert!(answer.contains(&location), "{answer}");
    }
    // Where there is no certificate, and on this machine, it is as it was.
    let elsewhere = ask("GET", "b.test", &bearer);
    assert!(elsewhere.starts_with("HTTP/1.1 200 "), "{elsewhere}");
    let here = server
        .request("GET", "/applications")
        .header("Host", "a.test");
    here.send(&server.public()).expect(200);
}

#[test]
fn plain_http_is_redirected_where_there_is_a_certificate_and_browsers_are_told_if_asked() {
    let (server, trusted) = start();
    let hosts = json!({ "hosts": ["a.test", "b.test"] });
    server.deploy(&with(document("echo", &web_repo("1")), hosts));
    let asked = |method: &str, host: &str| Request::new(method, "/x?y=1").header("Host", host);
    let send = |request: Request| request.send(&server.public());
    let location = format!("https://A.test:{}/x?y=1", server.spare_port());
    for (method, status) in [("GET", 301), ("HEAD", 301), ("POST", 308)] {
        let answer = send(asked(method, "A.test:80")).expect(status);
        assert_eq!(answer.header("Location"), Some(&*location), "{method}");
    }
    let listed = server.get("/applications").expect(200).json();
    let url = format!("https://a.test:{}/", server.spare_port());
    assert_eq!(listed[0]["url"], url, "{listed}");
    let taken = json!({ "port": server.spare_port() });
    server
        .send("PATCH", "/applications/echo", &taken)
        .expect(409);
    send(asked("GET", "b.test")).expect(200);
    send(asked("GET", "a.test").header("X-App", "echo")).expect(200);

    let policy = json!({ "tls": { "redirect": false, "hsts": "2d" } });
    server
        .send_and_wait("PATCH", "/applications/echo", &policy)
        .expect(200);
    let plain = send(asked("GET", "a.test")).expect(200);
    assert_eq!(plain.header("Strict-Transport-Security"), None);
    let mut stream = connect(&server, &trusting(&[trusted]), "a.test").unwrap();
    let answer = exchange(&mut stream, LAST).unwrap();
    assert!(
        answer.contains("Strict-Transport-Security: max-age=172800\r\n"),
        "{answer}"
    );

    let wrong = json!({ "tls": { "hsts": "a day", "redirekt": true } });
    let refused = server
        .send("PATCH", "/applications/echo", &wrong)
        .expect(422);
    assert_eq!(refused.json()["errors"].as_array().map(Vec::len), Some(2));
}

#[test]
fn megabytes_pass_both_ways() {
    let (server, trusted) = start();
    server.deploy(&document("echo", &web_repo("1")));
    let mut stream = connect(&server, &trusting(&[trusted]), "a.test").unwrap();
    let body = "0123456789abcdef".repeat(1 << 18);
    let request = format!(
        "POST /echo/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.contains(&format!("\"{body}\"")),
        "{} bytes",
        answer.len()
    );
}

#[test]
fn a_name_without_a_certificate_is_unrecognized_and_plain_http_is_told_what_to_do() {
    let (server, trusted) = start();
    let error = connect(&server, &trusting(&[trusted]), "b.test").unwrap_err();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let unrecognized = rustls::Error::AlertReceived(AlertDescription::UnrecognisedName);
    assert_eq!(cause, Some(&unrecognized), "{error}");

    let address = ([127, 0, 0, 1], server.spare_port()).into();
    let told = Request::get("/")
        .header("Host", "a.test")
        .send(&Peer::Tcp(address));
    let told = told.expect(400).text();
    assert!(told.contains("https://"), "{told}");
}

#[test]
fn a_client_that_comes_back_resumes_whichever_worker_it_meets() {
    let (mut server, trusted) = start();
    server.terminate();
    server.set_flag("--workers", "4");
    server.start_again();
    let config = trusting(&[trusted]);
    for turn in 0..8 {
        let mut stream = connect(&server, &config, "a.test").unwrap();
        // The ticket comes with the first answer.
        exchange(&mut stream, LAST).unwrap();
        let kind = stream.conn.handshake_kind();
        let expected = if turn == 0 {
            HandshakeKind::Full
        } else {
            HandshakeKind::Resumed
        };
        assert_eq!(kind, Some(expected), "turn {turn}");
    }
}

#[test]
fn certificates_are_exchanged_under_load_and_no_handshake_fails() {
    let (server, first) = start();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let (old, new) = (trusting(std::slice::from_ref(&first)), cert.der().clone());
    let both = trusting(&[first, new.clone()]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let mut stream = connect(&server, &both, "a.test").unwrap();
                        exchange(&mut stream, LAST).unwrap();
                    }
                })
            })
            .collect();
        write_pair(server.directory(), "a", &cert.pem(), &signing_key);
        let only_new = trusting(&[new]);
        eventually("the new certificate answers", SOON, || {
            connect(&server, &only_new, "a.test").ok()
        });
        done.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    // Sessions that were made with it are resumed; a new one is not.
    connect(&server, &old, "a.test").unwrap_err();

    std::fs::write(server.directory().join("a.pem"), "rubbish").unwrap();
    eventually("the broken file is told of", SOON, || {
        server
            .log()
            .contains("a.pem: it holds no certificate")
            .then_some(())
    });
    connect(&server, &both, "a.test").unwrap();
    let listed = server.get("/certificates").expect(200).json();
    assert_eq!(listed[0]["names"], json!(["a.test"]), "{listed}");
    assert_eq!(
        (&listed[0]["state"], &listed[0]["source"]),
        (&"valid".into(), &"file".into())
    );
    let error = listed[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("a.pem: it holds no certificate"), "{listed}");
}

#[test]
fn the_command_line_speaks_https_and_trusts_whom_it_is_told_to() {
    let mut setup = Setup::new();
    let directory = setup.directory().to_owned();
    certificate(&directory, "a", "localhost");
    let port = setup.spare_port();
    setup.set_flag("--tls-listen", &format!("127.0.0.1:{port}"));
    setup.set_flag("--tls-certificate", &pair(&directory, "a"));
    let (server, repo) = (setup.start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let ca = directory.join("a.pem").display().to_string();
    let token = directory.join("token").display().to_string();
    let url = format!("https://localhost:{port}");
    let command = |words: &[&str]| {
        let mut command = procserver();
        command
            .args(words)
            .args(["--server", &url, "--token-file", &token]);
        command
    };

    let refused = finish(&mut command(&["apps"]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--ca FILE"), "{refused:?}");
    let shown = finish(&mut command(&["apps", "--ca", &ca])).success();
    assert!(shown.contains("echo"), "{shown}");
    // As this machine trusts it.
    let shown = finish(command(&["apps"]).env("SSL_CERT_FILE", &ca)).success();
    assert!(shown.contains("echo"), "{shown}");
    let address = format!("https://127.0.0.1:{port}");
    let mut by_address = procserver();
    by_address.args([
        "apps",
        "--ca",
        &ca,
        "--server",
        &address,
        "--token-file",
        &token,
    ]);
    let by_address = finish(&mut by_address);
    assert!(
        by_address.stderr.contains("no certificate for that name"),
        "{by_address:?}"
    );

    let mut follower = command(&["logs", "echo", "--follow", "--ca", &ca])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shows_at_once(&server, follower.stdout.as_mut().unwrap());
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn a_token_that_goes_to_another_machine_by_http_is_warned_of() {
    let port = spare_port();
    for (host, is_warned) in [("0.0.0.0", true), ("127.0.0.1", false)] {
        let mut apps = procserver();
        apps.args(["apps", "--server", &format!("http://{host}:{port}")]);
        let tried = finish(apps.env("PROCSERVER_TOKEN", "secret"));
        let warned = tried.stderr.contains("can read the token");
        assert_eq!(warned, is_warned, "{tried:?}");
    }
}
