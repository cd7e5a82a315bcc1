//! The record of a deployment, `deployments/N.json`. The API shows it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;

use serde::{Deserialize, Serialize};

use crate::app_dirs::AppDirs;
use crate::durable;
use crate::events::By;
use crate::regular;

/// How many records of an app are kept.
pub const KEPT: usize = 50;

/// A larger file is not a record of ours; bytes. A record has some 10 KiB at most, because reasons and tails are
/// bounded.
const MAX_RECORD: u64 = 1024 * 1024;

/// A step of a deploy, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Packages,
    Fetch,
    Checkout,
    Install,
    /// The Procfile's `release:` command.
    Release,
    /// The image of the release, for an engine whose machines fetch one.
    Image,
    /// Start the new processes and wait until they are ready.
    Start,
    Stop,
}

impl Step {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Fetch => "fetch",
            Self::Checkout => "checkout",
            Self::Install => "install",
            Self::Release => "release",
            Self::Image => "image",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Waits for the one before it.
    Waiting,
    Running,
    Succeeded,
    /// Over, see `failure`.
    Failed,
    /// A newer one took its place before it began.
    Superseded,
    Cancelled,
    /// The daemon ended during it.
    Interrupted,
}

impl DeploymentState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// One step of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    pub step: Step,
    pub started: jiff::Timestamp,
    /// How long it took; only once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Why a deployment failed, so that a person can act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {reason}", step = step.name())]
pub struct Failure {
    pub step: Step,
    pub reason: String,
    /// Exit code of the command that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines of output.
    pub log_tail: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// Grows by one per deployment of an app.
    pub id: u64,
    pub state: DeploymentState,
    /// The release it makes (or made).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// Full commit id, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who asked for it; `None`: it is of an older server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    pub started: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<jiff::Timestamp>,
    pub steps: Vec<StepRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Replaces the record of this id, and removes the oldest records beyond [`KEPT`]. Blocks.
///
/// # Errors
/// As [`durable::replace`]; the old record is intact then.
pub fn store(dirs: &AppDirs, record: &DeploymentRecord) -> io::Result<()> {
    let directory = dirs.deployments();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let text = serde_json::to_vec_pretty(record)?;
    durable::replace(&directory.join(format!("{}.json", record.id)), &text, 0o600)?;
    let ids = ids(dirs);
    for id in &ids[..ids.len().saturating_sub(KEPT)] {
        // If it fails, the next record tries again.
        let _ = std::fs::remove_file(directory.join(format!("{id}.json")));
    }
    Ok(())
}

/// All kept records, oldest first. A damaged one is left out and named in the server's log. Blocks.
#[must_use]
pub fn load_all(dirs: &AppDirs) -> Vec<DeploymentRecord> {
    let mut records = Vec::new();
    for id in ids(dirs) {
        let path = dirs.deployments().join(format!("{id}.json"));
        let parsed = regular::read_nofollow(&path, MAX_RECORD)
            .and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .and_then(|text| Ok(serde_json::from_slice::<DeploymentRecord>(&text)?));
        match parsed {
            Ok(record) if record.id == id => records.push(record),
            Ok(record) => log::warn!("{} is the record of {}", path.display(), record.id),
            Err(error) => log::warn!("{} is left out: {error}", path.display()),
        }
    }
    records
}

fn ids(dirs: &AppDirs) -> Vec<u64> {
    let entries = std::fs::read_dir(dirs.deployments()).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut ids: Vec<u64> = names
        .filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;

    fn record(id: u64) -> DeploymentRecord {
        DeploymentRecord {
            id,
            state: DeploymentState::Failed,
            release: Some(3),
            commit: None,
            by: Some(By::account(0)),
            started: jiff::Timestamp::UNIX_EPOCH,
            finished: Some(jiff::Timestamp::UNIX_EPOCH),
            steps: vec![StepRecord {
                step: Step::Fetch,
                started: jiff::Timestamp::UNIX_EPOCH,
                seconds: Some(0.5),
            }],
            failure: Some(Failure::new(Step::Fetch, "no").hint("yes")),
        }
    }

    #[test]
    fn records_come_back_as_they_were_and_only_the_last_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let dirs = AppDirs::new(home.path(), home.path(), &AppName::parse("a").unwrap());
        assert!(load_all(&dirs).is_empty());
        for id in 1..=60 {
            store(&dirs, &record(id)).unwrap();
        }
        store(&dirs, &record(60)).unwrap();
        std::fs::write(dirs.deployments().join("30.json"), "{").unwrap();
        let loaded = load_all(&dirs);
        assert_eq!(loaded.len(), KEPT - 1);
        assert_eq!(loaded.first().map(|r| r.id), Some(11));
        assert_eq!(loaded.last(), Some(&record(60)));
    }
}
