//! No request by TLS fails, be it HTTP/1.1 or HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::reload;
use crate::support::fixture::{document, web_repo};
use crate::support::setup::Setup;
use crate::tls;

#[test]
fn no_request_by_tls_fails_be_it_http_1_or_2() {
    let mut setup = Setup::new().with_own_program();
    let directory = setup.directory().to_owned();
    let trusted = tls::certificate(&directory, "a", "a.test");
    let port = setup.spare_port();
    setup.set_flag("--tls-listen", &format!("127.0.0.1:{port}"));
    setup.set_flag("--tls-certificate", &tls::pair(&directory, "a"));
    let server = setup.start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let over = AtomicBool::new(false);
    let config = tls::trusting(&[trusted]);
    let failed = std::thread::scope(|scope| {
        let clients = (0..4).map(|number| {
            let (over, mut config) = (&over, rustls::ClientConfig::clone(&config));
            scope.spawn(move || match number % 2 {
                0 => by_http1(port, &Arc::new(config), over),
                _ => {
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_all().build().unwrap();
                    runtime.block_on(by_http2(port, Arc::new(config), over))
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let reloaded: Vec<_> = (0..3).map(|_| reload(&server)).collect();
        over.store(true, Ordering::SeqCst);
        let failed = clients.into_iter().flat_map(|client| {
            let (answered, failed) = client.join().unwrap();
            assert!(answered > 20, "{answered}");
            failed
        });
        let failed: Vec<String> = failed.collect();
        assert!(reloaded.iter().all(|r| r.code == Some(0)), "{reloaded:?}");
        failed
    });
    assert_eq!(failed, Vec::<String>::new());
}

fn by_http1(
    port: u16,
    config: &Arc<rustls::ClientConfig>,
    over: &AtomicBool,
) -> (usize, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        let asked = tls::connect_at(port, config, "a.test");
        match asked.and_then(|mut stream| tls::exchange(&mut stream, tls::LAST)) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => answered += 1,
            other => failed.push(format!("{other:?}")),
        }
    }
    (answered, failed)
}

/// A connection that the server gives up in good order is followed by another one (RFC 9113 §6.8).
async fn by_http2(
    port: u16,
    config: Arc<rustls::ClientConfig>,
    over: &AtomicBool,
) -> (usize, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    let connector = tokio_rustls::TlsConnector::from(config);
    while !over.load(Ordering::SeqCst) {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
        let stream = match connector.connect(name, stream).await {
            Ok(stream) => stream,
            Err(error) => {
                failed.push(format!("handshake: {error}"));
                continue;
            }
        };
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        while !over.load(Ordering::SeqCst) {
            let Ok(mut ready) = send.clone().ready().await else {
                break;
            };
            let request = http::Request::get("https://a.test/echo/").body(()).unwrap();
            let Ok((response, _)) = ready.send_request(request, true) else {
                break;
            };
            match response.await {
                Ok(response) if response.status() == 200 => {
                    let mut body = response.into_body();
                    while let Some(piece) = body.data().await {
                        match piece {
                            Ok(piece) => drop(body.flow_control().release_capacity(piece.len())),
                            Err(error) => failed.push(format!("body: {error}")),
                        }
                    }
                    answered += 1;
                }
                Err(error)
                    if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) =>
                {
                    break;
                }
                other => {
                    failed.push(format!("{other:?}"));
                    break;
                }
            }
        }
    }
    (answered, failed)
}
