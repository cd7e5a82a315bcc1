//! [`OneOffRecord`]: a process that runs once, as it is on disk, and [`Written`]: all of them.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CRON;
use crate::app::cron::Seen;
use crate::app::lifecycle::BatchId;
use crate::app_dirs::AppDirs;
use crate::durable;
use crate::exit_status::ExitRecord;
use crate::regular;

const LARGEST_FILE: u64 = 16 << 20;

/// A one-off process, as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOffRecord {
    /// Never given twice: it is the batch of its OS process.
    pub number: BatchId,
    /// `run.3`.
    pub id: String,
    pub command: String,
    /// Of the command alone; secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    pub release: u64,
    pub attached: bool,
    /// In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    pub created: jiff::Timestamp,
    /// The time of its schedule, of a run of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<jiff::Timestamp>,
    /// The machine of a swarm that it is, or was, on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitRecord>,
}

impl OneOffRecord {
    /// `run` of `run.3`.
    #[must_use]
    pub fn process_type(&self) -> &str {
        self.id.split('.').next().unwrap_or_default()
    }

    /// Of which only the last that ended are kept.
    pub(super) fn series(&self) -> &str {
        match self.process_type() {
            CRON => &self.id,
            of_type => of_type,
        }
    }

    /// How long it may still run.
    #[must_use]
    pub fn time_left(&self, now: jiff::Timestamp) -> Option<Duration> {
        let limit = Duration::from_secs(self.timeout?);
        // A clock that was set back lengthens no limit.
        let ran = now
            .duration_since(self.created)
            .max(jiff::SignedDuration::ZERO);
        Some(limit.saturating_sub(ran.unsigned_abs()))
    }
}

/// What the server remembers of them: `runs.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub(super) next: BatchId,
    pub(super) next_run: u64,
    pub(super) all: Vec<OneOffRecord>,
    #[serde(default, skip_serializing_if = "Seen::is_empty")]
    pub seen: Seen,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            next: 1,
            next_run: 1,
            all: vec![],
            seen: Seen::new(),
        }
    }
}

impl Written {
    /// Reads the file; of a damaged one nothing is known. Blocks.
    #[must_use]
    pub fn load(dirs: &AppDirs) -> Self {
        let path = dirs.runs();
        let read = regular::read(&path, LARGEST_FILE)
            .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other));
        match read {
            Ok(written) => written,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(e) => {
                log::error!("{}: {e}: the runs in it are forgotten", path.display());
                Self::default()
            }
        }
    }

    /// Blocks.
    ///
    /// # Errors
    /// The file is what it was.
    pub fn store(&self, dirs: &AppDirs) -> io::Result<()> {
        durable::replace(&dirs.runs(), &serde_json::to_vec(self)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_lengthens_a_time_limit() {
        let record = OneOffRecord {
            number: 1,
            id: "run.1".to_owned(),
            command: "true".to_owned(),
            env: BTreeMap::new(),
            release: 1,
            attached: false,
            timeout: Some(60),
            created: jiff::Timestamp::UNIX_EPOCH,
            due: None,
            node: None,
            exit: None,
        };
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        assert_eq!(record.time_left(at(20)), Some(Duration::from_secs(40)));
        assert_eq!(record.time_left(at(-500)), Some(Duration::from_secs(60)));
        assert_eq!(record.time_left(at(500)), Some(Duration::ZERO));
    }
}
