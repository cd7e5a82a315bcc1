//! [`CertificateStore`]: the actor that alone publishes certificates.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use jiff::Timestamp;
use tokio::sync::watch;

use super::certificate::Certificate;
use super::certificates::Certificates;
use super::files::{CertificateFile, Pair};
use super::server_config::provider;
use crate::supervision::Shutdown;

/// How often the files of the settings are looked at. Renewal tools replace links and directories anywhere above a
/// file, which no watch of one directory tells.
const LOOK: Duration = Duration::from_secs(2);

/// What is published: to handshakes, and to who tells users.
#[derive(Debug)]
pub struct Published {
    pub certificates: watch::Sender<Arc<Certificates>>,
    /// Those of the settings, the default last.
    pub files: watch::Sender<Vec<FileState>>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            certificates: watch::channel(Arc::default()).0,
            files: watch::channel(Vec::new()).0,
        }
    }
}

/// A certificate of the settings.
#[derive(Clone, Debug)]
pub struct FileState {
    /// The last that could be read.
    pub certificate: Option<Arc<Certificate>>,
    /// Why what lies there now cannot be used.
    pub error: Option<String>,
}

impl FileState {
    fn of(file: &CertificateFile) -> Self {
        Self {
            certificate: file.certificate().cloned(),
            error: file.error().map(str::to_owned),
        }
    }
}

/// The certificates that the settings name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    pub pairs: Vec<Pair>,
    /// Answers clients that ask for a name without a certificate, or for none.
    pub default: Option<Pair>,
}

/// The actor that alone publishes certificates. What it published outlives it.
#[derive(Debug)]
pub struct CertificateStore {
    /// Away while a blocking thread reads them, and where there are none.
    files: Option<Files>,
    /// Those of a CA, where there is one.
    acme: Option<watch::Receiver<Vec<Arc<Certificate>>>>,
    /// Those of the CA are to be published when the files are back.
    is_stale: bool,
    /// When the next certificate begins or ends to be valid: others may be better from then on.
    next_change: Option<Timestamp>,
    published: Arc<Published>,
}

#[derive(Debug)]
struct Files {
    named: Vec<CertificateFile>,
    default: Option<CertificateFile>,
}

impl CertificateStore {
    /// What was published before is the last good state of the files: at the start of the server, and before a restart
    /// of this actor.
    #[must_use]
    pub fn new(configured: Configured, published: Arc<Published>) -> Self {
        let files = Files::new(configured).that_had(&published.files.borrow());
        Self {
            files: Some(files).filter(|files| files.all().next().is_some()),
            acme: None,
            is_stale: false,
            next_change: None,
            published,
        }
    }

    /// The same with certificates of a CA.
    #[must_use]
    pub fn that_takes(mut self, acme: watch::Receiver<Vec<Arc<Certificate>>>) -> Self {
        self.acme = Some(acme);
        self.is_stale = true;
        // Without files there would be no look at all, and the first publishes.
        let none = || Files::new(Configured::default());
        self.files.get_or_insert_with(none);
        self
    }

    /// Publishes those of the CA whenever they change.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        let Some(mut acme) = self.acme.clone() else {
            return;
        };
        let changed = async move { acme.changed().await.is_ok() };
        ctx.spawn(changed.into_actor(self).map(|is_changed, store, ctx| {
            if !is_changed {
                return;
            }
            if let Some(acme) = &mut store.acme {
                acme.mark_unchanged();
            }
            match store.files.take() {
                Some(files) => {
                    store.publish(&files);
                    store.files = Some(files);
                }
                None => store.is_stale = true,
            }
            store.follow(ctx);
        }));
    }

    fn publish(&mut self, files: &Files) {
        let issued = self.acme.as_ref().map(|acme| acme.borrow().clone());
        self.next_change = self.published.publish(files, issued.unwrap_or_default());
    }

    /// Reads the files that changed, on a blocking thread, and publishes what they hold.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(mut files) = self.files.take() else {
            return;
        };
        let reading = tokio::task::spawn_blocking(move || {
            let changed = files.refresh();
            (files, changed)
        });
        ctx.spawn(reading.into_actor(self).map(|read, store, ctx| match read {
            Ok((files, changed)) => {
                let is_over = store
                    .next_change
                    .is_some_and(|change| change <= Timestamp::now());
                if changed || is_over || std::mem::take(&mut store.is_stale) {
                    store.publish(&files);
                }
                store.files = Some(files);
                ctx.run_later(LOOK, Self::look);
            }
            Err(error) => {
                log::error!("certificates could not be read: {error}");
                ctx.stop();
            }
        }));
    }
}

impl Published {
    /// Reads what the settings name, so that the first handshake finds it. Blocks.
    pub fn read(&self, configured: &Configured) {
        let mut files = Files::new(configured.clone());
        files.refresh();
        self.publish(&files, Vec::new());
    }

    /// Returns when the next certificate begins or ends to be valid.
    fn publish(&self, files: &Files, issued: Vec<Arc<Certificate>>) -> Option<Timestamp> {
        let states: Vec<FileState> = files.all().map(FileState::of).collect();
        let told = self.files.send_replace(states.clone());
        for error in states.iter().filter_map(|state| state.error.as_ref()) {
            if !told.iter().any(|told| told.error.as_ref() == Some(error)) {
                log::warn!(
                    "certificate: {error}; the last good one, if there is one, stays in use until this is mended"
                );
            }
        }
        let named: Vec<Arc<Certificate>> = files
            .named
            .iter()
            .filter_map(CertificateFile::certificate)
            .cloned()
            .chain(issued)
            .collect();
        let default = files
            .default
            .as_ref()
            .and_then(CertificateFile::certificate)
            .cloned();
        let now = Timestamp::now();
        let certificates = Certificates::new(&named, default, now);
        self.certificates.send_replace(Arc::new(certificates));
        let changes = named.iter().flat_map(|one| [one.not_before, one.not_after]);
        changes.filter(|change| *change > now).min()
    }
}

impl Files {
    fn new(configured: Configured) -> Self {
        Self {
            named: configured
                .pairs
                .into_iter()
                .map(CertificateFile::new)
                .collect(),
            default: configured.default.map(CertificateFile::new),
        }
    }

    /// The same with what the files of the same settings held before.
    fn that_had(mut self, states: &[FileState]) -> Self {
        let mut states = states.iter().map(|state| state.certificate.clone());
        let mut filled = |file: CertificateFile| file.that_had(states.next().flatten());
        self.named = self.named.into_iter().map(&mut filled).collect();
        self.default = self.default.map(filled);
        self
    }

    fn all(&self) -> impl Iterator<Item = &CertificateFile> {
        self.named.iter().chain(&self.default)
    }

    fn refresh(&mut self) -> bool {
        let provider = provider();
        let all = self.named.iter_mut().chain(&mut self.default);
        // All are looked at, also behind one that changed.
        let changed = all.filter_map(|file| file.refresh(&provider).then_some(()));
        changed.count() > 0
    }
}

impl Actor for CertificateStore {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        self.follow(ctx);
    }
}

impl Handler<Shutdown> for CertificateStore {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd, generate_simple_self_signed};

    use super::*;
    use crate::tls::certificate::Source;
    use crate::tls::files::Pair;

    fn made(name: &str) -> Arc<Certificate> {
        let made = generate_simple_self_signed([name.to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let read =
            Certificate::from_pem(chain.as_bytes(), key.as_bytes(), Source::Acme, &provider());
        Arc::new(read.unwrap())
    }

    #[actix::test]
    async fn a_store_that_starts_beside_a_broken_file_keeps_what_was_read_of_it_before() {
        let home = tempfile::tempdir().unwrap();
        let pair = |name: &str| {
            let pair = Pair {
                cert: home.path().join(format!("{name}.pem")),
                key: home.path().join(format!("{name}.key")),
            };
            let made = generate_simple_self_signed([name.to_owned()]).unwrap();
            std::fs::write(&pair.cert, made.cert.pem()).unwrap();
            std::fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
            pair
        };
        let configured = Configured {
            pairs: vec![pair("a.test"), pair("b.test")],
            default: Some(pair("c.test")),
        };
        let published = Arc::new(Published::default());
        published.read(&configured);
        for name in ["b.test", "c.test"] {
            std::fs::write(home.path().join(format!("{name}.key")), "rubbish").unwrap();
        }
        let mut states = published.files.subscribe();
        let _store = CertificateStore::new(configured, Arc::clone(&published)).start();
        let is_broken =
            |states: &Vec<FileState>| states[1].error.is_some() && states[2].error.is_some();
        states.wait_for(is_broken).await.unwrap();
        let certificates = published.certificates.borrow().clone();
        assert!(certificates.find("a.test").is_some());
        assert!(certificates.find("b.test").is_some());
        assert!(certificates.choose(Some("x.test")).is_some());
    }

    #[actix::test]
    async fn a_file_that_has_expired_gives_way_to_a_certificate_of_the_ca() {
        let home = tempfile::tempdir().unwrap();
        let pair = Pair {
            cert: home.path().join("cert.pem"),
            key: home.path().join("key.pem"),
        };
        let mut parameters = CertificateParams::new(["a.test".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2021, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = parameters.self_signed(&key).unwrap().pem();
        std::fs::write(&pair.cert, chain).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();

        let ordered = made("a.test");
        let (sender, acme) = watch::channel(Vec::new());
        let published = Arc::new(Published::default());
        let configured = Configured {
            pairs: vec![pair],
            default: None,
        };
        let store = CertificateStore::new(configured, Arc::clone(&published));
        let _store = store.that_takes(acme).start();
        let mut seen = published.certificates.subscribe();
        // While there is nothing better it answers: its clients see what is wrong.
        let first = seen.wait_for(|all| all.find("a.test").is_some()).await;
        assert_eq!(first.unwrap().find("a.test").unwrap().source, Source::File);
        sender.send_replace(vec![Arc::clone(&ordered)]);
        seen.changed().await.unwrap();
        let all = seen.borrow_and_update().clone();
        assert!(Arc::ptr_eq(all.find("a.test").unwrap(), &ordered));
    }

    #[actix::test]
    async fn certificates_of_a_ca_are_published_at_once_and_when_they_change() {
        let (sender, acme) = watch::channel(vec![made("a.test")]);
        let published = Arc::new(Published::default());
        let store = CertificateStore::new(Configured::default(), Arc::clone(&published));
        let _store = store.that_takes(acme).start();
        let mut seen = published.certificates.subscribe();
        seen.wait_for(|all| all.find("a.test").is_some())
            .await
            .unwrap();
        sender.send_replace(vec![made("b.test")]);
        let all = seen.wait_for(|all| all.find("b.test").is_some());
        assert!(all.await.unwrap().find("a.test").is_none());
    }
}
