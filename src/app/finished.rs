//! [`FinishedProcesses`]: processes that ended and, by their `restart`, are not started again (pure).
//!
//! A fresh actor, and the next server after a crash of this one, must not run a task a second time. A new batch runs it
//! again: after a start, restart or deploy, an orderly stop of the server or a reboot. So does a scale that adds the
//! process.

use serde::{Deserialize, Serialize};

use super::lifecycle::BatchId;
use crate::exit_status::ExitRecord;

/// A process that ended and is not started again, as its `restart` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub batch: BatchId,
    pub release: u64,
    /// `console.1`.
    pub id: String,
    pub exit: ExitRecord,
    /// `/proc/sys/kernel/random/boot_id`: batches are counted anew after a reboot.
    pub boot_id: String,
}

#[derive(Debug, Default)]
pub struct FinishedProcesses {
    all: Vec<Finished>,
    /// `/proc/sys/kernel/random/boot_id`.
    boot_id: String,
}

impl FinishedProcesses {
    /// Takes over what the previous server noted of the `current` release, unless the machine was started anew since.
    #[must_use]
    pub fn recovered(mut all: Vec<Finished>, boot_id: String, current: Option<u64>) -> Self {
        all.retain(|f| f.boot_id == boot_id && Some(f.release) == current);
        Self { all, boot_id }
    }

    #[must_use]
    pub fn all(&self) -> &[Finished] {
        &self.all
    }

    /// Notes the end of process `id` of `batch`, which runs `release`.
    pub fn note(&mut self, batch: BatchId, release: u64, id: &str, exit: &ExitRecord) {
        self.forget(|f| f.batch == batch && f.id == id);
        self.all.push(Finished {
            batch,
            release,
            id: id.to_owned(),
            exit: exit.clone(),
            boot_id: self.boot_id.clone(),
        });
    }

    /// How a process ended that must not be started again.
    #[must_use]
    pub fn exit(&self, batch: BatchId, id: &str) -> Option<&ExitRecord> {
        let is_it = |f: &&Finished| f.batch == batch && f.id == id;
        self.all.iter().find(is_it).map(|f| &f.exit)
    }

    /// Returns whether there were any.
    pub fn forget(&mut self, are: impl Fn(&Finished) -> bool) -> bool {
        let before = self.all.len();
        self.all.retain(|f| !are(f));
        self.all.len() != before
    }
}
