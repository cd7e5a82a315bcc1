//! Certificates from a real CA.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Actor as _;
use futures::FutureExt as _;
use procserver::acme::acme::{Acme, AcmeSpec, NotWanted, Renew};
use procserver::acme::authority::Authority;
use procserver::acme::challenges::{Challenges, PublishedChallenges};
use procserver::acme::error::OrderError;
use procserver::acme::precheck::Precheck;
use procserver::acme::settings::{ExternalAccount, Method, Settings};
use procserver::acme::status::{Results, Row, State};
use procserver::acme::storage::Storage;
use procserver::acme::wish::{Wish, Wishes};
use procserver::supervision::Shutdown;
use procserver::tls::certificate::Certificate;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::support::pebble::{Pebble, spare_port};
use crate::support::setup::write_script;
use crate::support::wait::SOON;

/// A CA, what is kept of it, and the front that it looks at.
struct World {
    pebble: Pebble,
    home: tempfile::TempDir,
    challenges: Arc<PublishedChallenges>,
    port: u16,
}

impl World {
    fn new() -> Self {
        Self::with(json!({}))
    }

    /// One whose CA has more in its configuration.
    fn with(more: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let challenges = Arc::new(PublishedChallenges::default());
        listener.set_nonblocking(true).unwrap();
        actix_rt::spawn(serve(listener, challenges.subscribe()));
        Self {
            pebble: Pebble::start(port, spare_port(), more),
            home: tempfile::tempdir().unwrap(),
            challenges,
            port,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            email: Some("admin@example.org".to_owned()),
            directory: self.pebble.directory(),
            root_ca: Some(self.pebble.root()),
            ..Settings::default()
        }
    }

    fn storage(&self) -> Storage {
        Storage::new(self.home.path(), &self.pebble.directory())
    }

    fn authority(&self, settings: Settings) -> Authority {
        self.authority_at(settings, self.port)
    }

    fn authority_at(&self, settings: Settings, port: u16) -> Authority {
        Authority::new(
            Arc::new(settings),
            self.storage(),
            Arc::clone(&self.challenges),
            self.precheck(port),
        )
    }

    fn spec(&self, wishes: watch::Receiver<Wishes>, results: &Arc<Results>) -> AcmeSpec {
        AcmeSpec {
            settings: Arc::new(self.settings()),
            storage: self.storage(),
            precheck: self.precheck(self.port),
            wishes,
            challenges: Arc::clone(&self.challenges),
            results: Arc::clone(results),
            events: procserver::events::Feed::default(),
        }
    }

    /// All names lead to 127.0.0.1, and the front is looked for at this port.
    fn precheck(&self, port: u16) -> Precheck {
        Precheck {
            look_up: Arc::new(|_| async { Ok(vec![[127, 0, 0, 1].into()]) }.boxed()),
            port,
        }
    }

    fn files_of(&self, name: &str) -> PathBuf {
        let certificates = self.home.path().join("certificates");
        let issuers: Vec<_> = std::fs::read_dir(certificates).unwrap().collect();
        assert_eq!(issuers.len(), 1);
        issuers[0].as_ref().unwrap().path().join(name)
    }
}

/// Answers the challenges that are published, as the front does.
async fn serve(listener: TcpListener, challenges: watch::Receiver<Arc<Challenges>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let body = challenges.borrow().body(path).map(str::to_owned);
        let (status, body) = match body {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", String::new()),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        // A CA that has seen enough goes away.
        let _gone = stream.write_all(answer.as_bytes()).await;
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[actix::test]
async fn a_name_gets_a_certificate_by_http_and_nothing_is_left_but_it() {
    let world = World::new();
    let authority = world.authority(world.settings());
    let first = authority.obtain("a.test", None).await.unwrap();
    assert_eq!(first.names, ["a.test"]);
    assert!(first.issuer.contains("Pebble"), "{}", first.issuer);
    let files = world.files_of("a.test");
    assert_eq!(names(&files), ["cert.pem", "key.pem"]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files), 0o700);
    assert_eq!(mode(&files.join("key.pem")), 0o600);
    let kept = world.storage().load("a.test").unwrap();
    assert_eq!(kept.certificate.unwrap().not_after, first.not_after);
    assert!(kept.order.is_none());

    // Another daemon has the same account, and a renewal another key.
    let fresh = world.authority(world.settings());
    let second = fresh.obtain("a.test", Some(&first)).await.unwrap();
    assert_ne!(first.key.cert[0], second.key.cert[0]);
    assert_eq!(world.pebble.accounts(), 1);
}

#[actix::test]
async fn a_name_that_leads_elsewhere_is_not_asked_for() {
    let world = World::new();
    let authority = world.authority_at(world.settings(), spare_port());
    let error = authority.obtain("a.test", None).await.unwrap_err();
    assert!(matches!(error, OrderError::Misled(_)), "{error}");
    assert_eq!(world.pebble.orders(), 0);
}

#[actix::test]
async fn a_name_that_the_ca_cannot_verify_is_told_and_leaves_nothing() {
    let world = World::new();
    let settings = Settings {
        method: Method::TlsAlpn,
        ..world.settings()
    };
    let authority = world.authority(settings);
    let error = authority.obtain("a.test", None).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, OrderError::Unverified(_)), "{told}");
    assert!(told.contains("tls-alpn-01"), "{told}");
    assert!(names(&world.files_of("a.test")).is_empty());
}

#[actix::test]
async fn a_wildcard_gets_a_certificate_by_the_program_that_sets_records() {
    let world = World::new();
    let (hook, calls) = (
        world.home.path().join("hook"),
        world.home.path().join("calls"),
    );
    let server = format!("http://127.0.0.1:{}", world.pebble.name_server());
    let script = format!(
        r#"#!/bin/sh
        echo "$1 $2" >> {}
        case $1 in
        present) curl -sSf -d "{{\"host\":\"$2.\",\"value\":\"$3\"}}" {server}/set-txt ;;
        cleanup) curl -sSf -d "{{\"host\":\"$2.\"}}" {server}/clear-txt ;;
        esac"#,
        calls.display()
    );
    write_script(&hook, &script);
    let error = world
        .authority(world.settings())
        .obtain("*.a.test", None)
        .await;
    assert!(matches!(error, Err(OrderError::NoHook)), "{error:?}");
    let settings = Settings {
        dns_hook: Some(hook),
        ..world.settings()
    };
    let authority = world.authority(settings);
    let made = authority.obtain("*.a.test", None).await.unwrap();
    assert_eq!(made.names, ["*.a.test"]);
    let calls = std::fs::read_to_string(calls).unwrap();
    assert_eq!(
        calls,
        "present _acme-challenge.a.test\ncleanup _acme-challenge.a.test\n"
    );
    assert_eq!(
        names(&world.files_of("wildcard_.a.test")),
        ["cert.pem", "key.pem"]
    );
}

#[actix::test]
async fn an_account_that_the_ca_keeps_elsewhere_is_bound() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let world = World::with(json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": key },
    }));
    let refused = world
        .authority(world.settings())
        .obtain("a.test", None)
        .await;
    assert!(
        matches!(refused, Err(OrderError::Refused(_))),
        "{refused:?}"
    );
    let settings = Settings {
        external_account: Some(ExternalAccount::new("kid-1".to_owned(), key).unwrap()),
        ..world.settings()
    };
    let authority = world.authority(settings);
    authority.obtain("a.test", None).await.unwrap();
}

#[actix::test]
async fn an_account_that_the_ca_has_forgotten_is_opened_again() {
    let mut world = World::new();
    let authority = world.authority(world.settings());
    authority.obtain("a.test", None).await.unwrap();
    world.pebble.restart();
    authority.obtain("a.test", None).await.unwrap();
}

/// Asks for a certificate for so long. When this returns nothing of it goes on: a runtime that is dropped waits for the
/// files that are being written, which a future that is dropped does not.
async fn cut_off(authority: Authority, limit: Duration) -> Option<Result<Certificate, OrderError>> {
    let attempt = move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let done = runtime.block_on(async {
            tokio::time::timeout(limit, authority.obtain("a.test", None)).await
        });
        done.ok()
    };
    actix_rt::task::spawn_blocking(attempt).await.unwrap()
}

#[actix::test]
async fn an_order_that_is_cut_off_again_and_again_stays_one_order() {
    let world = World::new();
    let mut lost = 0;
    let made = async {
        let mut limit = Duration::from_millis(40);
        loop {
            // As kill -9 of the daemon: nothing of this one goes on.
            let authority = world.authority(world.settings());
            // By a part, not by a time: however slow the machine is, all of them take a few times what the last takes.
            limit = limit.mul_f64(1.15);
            if let Some(done) = cut_off(authority, limit).await {
                return done.unwrap();
            }
            let storage = world.storage();
            let is_known = storage.order("a.test").unwrap().is_some();
            match storage.order_key("a.test").unwrap() {
                // The CA may have made an order whose URL was on its way.
                Some(_) => lost += usize::from(!is_known),
                // Cut off with its certificate in place: the next daemon has that, and orders none.
                None => {
                    if let Some(made) = storage.load("a.test").unwrap().certificate {
                        return made;
                    }
                }
            }
        }
    };
    let made = tokio::time::timeout(SOON * 9, made).await.unwrap();
    assert_eq!(made.names, ["a.test"]);
    assert_eq!(world.pebble.accounts(), 1);
    let orders = world.pebble.orders();
    assert!(
        (1..=1 + lost).contains(&orders),
        "{orders} orders, {lost} lost"
    );
}

/// Certificates for these are wanted.
fn ordered(names: &[&str]) -> Wishes {
    let names = names.iter().map(|&name| (name.to_owned(), Wish::Order));
    names.collect()
}

/// Waits until the certificates are as `wanted` says.
async fn until(
    certificates: &mut watch::Receiver<Vec<Arc<Certificate>>>,
    wanted: impl Fn(&[Arc<Certificate>]) -> bool,
) -> Vec<Arc<Certificate>> {
    let all = certificates.wait_for(|all| wanted(all));
    let all = tokio::time::timeout(SOON * 2, all).await;
    all.expect("certificates come").unwrap().clone()
}

#[actix::test]
async fn wanted_names_get_certificates_which_are_renewed_and_outlive_the_actor() {
    // Seconds: each is renewed after twenty.
    let world = World::with(json!({ "certificateValidityPeriod": 30 }));
    let (want, wanted) = watch::channel(ordered(&["a.test"]));
    let results = Arc::new(Results::default());
    let acme = Acme::new(world.spec(wanted.clone(), &results)).start();
    let mut certificates = results.certificates.subscribe();
    let first = until(&mut certificates, |all| all.len() == 1).await;
    want.send_replace(ordered(&["a.test", "b.test"]));
    let both = until(&mut certificates, |all| all.len() == 2).await;
    assert_eq!(first[0].not_after, both[0].not_after);
    let rows = results.rows.borrow().clone();
    assert!(rows.iter().all(|row| row.state == State::Valid), "{rows:?}");
    let due = rows[0].next_attempt.unwrap();
    assert!(due < first[0].not_after && due > first[0].not_before);
    let renewed = until(&mut certificates, |all| {
        all[0].not_after > first[0].not_after
    })
    .await;

    let refused = acme.send(Renew("c.test".to_owned())).await.unwrap();
    assert_eq!(refused, Err(NotWanted("c.test".to_owned())));
    acme.send(Renew("a.test".to_owned()))
        .await
        .unwrap()
        .unwrap();
    let asked = until(&mut certificates, |all| !Arc::ptr_eq(&all[0], &renewed[0])).await;
    acme.send(Shutdown).await.unwrap();

    let orders = world.pebble.orders();
    let later = Arc::new(Results::default());
    let _fresh = Acme::new(world.spec(wanted, &later)).start();
    let mut certificates = later.certificates.subscribe();
    let kept = until(&mut certificates, |all| all.len() == 2).await;
    assert_eq!(kept[0].not_after, asked[0].not_after);
    assert_eq!(world.pebble.orders(), orders);
}

#[actix::test]
async fn a_name_that_fails_is_told_with_its_reason_and_its_next_attempt() {
    let world = World::new();
    let (_want, wanted) = watch::channel(ordered(&["a.test"]));
    let results = Arc::new(Results::default());
    let spec = AcmeSpec {
        precheck: world.precheck(spare_port()),
        ..world.spec(wanted, &results)
    };
    let _acme = Acme::new(spec).start();
    let mut rows = results.rows.subscribe();
    let is_failing = |rows: &Vec<_>| {
        rows.first()
            .is_some_and(|row: &Row| row.state == State::Failing)
    };
    let found = tokio::time::timeout(SOON, rows.wait_for(is_failing)).await;
    let row = found.unwrap().unwrap()[0].clone();
    let error = row.error.unwrap();
    assert!(error.contains("cannot be reached"), "{error}");
    assert!(row.next_attempt.is_some());
    assert_eq!(world.pebble.orders(), 0);
}

#[actix::test]
async fn a_panic_within_an_attempt_is_its_failure_and_the_next_one_succeeds() {
    let world = World::new();
    let (_want, wanted) = watch::channel(ordered(&["a.test"]));
    let results = Arc::new(Results::default());
    let panics = Arc::new(AtomicBool::new(true));
    let precheck = Precheck {
        look_up: Arc::new(move |_| {
            let panics = panics.swap(false, Ordering::SeqCst);
            async move {
                assert!(!panics, "a bug of the library");
                Ok(vec![[127, 0, 0, 1].into()])
            }
            .boxed()
        }),
        port: world.port,
    };
    let spec = AcmeSpec {
        precheck,
        ..world.spec(wanted, &results)
    };
    let acme = Acme::new(spec).start();
    let mut rows = results.rows.subscribe();
    let is_failing = |rows: &Vec<Row>| rows.iter().any(|row| row.state == State::Failing);
    let found = tokio::time::timeout(SOON, rows.wait_for(is_failing)).await;
    let row = found.unwrap().unwrap()[0].clone();
    let error = row.error.unwrap();
    assert!(error.contains("cannot be used"), "{error}");
    acme.send(Renew("a.test".to_owned()))
        .await
        .unwrap()
        .unwrap();
    let mut certificates = results.certificates.subscribe();
    until(&mut certificates, |all| all.len() == 1).await;
}

#[actix::test]
async fn a_damaged_account_is_opened_again_by_its_key_and_without_a_key_another_is() {
    let world = World::new();
    world
        .authority(world.settings())
        .obtain("a.test", None)
        .await
        .unwrap();
    let account = world.files_of("account.json");
    std::fs::write(&account, "{\"id\":").unwrap();
    world
        .authority(world.settings())
        .obtain("b.test", None)
        .await
        .unwrap();
    assert_eq!(world.pebble.accounts(), 1);
    assert!(world.files_of("account.json.damaged").exists());

    std::fs::write(&account, "").unwrap();
    std::fs::write(world.files_of("account-key.der"), "rubbish").unwrap();
    world
        .authority(world.settings())
        .obtain("c.test", None)
        .await
        .unwrap();
    assert_eq!(world.pebble.accounts(), 2);
    assert!(world.files_of("account-key.der.damaged").exists());
}

#[actix::test]
async fn who_asks_while_something_else_is_done_for_the_name_gets_a_new_certificate() {
    let world = World::new();
    let (_want, wanted) = watch::channel(ordered(&["a.test"]));
    let results = Arc::new(Results::default());
    let acme = Acme::new(world.spec(wanted, &results)).start();
    let mut certificates = results.certificates.subscribe();
    let first = until(&mut certificates, |all| all.len() == 1).await;
    // Now it is asked when the CA wants a renewal, and what it says is written down.
    acme.send(Renew("a.test".to_owned()))
        .await
        .unwrap()
        .unwrap();
    until(&mut certificates, |all| !Arc::ptr_eq(&all[0], &first[0])).await;
    assert_eq!(world.pebble.orders(), 2);
}
