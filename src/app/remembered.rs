//! [`Remembered`]: what an app remembers over a restart of the daemon, its `state.json`.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::finished::Finished;
use super::lifecycle::Wanted;
use super::pushed_commits::PushedCommit;
use crate::app_dirs::AppDirs;
use crate::durable;
use crate::regular;

/// It has two documents at most.
const MAX_STATE: u64 = 4 << 20;

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What the user last asked for.
    pub wanted: Wanted,
    /// It is to run, and sleeps until a request comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asleep: bool,
    pub current: Option<u64>,
    /// Names the document whose deploy has ended, well or not, or which a rollback passed over: it is not deployed
    /// again only because it differs from that of the current release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// The document whose scale and route stand: the newest one, but for what a deploy that failed left out. It is not
    /// there when it is the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<serde_json::Value>,
    /// Releases that were made, or are being made, and have never been ready. Of a file without it each is proven.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unproven: BTreeSet<u64>,
    /// Commits that were pushed and are being deployed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushed: Vec<PushedCommit>,
    /// Processes that ended and are not started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished: Vec<Finished>,
    /// Whether its removal, when that is wanted, keeps `storage/`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_storage: bool,
    /// When the app was created: where several apps match a host, the oldest wins.
    pub created: jiff::Timestamp,
    /// When a document last gave up a secret. Of a file without it that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_since: Option<jiff::Timestamp>,
    /// The end of its pause, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<jiff::Timestamp>,
}

impl Remembered {
    /// An app that is new.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wanted: Wanted::Running,
            asleep: false,
            current: None,
            settled: None,
            standing: None,
            unproven: BTreeSet::new(),
            pushed: Vec::new(),
            finished: Vec::new(),
            keep_storage: false,
            created: jiff::Timestamp::now(),
            secrets_since: None,
            paused_until: None,
        }
    }

    /// Reads `state.json`; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// The file is there but cannot be read or is damaged; a damaged one is set aside as `state.json.damaged`.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let damage = match regular::read(path, MAX_STATE) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(state) => return Ok(Some(state)),
                Err(e) => e.to_string(),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => e.to_string(),
            Err(e) => return Err(e),
        };
        Err({
            let aside = path.with_extension("json.damaged");
            let kept = std::fs::rename(path, &aside);
            let place = if kept.is_ok() {
                format!(", set aside as {}", aside.display())
            } else {
                String::new()
            };
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged ({damage}){place}", path.display()),
            )
        })
    }

    /// Writes `state.json`, and makes the app's directory where there is none yet. Blocks.
    ///
    /// # Errors
    /// It cannot be written; the file is what it was.
    pub fn store(&self, dirs: &AppDirs) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(dirs.root())?;
        durable::replace(&dirs.state(), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_state_is_set_aside_and_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.json");
        std::fs::write(&path, "{\"wanted\": \"run").unwrap();
        let error = Remembered::load(&path).unwrap_err().to_string();
        assert!(error.contains("state.json.damaged"), "{error}");
        assert_eq!(Remembered::load(&path).unwrap(), None);
    }
}
