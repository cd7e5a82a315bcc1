//! More or fewer processes in the batch that serves: the others run on untouched (pure).

use std::collections::BTreeSet;

use super::{Active, BatchId, Cause, Command, End, Lifecycle, OpId, Role, Stage};
use crate::process::worker::Phase;

/// A change of how many processes the serving batch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resize {
    batch: BatchId,
    /// Those that must get ready.
    added: BTreeSet<String>,
    /// Set when one of them did not. What leaves is awaited all the same: a name is free again only when it is gone.
    failed: Option<Cause>,
}

impl Lifecycle {
    /// The serving batch should have exactly `wanted`.
    pub(super) fn resized(&mut self, op: OpId, wanted: &[String], out: &mut Vec<Command>) {
        if !self.is_building(op) {
            return;
        }
        let Some(batch) = self.batches.iter_mut().find(|b| b.role == Role::Serving) else {
            return self.finish(End::Failed(Cause::Build, None), out);
        };
        let is_new = |id: &&String| !batch.processes.contains_key(*id);
        let added: BTreeSet<String> = wanted.iter().filter(is_new).cloned().collect();
        let is_gone = |id: &&String| !wanted.contains(id);
        let removed: Vec<String> = batch.processes.keys().filter(is_gone).cloned().collect();
        batch.leaving.extend(removed.iter().cloned());
        for id in &added {
            batch.processes.insert(id.clone(), Phase::Starting);
        }
        let batch = batch.id;
        if !removed.is_empty() {
            out.push(Command::Shrink { batch, removed });
        }
        if !added.is_empty() {
            let added = added.iter().cloned().collect();
            out.push(Command::Grow { batch, op, added });
        }
        out.push(Command::Publish);
        self.set_stage(Stage::Resizing(Resize {
            batch,
            added,
            failed: None,
        }));
        self.finish_resize(out);
    }

    /// One of the added processes ended, or all had their time.
    pub(super) fn resize_failed(&mut self, cause: Cause, out: &mut Vec<Command>) {
        if let Some(Stage::Resizing(resize)) = self.active.as_mut().map(|a| &mut a.stage) {
            resize.failed.get_or_insert(cause);
        }
        self.finish_resize(out);
    }

    /// Whether `id` is a process that a change at work has added to `batch`.
    pub(super) fn is_added(&self, batch: BatchId, id: &str) -> bool {
        self.resize()
            .is_some_and(|r| r.batch == batch && r.added.contains(id))
    }

    /// Those of the added processes that are not ready.
    pub(super) fn late_additions(&self) -> Vec<String> {
        let Some(resize) = self.resize() else {
            return vec![];
        };
        let late = self.not_ready(resize.batch);
        late.into_iter()
            .filter(|id| resize.added.contains(id))
            .collect()
    }

    /// Ends the change once what leaves is gone, and what came is ready or has failed.
    pub(super) fn finish_resize(&mut self, out: &mut Vec<Command>) {
        let Some(resize) = self.resize() else {
            return;
        };
        let batch = self.batches.iter().find(|b| b.id == resize.batch);
        if batch.is_some_and(|b| !b.leaving.is_empty()) {
            return;
        }
        let end = match &resize.failed {
            Some(cause) => End::Failed(cause.clone(), Some(resize.batch)),
            None if self.late_additions().is_empty() => End::Done,
            None => return,
        };
        self.finish(end, out);
    }

    fn resize(&self) -> Option<&Resize> {
        match self.active.as_ref()? {
            Active {
                stage: Stage::Resizing(resize),
                ..
            } => Some(resize),
            _ => None,
        }
    }
}
