//! [`CertificateFile`]: a certificate of the settings, read again when its files change.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::certificate::{Certificate, CertificateError, Source};
use crate::regular;

/// The largest file that is read, in bytes. A chain of ten certificates is a tenth of it.
const LARGEST: u64 = 256 * 1024;

/// Where a certificate lies. Both may be one file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, as in { cert = \"/etc/ssl/a.pem\", key = \"/etc/ssl/a.key\" }"
)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A certificate of the settings, and the last good state of it.
#[derive(Debug)]
pub struct CertificateFile {
    pair: Pair,
    /// What the files were when they were last read, well or not.
    seen: Option<[Fingerprint; 2]>,
    good: Option<Arc<Certificate>>,
    /// Why what lies there now cannot be used.
    error: Option<String>,
}

/// Changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why a certificate of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path}: {error}")]
    Certificate {
        path: PathBuf,
        error: CertificateError,
    },
}

impl CertificateFile {
    #[must_use]
    pub fn new(pair: Pair) -> Self {
        Self {
            pair,
            seen: None,
            good: None,
            error: None,
        }
    }

    /// The same, with what another had read of it before.
    #[must_use]
    pub fn that_had(mut self, good: Option<Arc<Certificate>>) -> Self {
        self.good = good;
        self
    }

    /// The last that could be read.
    #[must_use]
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.good.as_ref()
    }

    /// Why what lies there now cannot be used.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Reads the files if they changed; true if they did. What cannot be used leaves the last good one in place. Blocks.
    pub fn refresh(&mut self, provider: &CryptoProvider) -> bool {
        let now = self.fingerprints();
        if now.is_ok() && now.as_ref().ok() == self.seen.as_ref() {
            return false;
        }
        // What cannot be looked at is read again once it can, changed or not.
        if now.is_err() {
            self.seen = None;
        }
        let read = now.and_then(|now| {
            self.seen = Some(now);
            self.read(provider)
        });
        match read {
            Ok(certificate) => {
                self.good = Some(Arc::new(certificate));
                self.error = None;
                true
            }
            Err(error) => {
                let error = error.to_string();
                let is_new = self.error.as_ref() != Some(&error);
                self.error = Some(error);
                is_new
            }
        }
    }

    fn fingerprints(&self) -> Result<[Fingerprint; 2], FileError> {
        let of = |path: &PathBuf| match std::fs::metadata(path) {
            Ok(found) => Ok(Fingerprint::of(&found)),
            Err(error) => Err(FileError::Io {
                path: path.clone(),
                error,
            }),
        };
        Ok([of(&self.pair.cert)?, of(&self.pair.key)?])
    }

    fn read(&self, provider: &CryptoProvider) -> Result<Certificate, FileError> {
        let read = |path: &PathBuf| {
            regular::read(path, LARGEST).map_err(|error| FileError::Io {
                path: path.clone(),
                error,
            })
        };
        let (chain, key) = (read(&self.pair.cert)?, read(&self.pair.key)?);
        let certificate = Certificate::from_pem(&chain, &key, Source::File, provider);
        certificate.map_err(|error| {
            let is_of_key = matches!(error, CertificateError::NoKey | CertificateError::Key(_));
            let path = if is_of_key {
                &self.pair.key
            } else {
                &self.pair.cert
            };
            FileError::Certificate {
                path: path.clone(),
                error,
            }
        })
    }
}

impl Fingerprint {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::tls::server_config::provider;

    #[test]
    fn a_file_that_changes_is_read_again_and_a_broken_one_keeps_the_last_good_one() {
        let home = tempfile::tempdir().unwrap();
        let pair = Pair {
            cert: home.path().join("cert.pem"),
            key: home.path().join("key.pem"),
        };
        let write = |name: &str| {
            let made = generate_simple_self_signed([name.to_owned()]).unwrap();
            fs::write(&pair.cert, made.cert.pem()).unwrap();
            fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
        };
        let name = |file: &CertificateFile| file.certificate().unwrap().names[0].clone();
        let provider = provider();
        let mut file = CertificateFile::new(pair.clone());

        assert!(file.refresh(&provider));
        let told = file.error().unwrap();
        assert!(told.contains("cert.pem: No such file"), "{told}");
        assert!(!file.refresh(&provider), "told once");

        write("a.test");
        assert!(file.refresh(&provider));
        assert_eq!((name(&file).as_str(), file.error()), ("a.test", None));
        assert!(!file.refresh(&provider), "nothing changed");

        fs::write(&pair.cert, "rubbish").unwrap();
        assert!(file.refresh(&provider));
        assert!(
            file.error()
                .unwrap()
                .contains("cert.pem: it holds no certificate")
        );
        assert_eq!(name(&file), "a.test");

        write("b.test");
        assert!(file.refresh(&provider));
        assert_eq!((name(&file).as_str(), file.error()), ("b.test", None));

        let aside = home.path().join("aside");
        fs::rename(&pair.cert, &aside).unwrap();
        assert!(file.refresh(&provider) && file.error().is_some());
        fs::rename(&aside, &pair.cert).unwrap();
        assert!(file.refresh(&provider));
        assert_eq!((name(&file).as_str(), file.error()), ("b.test", None));
    }
}
