//! A hundred certificates are exchanged while 64 clients ask, and none of them notices.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;

use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};
use crate::tls::{connect_at, exchange, pair, trusting, write_pair};

const CERTIFICATES: usize = 100;
const CLIENTS: usize = 64;

/// One that all clients trust.
struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut root = CertificateParams::new([]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            root: root.self_signed(&key).unwrap().der().clone(),
            issuer: Issuer::new(root, key),
        }
    }

    /// Writes a new certificate of a name and its key over those that are there.
    fn certify(&self, directory: &Path, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        write_pair(directory, name, &leaf.pem(), &key);
        leaf.der().clone()
    }
}

#[test]
fn a_hundred_certificates_are_exchanged_under_the_load_of_64_clients_and_none_fails() {
    let authority = Authority::new();
    let mut setup = Setup::new();
    let directory = setup.directory().to_owned();
    let names: Vec<String> = (0..CERTIFICATES).map(|n| format!("n{n}.test")).collect();
    let old: HashMap<&str, _> = names
        .iter()
        .map(|name| (&**name, authority.certify(&directory, name)))
        .collect();
    let pairs: Vec<String> = names.iter().map(|name| pair(&directory, name)).collect();
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.set_flag("--tls-listen", &listen);
    setup.set_flag("--tls-certificate", &pairs.join(" "));
    let server = setup.start();
    let port = server.spare_port();

    let resuming = trusting(std::slice::from_ref(&authority.root));
    let mut fresh = (*resuming).clone();
    fresh.resumption = Resumption::disabled();
    let fresh = Arc::new(fresh);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |config, name: &str| {
        let mut stream = connect_at(port, config, name).unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let answer = exchange(&mut stream, &request).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                // Half of them come back to sessions of before.
                let config = if client % 2 == 0 { &resuming } else { &fresh };
                let (names, done, asked, ask) = (&names, &done, &asked, &ask);
                scope.spawn(move || {
                    for turn in 0.. {
                        ask(config, &names[(client + 7 * turn) % CERTIFICATES]);
                        asked.fetch_add(1, Ordering::Relaxed);
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                })
            })
            .collect();
        let before = asked.load(Ordering::Relaxed);
        let new: HashMap<&str, _> = names
            .iter()
            .map(|name| (&**name, authority.certify(&directory, name)))
            .collect();
        let mut waiting: Vec<&str> = names.iter().map(|name| &**name).collect();
        eventually("all new certificates answer", 3 * SOON, || {
            waiting.retain(|name| {
                let shown = ask(&fresh, name);
                assert!(shown == old[name] || shown == new[name], "{name}");
                shown != new[name]
            });
            waiting.is_empty().then_some(())
        });
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        assert!(asked.load(Ordering::Relaxed) >= before + CLIENTS);
    });
}
