//! A whole server by HTTP/2: deploys, static files, the API, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{Client, request, run};
use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::machine::send_signal;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// A server with a certificate for a.test, and what trusts it.
pub(crate) fn start() -> (Server, RootCertStore) {
    let mut setup = Setup::new();
    let names = ["a.test".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let path = |name: &str| setup.directory().join(name);
    std::fs::write(path("a.pem"), cert.pem()).unwrap();
    std::fs::write(path("a.key"), signing_key.serialize_pem()).unwrap();
    let pair = format!("{},{}", path("a.pem").display(), path("a.key").display());
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.set_flag("--tls-listen", &listen);
    setup.set_flag("--tls-certificate", &pair);
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    (setup.start(), roots)
}

async fn connect(server: &Server, roots: &RootCertStore) -> Client {
    let address = SocketAddr::from(([127, 0, 0, 1], server.spare_port()));
    let provider = procserver::tls::server_config::provider();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    Client::over(stream, &h2::client::Builder::new()).await
}

#[test]
fn no_request_fails_while_a_new_release_takes_over() {
    let (server, roots) = start();
    let repo = web_repo("1");
    let document = with(document("echo", &repo), json!({ "hosts": ["a.test"] }));
    server.deploy(&document);
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            run(async {
                let client = connect(&server, &roots).await;
                let asking = (0..8).map(|_| {
                    let mut send = client.send.clone();
                    let (is_over, answered) = (&is_over, &answered);
                    async move {
                        let mut versions = Vec::new();
                        while !is_over.load(Ordering::Relaxed) {
                            send = send.ready().await.unwrap();
                            let (response, _) =
                                send.send_request(request("GET", "/x"), true).unwrap();
                            let answer = super::client::Answer::read(response.await.unwrap()).await;
                            let answer = answer.unwrap();
                            assert_eq!(answer.status, 200, "{}", answer.body);
                            let seen: serde_json::Value =
                                serde_json::from_str(&answer.body).unwrap();
                            versions.push(seen["version"].as_str().unwrap().to_owned());
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        versions
                    }
                });
                futures::future::join_all(asking).await.concat()
            })
        });
        let is_asked = || (answered.load(Ordering::Relaxed) > 50).then_some(());
        eventually("requests run", SOON, is_asked);
        repo.commit(&web_files("2"));
        server.act("echo", "redeploy").expect(200);
        answered.store(0, Ordering::Relaxed);
        eventually("requests go on", SOON, is_asked);
        is_over.store(true, Ordering::Relaxed);
        let versions = asks.join().unwrap();
        assert!(versions.iter().any(|v| v == "1") && versions.last().is_some_and(|v| v == "2"));
    });
}

#[test]
fn files_and_the_api_are_answered_and_a_document_turns_it_off() {
    let (server, roots) = start();
    let large = "x".repeat(300_000);
    let repo = Repo::new(&[("public/large.txt", &*large)]);
    let files = json!({ "hosts": ["a.test"], "static": { "dir": "public" } });
    server.deploy(&with(document("files", &repo), files));
    run(async {
        let mut client = connect(&server, &roots).await;
        let answer = client.get("/large.txt").await;
        assert_eq!((answer.status, answer.body.len()), (200, 300_000));
        let mut part = request("GET", "/large.txt");
        part.headers_mut()
            .insert("range", "bytes=5-9".parse().unwrap());
        let answer = client.ask(part).await;
        assert_eq!((answer.status, &*answer.body), (206, "xxxxx"));
        assert_eq!(client.get("/none").await.status, 404);

        let mut api = request("GET", "/applications");
        let token = format!("Bearer {}", server.token());
        *api.uri_mut() = "https://a.test/applications".parse().unwrap();
        api.headers_mut()
            .insert("authorization", token.parse().unwrap());
        let answer = client.ask(api).await;
        assert_eq!(answer.status, 404, "the host is the app's");
        let mut api = request("GET", "/");
        *api.uri_mut() = "https://other.test/applications".parse().unwrap();
        api.headers_mut()
            .insert("authorization", token.parse().unwrap());
        let answer = client.ask(api).await;
        assert!(
            answer.status == 200 && answer.body.contains("\"files\""),
            "{}",
            answer.body
        );

        let off = json!({ "tls": { "http2": false } });
        let answer = server.send_and_wait("PATCH", "/applications/files", &off);
        answer.expect(200);
        assert_eq!(client.get("/large.txt").await.status, 421);
    });
    let wrong = json!({ "tls": { "http2": "no" } });
    let answer = server
        .send("PATCH", "/applications/files", &wrong)
        .expect(422);
    assert!(answer.text().contains("/tls/http2"), "{}", answer.text());
}

#[test]
fn a_server_that_stops_says_so_and_answers_what_it_was_asked() {
    let (mut server, roots) = start();
    let repo = web_repo("1");
    let document = with(document("echo", &repo), json!({ "hosts": ["a.test"] }));
    server.deploy(&document);
    run(async {
        let mut client = connect(&server, &roots).await;
        assert_eq!(client.get("/x").await.status, 200);
        let mut send = client.send.clone().ready().await.unwrap();
        let (response, _) = send
            .send_request(request("GET", "/download"), true)
            .unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "head\n");
        send_signal(server.pid(), Signal::SIGTERM);
        // The client is told, and asks no more.
        let told = async {
            while send.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        told.await;
        let go = server.directory().join("apps/echo/storage/go");
        std::fs::write(go, "").unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "tail\n");
        client.connection.await.unwrap().expect("it ends well");
    });
    assert!(server.ended().success());
}
