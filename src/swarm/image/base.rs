//! [`Base`]: the record of the lowest layers of images, a root file system of this machine's Debian or an image that was
//! fetched.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::identity::Accounts;
use super::layer::Layer;
use super::pull::{Files, Pulled};
use crate::document::package::Package;
use crate::{durable, regular};

/// A later deploy makes a new one after this time, so that images get Debian's security updates.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of a record.
const LARGEST: u64 = 3 << 20;

/// A root file system in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The lowest layer.
    pub layer: Layer,
    /// Those above it, where it is an image that was fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    above: Vec<Layer>,
    /// The variables of that image, `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The packages of that image, `NAME=version`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    installed: BTreeSet<String>,
    /// Its `/etc/passwd` and `/etc/group`.
    passwd: String,
    group: String,
    pub(super) made: Timestamp,
}

impl Base {
    /// That of a record; `None`: there is none that this version reads. Blocks.
    pub(super) fn read(record: &Path) -> Option<Self> {
        let text = regular::read_nofollow(record, LARGEST).ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// Blocks.
    pub(super) fn write(&self, record: &Path) -> io::Result<()> {
        durable::replace(record, &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// From the lowest on.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.layer).chain(&self.above)
    }

    pub(super) fn is_in(&self, blobs: &Blobs) -> bool {
        self.layers().all(|layer| blobs.has(&layer.digest))
    }

    /// The packages that an image which was fetched does not have.
    #[must_use]
    pub fn lacks(&self, packages: &[Package]) -> Vec<String> {
        let has = |package: &Package| {
            let mut found = self
                .installed
                .iter()
                .filter_map(|known| known.split_once('='));
            found.any(|(name, version)| {
                let wanted = package.version.as_deref();
                name == package.name && wanted.is_none_or(|wanted| wanted == version)
            })
        };
        let lacking = packages.iter().filter(|package| !has(package));
        lacking.map(|package| package.name.clone()).collect()
    }

    /// A root file system that was made here.
    pub(super) fn new(layer: Layer, accounts: Accounts) -> Self {
        Self {
            layer,
            above: Vec::new(),
            env: Vec::new(),
            installed: BTreeSet::new(),
            passwd: accounts.passwd,
            group: accounts.group,
            made: Timestamp::now(),
        }
    }

    /// An image that was fetched.
    ///
    /// # Errors
    /// It has no layer.
    pub(super) fn of(pulled: Pulled) -> io::Result<Self> {
        let mut layers = pulled.layers.into_iter();
        let Some(layer) = layers.next() else {
            return Err(io::Error::other("it has no layer"));
        };
        let Files {
            passwd,
            group,
            status,
        } = pulled.files;
        Ok(Self {
            layer,
            above: layers.collect(),
            env: pulled.env,
            installed: status.as_deref().map(installed).unwrap_or_default(),
            // Without one, what runs there knows root by its number alone.
            passwd: passwd.unwrap_or_else(|| "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
            group: group.unwrap_or_else(|| "root:x:0:\n".to_owned()),
            made: Timestamp::now(),
        })
    }

    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Accounts {
            passwd: self.passwd.clone(),
            group: self.group.clone(),
        }
    }

    /// One with nothing but its accounts.
    #[cfg(test)]
    pub(super) fn bare(blobs: &Blobs) -> io::Result<Self> {
        use super::layer::{LayerWriter, Rights};

        let mut layer = LayerWriter::new(blobs)?;
        let accounts = "root:x:0:0::/root:/bin/sh\n";
        let content = (accounts.as_bytes(), accounts.len() as u64);
        layer.file("/etc/passwd".as_ref(), Rights::OF_ROOT, 0, content)?;
        let accounts = Accounts {
            passwd: accounts.to_owned(),
            group: String::new(),
        };
        Ok(Self::new(layer.store()?, accounts))
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.made).unsigned_abs();
        age < FRESH
    }
}

/// The packages that dpkg has installed, by its status file.
fn installed(status: &str) -> BTreeSet<String> {
    let stanzas = status.split("\n\n").filter_map(|stanza| {
        let field = |name: &str| {
            let mut lines = stanza.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let is_there = field("Status")?.ends_with(" installed");
        let (name, version) = (field("Package")?, field("Version")?);
        is_there.then(|| format!("{name}={version}"))
    });
    stanzas.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_one_is_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let base = Base {
            made: Timestamp::UNIX_EPOCH,
            ..Base::bare(&blobs).unwrap()
        };
        let day = jiff::SignedDuration::from_hours(24);
        assert!(base.is_fresh(Timestamp::UNIX_EPOCH + day * 6));
        assert!(!base.is_fresh(Timestamp::UNIX_EPOCH + day * 7));
    }

    #[test]
    fn an_image_has_the_packages_that_its_dpkg_says() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let status = "Package: jq\nStatus: install ok installed\nVersion: 1.6\nDescription: x\n more\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: held\nStatus: hold ok installed\nVersion: 2\n";
        let base = Base {
            installed: installed(status),
            ..Base::bare(&blobs).unwrap()
        };
        let lacks = |name, version| {
            let version = Option::map(version, str::to_owned);
            base.lacks(&[Package {
                name: str::to_owned(name),
                version,
            }])
        };
        assert_eq!(lacks("jq", None), [""; 0]);
        assert_eq!(lacks("jq", Some("1.6")), [""; 0]);
        assert_eq!(lacks("held", None), [""; 0]);
        assert_eq!(lacks("jq", Some("1.7")), ["jq"]);
        assert_eq!(lacks("gone", None), ["gone"]);
    }
}
