//! The processes that ended and are not started again, as their `restart` says: a fresh actor, and the next server after a
//! crash of this one, must not run a task a second time. A start, restart or deploy makes a new batch, and so does a server
//! that starts after an orderly stop or a reboot; a scale that adds the process runs it anew too.

use super::App;
use crate::app::lifecycle::BatchId;
use crate::app::remembered::Finished;
use crate::exit_status::ExitRecord;

impl App {
    /// Notes the end of a process that is not started again.
    pub(super) fn note_finished(&mut self, batch: BatchId, id: &str, exit: &ExitRecord) {
        let Some(release) = self.batches.get(&batch).map(|b| b.runnable.id()) else {
            return;
        };
        self.forget_finished(|f| f.batch == batch && f.id == id);
        self.finished.push(Finished {
            batch,
            release,
            id: id.to_owned(),
            exit: exit.clone(),
            boot_id: self.boot_id.clone(),
        });
        self.remember();
    }

    /// How a process ended before, if it is not to be started again.
    pub(super) fn finished(&self, batch: BatchId, id: &str) -> Option<ExitRecord> {
        let is_it = |f: &&Finished| f.batch == batch && f.id == id;
        self.finished.iter().find(is_it).map(|f| f.exit.clone())
    }

    /// Forgets those that `are` not of interest any more.
    pub(super) fn forget_finished(&mut self, are: impl Fn(&Finished) -> bool) {
        let before = self.finished.len();
        self.finished.retain(|f| !are(f));
        if self.finished.len() != before {
            self.remember();
        }
    }
}
