//! Certificates of a certificate authority, through the server's front door: what an app's `hosts` lead to.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::command::{finish, procserver};
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

/// Whether a client that trusts this certificate can shake hands for [`NAME`].
fn answers(port: u16, trusted: &CertificateDer<'static>) -> bool {
    connect_at(port, &trusting(std::slice::from_ref(trusted)), NAME).is_ok()
}

#[test]
fn an_app_that_wants_no_more_certificates_keeps_the_one_that_it_has() {
    let (mut server, pebble, port) = start("http-01");
    let repo = web_repo("1");
    server.deploy(&shop(&repo));
    wait_until_valid(&server);
    let authority = chain(&server).pop().unwrap();
    let change = json!({ "tls": { "acme": false } });
    server
        .send_and_wait("PATCH", "/applications/shop", &change)
        .expect(200);
    let row = eventually("it is not renewed any more", SOON, || {
        Some(row(&server)).filter(|row| row["next_attempt"].is_null())
    });
    assert_eq!(row["state"], "valid", "{row}");
    assert!(answers(port, &authority));
    let renew = format!("/certificates/{NAME}/renew");
    let refused = server.request("POST", &renew).send(&server.public());
    refused.expect(404);
    server.terminate();
    server.start_again();
    eventually("so it is with the next server", SOON, || {
        answers(port, &authority).then_some(())
    });
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn a_name_that_a_certificate_file_covers_is_not_ordered() {
    let (mut server, pebble, port) = start("http-01");
    let directory = server.directory().to_owned();
    let made = rcgen::generate_simple_self_signed(["*.example.org".to_owned()]).unwrap();
    std::fs::write(directory.join("own.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("own.key"), made.signing_key.serialize_pem()).unwrap();
    server.terminate();
    let [cert, key] = ["own.pem", "own.key"].map(|file| directory.join(file).display().to_string());
    server.set_flag("--tls-certificate", &format!("{cert},{key}"));
    server.start_again();
    let repo = web_repo("1");
    let hosts = json!({ "hosts": [NAME, "shop.example.net"] });
    server.deploy(&with(document("shop", &repo), hosts));
    let rows = eventually("the other name has a certificate", SOON * 3, || {
        let rows = server.get("/certificates").expect(200).json();
        let valid =
            |row: &Value| row["names"] == json!(["shop.example.net"]) && row["state"] == "valid";
        rows.as_array().unwrap().iter().any(valid).then_some(rows)
    });
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    assert_eq!(pebble.orders(), 1);
    assert!(answers(port, made.cert.der()));
}

#[test]
fn a_name_is_renewed_however_it_is_written() {
    let (server, pebble, _) = start("http-01");
    let repo = web_repo("1");
    let hosts = json!({ "hosts": ["bücher.example.org"] });
    server.deploy(&with(document("shop", &repo), hosts));
    wait_until_valid(&server);
    for (name, orders) in ["BÜCHER.example.org", "xn--BCHER-kva.example.org."]
        .into_iter()
        .zip(2..)
    {
        let mut renew = procserver();
        renew.args(["certs", "renew", name, "--json"]).env(
            "PROCSERVER_URL",
            format!("unix:{}", server.socket().display()),
        );
        let told = finish(&mut renew).success();
        assert!(told.contains("\"xn--bcher-kva.example.org\""), "{told}");
        eventually("it is ordered", SOON * 3, || {
            (pebble.orders() == orders).then_some(())
        });
        wait_until_valid(&server);
        eventually("it is there", SOON, || {
            (server.log().matches("it is valid until").count() == orders).then_some(())
        });
    }
    let renew = "/certificates/B%C3%9CCHER.example.org/renew";
    let accepted = server.request("POST", renew).send(&server.public());
    accepted.expect(202);
    let wildcard = server.request("POST", "/certificates/*.example.org/renew");
    wildcard.send(&server.public()).expect(404);
}
