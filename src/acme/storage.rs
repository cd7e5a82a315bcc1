//! [`Storage`]: what is kept of one CA: `DATA/certificates/ISSUER/NAME/{cert.pem,key.pem,meta.json}`, and while an order
//! is open `order.json` and `order-key.pem`. Directories are 0700, files 0600. All of this blocks.
//!
//! A daemon that is killed goes on with the same order: its key is written before it is asked for, its URL before
//! anything is done for it. A new certificate comes before its key, in one rename, and [`Storage::load`] takes the pair
//! up wherever it was left.
//!
//! A damaged file costs what it told and nothing else: it is put aside as `NAME.damaged`.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::challenges::Answer;
use super::schedule::{Attempts, Window};
use crate::tls::certificate::{Certificate, CertificateError, Source};
use crate::tls::server_config::provider;
use crate::{durable, failpoint, regular};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 256 * 1024;

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const META: &str = "meta.json";
const ORDER: &str = "order.json";
const ORDER_KEY: &str = "order-key.pem";
const ACCOUNT: &str = "account.json";
const ACCOUNT_KEY: &str = "account-key.der";

/// The files of one CA.
#[derive(Clone, Debug)]
pub struct Storage {
    directory: PathBuf,
}

/// What cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}", path = path.display())]
pub struct StorageError {
    path: PathBuf,
    error: io::Error,
}

/// What is known of a name beside its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Meta {
    pub attempts: Attempts,
    /// When the CA wants the certificate to be renewed.
    pub window: Option<Window>,
    /// When it is asked for that again.
    pub ask_again: Option<Timestamp>,
}

/// An order that is not over.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenOrder {
    pub url: String,
    pub answers: Vec<Answer>,
}

/// All that is kept of a name.
#[derive(Debug, Default)]
pub struct Kept {
    pub certificate: Option<Certificate>,
    pub meta: Meta,
    pub order: Option<OpenOrder>,
    /// Why the certificate that lies there cannot be used.
    pub error: Option<String>,
}

impl Storage {
    /// Those of the CA with this directory, in the server's data directory.
    #[must_use]
    pub fn new(data: &Path, directory: &str) -> Self {
        Self {
            directory: data.join("certificates").join(issuer(directory)),
        }
    }

    /// Reads what is kept of a name, and completes the exchange of a certificate that was cut off.
    ///
    /// # Errors
    /// A file cannot be read, or a name cannot be repaired.
    pub fn load(&self, name: &str) -> Result<Kept, StorageError> {
        // What it tells is not worth a certificate.
        let meta = self.read_json(&self.path(name, META));
        let meta = meta.unwrap_or_else(|error| {
            log::error!("{error}");
            None
        });
        let mut order = self.order(name)?;
        let has_order_key = self.order_key(name)?.is_some();
        let mut read = self.certificate(name, KEY)?;
        if has_order_key
            && !matches!(read, Ok(Some(_)))
            && let Ok(Some(certificate)) = self.certificate(name, ORDER_KEY)?
        {
            self.take_order_key(name)?;
            read = Ok(Some(certificate));
            order = None;
        }
        if order.is_none() || !has_order_key {
            self.forget_order(name)?;
            order = None;
        }
        let (certificate, error) = match read {
            Ok(certificate) => (certificate, None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Kept {
            certificate,
            meta: meta.unwrap_or_default(),
            order,
            error,
        })
    }

    /// # Errors
    /// As `open(2)` and so on.
    pub fn save_meta(&self, name: &str, meta: &Meta) -> Result<(), StorageError> {
        self.write_json(&self.path(name, META), meta)
    }

    /// The key of the order that is open, in PEM.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn order_key(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        read(&self.path(name, ORDER_KEY))
    }

    /// Keeps the key of an order that will be made.
    ///
    /// # Errors
    /// As `open(2)` and so on.
    pub fn save_order_key(&self, name: &str, pem: &str) -> Result<(), StorageError> {
        self.write(&self.path(name, ORDER_KEY), pem.as_bytes())
    }

    /// # Errors
    /// As `open(2)` and so on.
    pub fn order(&self, name: &str) -> Result<Option<OpenOrder>, StorageError> {
        self.read_json(&self.path(name, ORDER))
    }

    /// # Errors
    /// As `open(2)` and so on.
    pub fn save_order(&self, name: &str, order: &OpenOrder) -> Result<(), StorageError> {
        self.write_json(&self.path(name, ORDER), order)
    }

    /// Puts the chain (PEM) and the key of the order in the place of the old ones.
    ///
    /// # Errors
    /// As `open(2)` and so on; [`Storage::load`] finds what is whole.
    pub fn install(&self, name: &str, chain: &str) -> Result<(), StorageError> {
        self.write(&self.path(name, CERTIFICATE), chain.as_bytes())?;
        self.take_order_key(name)?;
        self.forget_order(name)
    }

    /// Removes the order, the URL first: a key alone is nothing.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn forget_order(&self, name: &str) -> Result<(), StorageError> {
        remove(&self.path(name, ORDER))?;
        remove(&self.path(name, ORDER_KEY))
    }

    /// The credentials of the account, as instant-acme writes them.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn account<T: DeserializeOwned>(&self) -> Result<Option<T>, StorageError> {
        self.read_json(&self.directory.join(ACCOUNT))
    }

    /// # Errors
    /// As `open(2)` and so on.
    pub fn save_account(&self, credentials: &impl Serialize) -> Result<(), StorageError> {
        self.write_json(&self.directory.join(ACCOUNT), credentials)
    }

    /// The CA knows it no more; its key stays.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn forget_account(&self) -> Result<(), StorageError> {
        remove(&self.directory.join(ACCOUNT))
    }

    /// Puts the key of the account aside, which is damaged.
    ///
    /// # Errors
    /// As `rename(2)`.
    pub fn put_account_key_aside(&self) -> Result<(), StorageError> {
        put_aside(&self.directory.join(ACCOUNT_KEY), "no key")
    }

    /// The key of the account, in PKCS #8.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn account_key(&self) -> Result<Option<Vec<u8>>, StorageError> {
        read(&self.directory.join(ACCOUNT_KEY))
    }

    /// # Errors
    /// As `open(2)` and so on.
    pub fn save_account_key(&self, key: &[u8]) -> Result<(), StorageError> {
        self.write(&self.directory.join(ACCOUNT_KEY), key)
    }

    fn path(&self, name: &str, file: &str) -> PathBuf {
        // No label ends with `_`, so that this is no other name's.
        let name = name.replacen('*', "wildcard_", 1);
        self.directory.join(name).join(file)
    }

    fn certificate(
        &self,
        name: &str,
        key: &str,
    ) -> Result<Result<Option<Certificate>, CertificateError>, StorageError> {
        let (chain, key) = (
            read(&self.path(name, CERTIFICATE))?,
            read(&self.path(name, key))?,
        );
        let (Some(chain), Some(key)) = (chain, key) else {
            return Ok(Ok(None));
        };
        Ok(Certificate::from_pem(&chain, &key, Source::Acme, &provider()).map(Some))
    }

    fn take_order_key(&self, name: &str) -> Result<(), StorageError> {
        let (from, to) = (self.path(name, ORDER_KEY), self.path(name, KEY));
        failpoint::reach_file("before", &to);
        let renamed = std::fs::rename(&from, &to)
            .and_then(|()| durable::sync_directory(to.parent().unwrap_or(&self.directory)));
        renamed.map_err(|error| StorageError {
            path: to.clone(),
            error,
        })?;
        failpoint::reach_file("after", &to);
        Ok(())
    }

    /// `None` also for a file that is damaged: it is put aside.
    fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StorageError> {
        let Some(bytes) = read(path)? else {
            return Ok(None);
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            // Where in the file it stops making sense; what it holds may be secret.
            Err(error) => {
                let place = format!("line {}, column {}", error.line(), error.column());
                put_aside(path, &place)?;
                Ok(None)
            }
        }
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), StorageError> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| StorageError {
            path: path.to_owned(),
            error: error.into(),
        })?;
        bytes.push(b'\n');
        self.write(path, &bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        let parent = path.parent().unwrap_or(&self.directory);
        let written = make(parent).and_then(|()| durable::replace(path, bytes, 0o600));
        written.map_err(|error| StorageError {
            path: path.to_owned(),
            error,
        })
    }
}

/// Makes a directory and those above it, for us alone.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => durable::sync_directory(directory.parent().unwrap_or(directory)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match regular::read(path, LARGEST) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Renames a damaged file, so that a person can look at it and nobody is stopped by it.
fn put_aside(path: &Path, why: &str) -> Result<(), StorageError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    log::error!(
        "{} is damaged ({why}): it is put aside, as {}",
        path.display(),
        Path::new(&aside).display()
    );
    std::fs::rename(path, &aside).map_err(|error| StorageError {
        path: path.to_owned(),
        error,
    })
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError {
            path: path.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}

/// The name of a CA's directory: its URL without `https://`, with all that is unusual in file names as `-`.
fn issuer(directory: &str) -> String {
    let rest = directory
        .split_once("://")
        .map_or(directory, |(_, rest)| rest);
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name: String = rest
        .chars()
        .map(|c| if usual(c) { c } else { '-' })
        .collect();
    // Neither `..` nor a file that is hidden.
    match name.trim_matches(['.', '-']) {
        "" => "ca".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A chain and its key.
    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        (
            parameters.self_signed(&key).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    fn storage(home: &tempfile::TempDir) -> Storage {
        Storage::new(home.path(), "https://ca.test:14000/dir")
    }

    fn order() -> OpenOrder {
        OpenOrder {
            url: "https://ca.test/order/1".to_owned(),
            answers: vec![],
        }
    }

    #[test]
    fn files_are_ours_alone_below_the_name_of_the_ca() {
        let home = tempfile::tempdir().unwrap();
        let storage = storage(&home);
        storage.save_meta("*.a.test", &Meta::default()).unwrap();
        let directory = home.path().join("certificates/ca.test-14000-dir");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("wildcard_.a.test")), 0o700);
        assert_eq!(mode(&directory.join("wildcard_.a.test/meta.json")), 0o600);
        for (url, name) in [
            ("https://x.test/", "x.test"),
            ("https://../..", "ca"),
            ("https://x.test/../y", "x.test-..-y"),
        ] {
            assert_eq!(issuer(url), name);
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_whole_wherever_the_exchange_was_cut_off() {
        let home = tempfile::tempdir().unwrap();
        let storage = storage(&home);
        let (first, second) = (made("a.test"), made("a.test"));
        storage.save_order_key("a.test", &first.1).unwrap();
        storage.save_order("a.test", &order()).unwrap();
        let kept = storage.load("a.test").unwrap();
        assert!(kept.certificate.is_none());
        assert_eq!(kept.order, Some(order()));
        storage.install("a.test", &first.0).unwrap();
        let has = |chain: &str| {
            let kept = storage.load("a.test").unwrap();
            let expected = read(&storage.path("a.test", CERTIFICATE)).unwrap().unwrap();
            assert_eq!(expected, chain.as_bytes());
            assert!(kept.certificate.is_some(), "{:?}", kept.error);
            kept.order
        };
        assert_eq!(has(&first.0), None);

        storage.save_order_key("a.test", &second.1).unwrap();
        storage.save_order("a.test", &order()).unwrap();
        assert_eq!(has(&first.0), Some(order()));
        // Cut off before the key.
        let path = storage.path("a.test", CERTIFICATE);
        storage.write(&path, second.0.as_bytes()).unwrap();
        assert_eq!(has(&second.0), None, "nothing is left to be ordered");
        assert_eq!(storage.order_key("a.test").unwrap(), None);
        // Cut off behind the key.
        storage.save_order("a.test", &order()).unwrap();
        assert_eq!(has(&second.0), None);
        assert_eq!(storage.order("a.test").unwrap(), None);
    }

    #[test]
    fn a_damaged_file_costs_no_certificate_and_is_put_aside() {
        let home = tempfile::tempdir().unwrap();
        let storage = storage(&home);
        let (chain, key) = made("a.test");
        storage.save_order_key("a.test", &key).unwrap();
        storage.install("a.test", &chain).unwrap();
        for damaged in ["", "{\"attempts\": 7}", "\u{0}\u{0}", "{\"attempts\":"] {
            for file in [META, ORDER] {
                let path = storage.path("a.test", file);
                storage.write(&path, damaged.as_bytes()).unwrap();
                let kept = storage.load("a.test").unwrap();
                assert!(kept.certificate.is_some(), "{file}: {damaged:?}");
                assert_eq!((kept.meta, kept.order), (Meta::default(), None));
                let aside = path.with_extension("json.damaged");
                assert_eq!(std::fs::read_to_string(aside).unwrap(), damaged);
                assert!(!path.exists());
            }
        }
        let path = storage.path("a.test", META);
        std::fs::create_dir(&path).unwrap();
        assert!(storage.load("a.test").unwrap().certificate.is_some());
        std::fs::remove_dir(&path).unwrap();
        storage.save_meta("a.test", &Meta::default()).unwrap();
        assert!(storage.load("a.test").unwrap().certificate.is_some());
    }

    #[test]
    fn a_key_alone_is_no_order_and_a_broken_certificate_is_told() {
        let home = tempfile::tempdir().unwrap();
        let storage = storage(&home);
        let (chain, key) = made("a.test");
        storage.save_order_key("a.test", &key).unwrap();
        assert_eq!(storage.load("a.test").unwrap().order, None);
        storage.save_order_key("a.test", &made("a.test").1).unwrap();
        storage.install("a.test", &chain).unwrap();
        let error = storage.load("a.test").unwrap().error.unwrap();
        assert!(error.contains("not the one of the certificate"), "{error}");
    }
}
