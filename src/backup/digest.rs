//! [`EntryDigest`]: one SHA-256 over all entries of a backup, as they are meant (pure).

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::place::Kind;

/// What of an entry stands before its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    pub size: u64,
    /// Where a link leads; empty for others.
    pub target: Vec<u8>,
}

/// Path, kind, mode, time, size, target and content of every entry, in their order.
#[derive(Clone, Default)]
pub struct EntryDigest(Sha256);

impl EntryDigest {
    /// Begins the next entry.
    pub fn begin(&mut self, head: &Head) {
        self.0.update([head.kind.code()]);
        for bytes in [&head.path, &head.target] {
            self.0.update((bytes.len() as u64).to_be_bytes());
            self.0.update(bytes);
        }
        self.0.update(u64::from(head.mode).to_be_bytes());
        self.0.update(head.mtime.to_be_bytes());
        self.0.update(head.size.to_be_bytes());
    }

    /// The next piece of its content.
    pub fn content(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal digits.
    #[must_use]
    pub fn so_far(&self) -> String {
        let digest = self.0.clone().finalize();
        digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}
