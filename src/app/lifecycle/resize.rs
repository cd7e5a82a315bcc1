//! Changes how many processes the serving batch has; the other processes run on untouched (pure).

use std::collections::BTreeSet;

use super::{Active, BatchId, Cause, Command, End, Lifecycle, OpId, Role, Stage};
use crate::process::phase::Phase;

/// A change of how many processes the serving batch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resize {
    batch: BatchId,
    /// Processes that must get ready.
    added: BTreeSet<String>,
    /// Processes that leave once all added ones are ready.
    surplus: Vec<String>,
    /// Set when an added process did not get ready. Then all added ones leave, and the change ends only when they are
    /// gone: until then their names are not free.
    failed: Option<Cause>,
}

impl Lifecycle {
    /// Gives the serving batch exactly the processes `wanted`.
    pub(super) fn resized(&mut self, op: OpId, wanted: &[String], out: &mut Vec<Command>) {
        if !self.is_building(op) {
            return;
        }
        let Some(batch) = self.batches.iter_mut().find(|b| b.role == Role::Serving) else {
            return self.finish(End::Failed(Cause::Build, None), out);
        };
        batch.aside.retain(|id| wanted.contains(id));
        let is_new = |id: &&String| !batch.processes.contains_key(*id);
        let added: BTreeSet<String> = wanted.iter().filter(is_new).cloned().collect();
        let is_gone = |id: &&String| !wanted.contains(id);
        let surplus: Vec<String> = batch.processes.keys().filter(is_gone).cloned().collect();
        for id in &added {
            batch.processes.insert(id.clone(), Phase::Starting);
        }
        let batch = batch.id;
        if !added.is_empty() {
            let added = added.iter().cloned().collect();
            out.push(Command::Grow { batch, op, added });
        }
        out.push(Command::Publish);
        self.set_stage(Stage::Resizing(Resize {
            batch,
            added,
            surplus,
            failed: None,
        }));
        self.finish_resize(out);
    }

    /// Takes the change back: an added process ended, or was not ready in time.
    pub(super) fn resize_failed(&mut self, cause: Cause, out: &mut Vec<Command>) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let Stage::Resizing(resize) = &mut active.stage else {
            return;
        };
        if resize.failed.is_some() {
            return;
        }
        out.push(Command::Explain(active.op, cause.clone(), resize.batch));
        resize.failed = Some(cause);
        let (batch, added) = (resize.batch, resize.added.iter().cloned().collect());
        self.shrink(batch, added, out);
        self.finish_resize(out);
    }

    fn shrink(&mut self, id: BatchId, removed: Vec<String>, out: &mut Vec<Command>) {
        if let Some(batch) = self.batches.iter_mut().find(|b| b.id == id) {
            batch.leaving.extend(removed.iter().cloned());
        }
        out.push(Command::Shrink { batch: id, removed });
        self.hurry_resize(out);
    }

    /// Cuts the drain of leaving processes short once another operation waits for this one.
    pub(super) fn hurry_resize(&self, out: &mut Vec<Command>) {
        let Some(resize) = self.resize().filter(|_| self.waiting.is_some()) else {
            return;
        };
        let mut leaving = self.batches.iter().filter(|b| !b.leaving.is_empty());
        if leaving.any(|b| b.id == resize.batch) {
            out.push(Command::EndDrain(resize.batch));
        }
    }

    /// Whether the change at work has added process `id` to `batch`.
    pub(super) fn is_added(&self, batch: BatchId, id: &str) -> bool {
        self.resize()
            .is_some_and(|r| r.batch == batch && r.added.contains(id))
    }

    /// Added processes that are not ready.
    pub(super) fn late_additions(&self) -> Vec<String> {
        let Some(resize) = self.resize() else {
            return vec![];
        };
        let late = self.not_ready(resize.batch);
        late.into_iter()
            .filter(|id| resize.added.contains(id))
            .collect()
    }

    /// Takes the next step of the change once leaving processes are gone, up to its end.
    pub(super) fn finish_resize(&mut self, out: &mut Vec<Command>) {
        let Some(resize) = self.resize() else {
            return;
        };
        let batch = self.batches.iter().find(|b| b.id == resize.batch);
        if batch.is_some_and(|b| !b.leaving.is_empty()) {
            return;
        }
        match &resize.failed {
            Some(cause) => {
                let end = End::Failed(cause.clone(), Some(resize.batch));
                self.finish(end, out);
            }
            None if !self.late_additions().is_empty() => {}
            None if resize.surplus.is_empty() => self.finish(End::Done, out),
            None => {
                // One of them may have made way before, and be gone by now.
                let is_there = |id: &&String| batch.is_some_and(|b| b.processes.contains_key(*id));
                let surplus = resize.surplus.iter().filter(is_there).cloned().collect();
                let batch = resize.batch;
                self.set_stage(Stage::Resizing(Resize {
                    batch,
                    added: BTreeSet::new(),
                    surplus: vec![],
                    failed: None,
                }));
                self.shrink(batch, surplus, out);
                out.push(Command::Publish);
            }
        }
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
