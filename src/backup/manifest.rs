//! The first and the last entry of a backup.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::name::AppName;

/// The format that this version writes, and the newest that it reads. Since 2 it has the code of applications that are
/// pushed to, secrets of webhooks, and ssh keys.
pub const FORMAT: u32 = 2;

/// The first entry: what is in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of procserver that made it.
    pub procserver: String,
    pub created: Timestamp,
    /// Names of applications; all of the server's, or those that were asked for.
    pub applications: Vec<String>,
    /// Whether it is one of the whole server: with token, certificates and settings.
    pub whole: bool,
    /// The certificates that the settings name, in the order of `tls/N`.
    #[serde(default)]
    pub certificates: Vec<NamedFiles>,
}

/// Where the files of a certificate were on the old machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFiles {
    pub cert: String,
    pub key: String,
}

/// The last entry: that all of it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Of all entries before this one, see [`super::digest`]; empty where the backup failed.
    pub sha256: String,
    /// Why the server could not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    #[serde(default)]
    pub applications: Vec<Copied>,
}

/// How the storage of an application was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    pub name: String,
    pub files: u64,
    pub bytes: u64,
    /// How long its processes were paused; 0: they were not.
    pub paused_ms: u64,
    /// What a person should know of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// At most so many notes of an application are kept.
const MOST_NOTES: usize = 20;

impl Copied {
    #[must_use]
    pub fn of(name: &AppName) -> Self {
        Self {
            name: name.to_string(),
            ..Self::default()
        }
    }

    /// Adds a note, once, unless there are many.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        } else if self.notes.len() == MOST_NOTES {
            self.notes.push("and more of that kind".into());
        }
    }
}
