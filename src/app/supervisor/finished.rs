//! Processes that ended and, by their `restart`, are not started again. A fresh actor, and the next server after a
//! crash of this one, must not run a task a second time. A new batch runs it again: after a start, restart or deploy,
//! an orderly stop of the server or a reboot. So does a scale that adds the process.

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

    /// How a process ended that must not be started again.
    pub(super) fn finished(&self, batch: BatchId, id: &str) -> Option<ExitRecord> {
        let is_it = |f: &&Finished| f.batch == batch && f.id == id;
        self.finished.iter().find(is_it).map(|f| f.exit.clone())
    }

    pub(super) fn forget_finished(&mut self, are: impl Fn(&Finished) -> bool) {
        let before = self.finished.len();
        self.finished.retain(|f| !are(f));
        if self.finished.len() != before {
            self.remember();
        }
    }
}
