//! Certificates of a certificate authority, through the server's front door: what an app's `hosts` lead to.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::pebble::{Pebble, spare_port};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};
use crate::tls::{LAST, connect_at, exchange, trusting};

const NAME: &str = "shop.example.org";

/// A server whose certificate authority finds it, and its port for TLS.
fn start(challenge: &str) -> (Server, Pebble, u16) {
    let (http, tls) = (spare_port(), spare_port());
    let pebble = Pebble::start(http, tls, json!({}));
    let setup = Setup::new()
        .flag("--listen", &format!("127.0.0.1:{http}"))
        .flag("--tls-listen", &format!("127.0.0.1:{tls}"))
        .flag("--acme-agree-terms", "true")
        .flag("--acme-directory", &pebble.directory())
        .flag("--acme-root-ca", pebble.root().to_str().unwrap())
        .flag("--acme-challenge", challenge)
        // To this machine's resolver the names are nobody's.
        .flag("--acme-check-first", "false");
    (setup.start(), pebble, tls)
}

fn shop(repo: &Repo) -> Value {
    with(document("shop", repo), json!({ "hosts": [NAME] }))
}

fn row(server: &Server) -> Value {
    server.get("/certificates").expect(200).json()[0].clone()
}

#[track_caller]
fn wait_until_valid(server: &Server) -> Value {
    eventually("the certificate is there", SOON * 3, || {
        Some(row(server)).filter(|row| row["state"] == "valid")
    })
}

fn kept(server: &Server) -> PathBuf {
    let mut issuers = std::fs::read_dir(server.directory().join("certificates")).unwrap();
    issuers.next().unwrap().unwrap().path().join(NAME)
}

/// The chain that the authority gave; its last certificate is the authority's own.
fn chain(server: &Server) -> Vec<CertificateDer<'static>> {
    let pem = CertificateDer::pem_file_iter(kept(server).join("cert.pem")).unwrap();
    pem.map(Result::unwrap).collect()
}

#[test]
fn a_name_in_hosts_gets_a_certificate_that_its_clients_trust_and_renew_gets_another() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let (server, pebble, port) = start(challenge);
        let repo = web_repo("1");
        server.deploy(&shop(&repo));
        let row = wait_until_valid(&server);
        assert_eq!(
            (&row["names"], &row["source"]),
            (&json!([NAME]), &json!("acme")),
            "{row}"
        );

        let authority = chain(&server).pop().unwrap();
        let config = trusting(&[authority]);
        let request = LAST.replace("/echo/x", "/x").replace("a.test", NAME);
        let mut stream = connect_at(port, &config, NAME).unwrap();
        let answer = exchange(&mut stream, &request).unwrap();
        assert!(
            answer.contains("\"x-forwarded-proto\": \"https\""),
            "{answer}"
        );

        let old = chain(&server).remove(0);
        server
            .request("POST", &format!("/certificates/{NAME}/renew"))
            .send(&server.public())
            .expect(202);
        eventually("the new certificate is kept", SOON * 3, || {
            (chain(&server)[0] != old).then_some(())
        });
        assert_eq!(pebble.orders(), 2, "{challenge}");
        let other = server.request("POST", "/certificates/other.example.org/renew");
        other.send(&server.public()).expect(404);
    }
}

#[test]
fn a_kill_at_any_step_of_an_order_asks_for_nothing_twice() {
    for step in [
        "acme answers are ready",
        "acme order is ready",
        "acme order is finalized",
        "acme certificate is here",
    ] {
        let (mut server, pebble, _) = start("http-01");
        server.arm_kill(step);
        let repo = web_repo("1");
        server
            .send("POST", "/applications", &shop(&repo))
            .expect(202);
        server.wait_for_death();
        server.start_again();
        wait_until_valid(&server);
        // Where the authority looked while nobody was there, it has given the order up.
        let most = if step == "acme answers are ready" {
            2
        } else {
            1
        };
        let orders = pebble.orders();
        assert!((1..=most).contains(&orders), "{orders} orders: {step}");
        assert_eq!(pebble.accounts(), 1, "{step}");
    }
}

#[test]
fn a_name_that_does_not_lead_here_fails_with_a_sentence_and_without_an_order() {
    let (mut server, pebble, _) = start("http-01");
    server.terminate();
    server.set_flag("--acme-check-first", "true");
    server.start_again();
    let repo = web_repo("1");
    server.deploy(&shop(&repo));
    let row = eventually("the attempt fails", SOON * 3, || {
        Some(row(&server)).filter(|row| row["state"] == "failing")
    });
    assert!(row["error"].as_str().unwrap().contains(NAME), "{row}");
    assert!(row["next_attempt"].is_string(), "{row}");
    assert_eq!(pebble.orders(), 0);
    // Meanwhile the app answers by http.
    server.visit("/shop/echo/x").expect(200);
}

#[test]
fn a_name_that_is_taken_away_and_given_back_during_its_order_is_ordered_once() {
    let (server, pebble, _) = start("http-01");
    let repo = web_repo("1");
    server.deploy(&shop(&repo));
    eventually("it is ordered", SOON, || {
        server.log().contains("it is ordered").then_some(())
    });
    for hosts in [json!([]), json!([NAME])] {
        let change = json!({ "hosts": hosts });
        let answer = server.send_and_wait("PATCH", "/applications/shop", &change);
        answer.expect(200);
    }
    let row = wait_until_valid(&server);
    assert_eq!(pebble.orders(), 1);
    assert!(row["error"].is_null(), "{row}");
}

#[test]
fn an_app_that_was_never_ready_asks_for_no_certificate() {
    let (server, pebble, _) = start("http-01");
    let repo = Repo::new(&[("Procfile", "web: exec sleep 9999\n")]);
    let hasty = json!({ "hosts": ["never.example.org"], "health_check": { "boot_timeout": "2s" } });
    let never = with(document("never", &repo), hasty);
    let answer = server.send_and_wait("POST", "/applications", &never);
    assert!(answer.status >= 400, "{}", answer.text());
    // The next name is ordered: so the one before it would have been.
    let repo = web_repo("1");
    server.deploy(&shop(&repo));
    wait_until_valid(&server);
    assert_eq!(pebble.orders(), 1, "{}", server.log());
}
