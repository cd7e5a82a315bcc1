//! Operations that are cancelled or fail while they boot: what they started goes, what ran before comes back (pure).

use super::{BatchId, BatchState, Cause, Command, End, Lifecycle, OpId, Role, Stage};

impl Lifecycle {
    /// Cancels the active operation and begins no other.
    pub(super) fn drop_active(&mut self, out: &mut Vec<Command>) {
        let Some(active) = self.active.take() else {
            return;
        };
        match active.stage {
            Stage::Building => out.push(Command::AbortBuild(active.op)),
            Stage::Booting(batch) => {
                self.end_batches(out, |b| b.id == batch && b.role == Role::Booting);
            }
            // None of these is undone: stopping processes stop, and added ones stay under supervision.
            Stage::Clearing(_) | Stage::MakingRoom(_) | Stage::Resizing(_) => {}
        }
        out.push(Command::Finish(active.op, End::Cancelled));
    }

    pub(super) fn cancel(&mut self, op: OpId, out: &mut Vec<Command>) {
        if self.waiting.is_some_and(|(waiting, _)| waiting == op) {
            self.waiting = None;
            out.push(Command::Finish(op, End::Cancelled));
            if let Some((_, active)) = self.active() {
                self.want(active.wants(), out);
            }
        } else if let Some(active) = self.active.as_ref().filter(|a| a.op == op) {
            match active.stage {
                // A change of scale ends soon, and its names are free only then.
                Stage::Resizing(_) => return,
                Stage::Booting(batch) => self.take_back(batch),
                Stage::Building | Stage::Clearing(_) | Stage::MakingRoom(_) => {}
            }
            let restores = self.active.as_ref().is_some_and(|a| a.restores);
            self.drop_active(out);
            self.next(restores, out);
        }
    }

    /// Gives the booting batch up, unless it is of the current release. If it serves already, the current release is
    /// started again afterwards.
    fn take_back(&mut self, batch: BatchId) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let current = self.current;
        let serves = |b: &&mut BatchState| b.id == batch && b.role == Role::Serving;
        let batch = self.batches.iter_mut().find(serves);
        if let Some(batch) = batch.filter(|b| Some(b.release) != current) {
            batch.role = Role::Booting;
            active.restores = true;
        }
    }

    pub(super) fn boot_failed(&mut self, batch: BatchId, cause: Cause, out: &mut Vec<Command>) {
        self.take_back(batch);
        self.end_batches(out, |b| b.id == batch && b.role == Role::Booting);
        self.finish(End::Failed(cause, Some(batch)), out);
    }
}
