//! Processes that make way: they must not run beside their successors, so they end before the new batch starts, and
//! come back if that does not get ready (pure).

use super::{Command, Lifecycle, Role, Stage};

impl Lifecycle {
    /// Ends these processes of the serving batch; the next batch starts only after that.
    pub(super) fn make_way(&mut self, ids: Vec<String>, out: &mut Vec<Command>) {
        let Some(batch) = self.batches.iter_mut().find(|b| b.role == Role::Serving) else {
            return;
        };
        let runs = |id: &String| batch.processes.contains_key(id) && !batch.leaving.contains(id);
        let removed: Vec<String> = ids.into_iter().filter(runs).collect();
        if removed.is_empty() {
            return;
        }
        batch.leaving.extend(removed.iter().cloned());
        batch.aside.extend(removed.iter().cloned());
        let batch = batch.id;
        out.push(Command::MakeWay { batch, removed });
    }

    /// Whether a process that makes way is not gone yet.
    pub(super) fn awaits_way(&self) -> bool {
        let mut serving = self.batches.iter().filter(|b| b.role == Role::Serving);
        serving.any(|b| !b.leaving.is_empty())
    }

    /// Starts the processes again that made way for a batch which is gone, unless another batch is about to start.
    pub(super) fn call_back(&mut self, out: &mut Vec<Command>) {
        let comes = |stage: &Stage| {
            matches!(
                stage,
                Stage::MakingRoom(_) | Stage::Booting(_) | Stage::Clearing(_)
            )
        };
        let [batch] = &mut self.batches[..] else {
            return;
        };
        if batch.role != Role::Serving || self.active.as_ref().is_some_and(|a| comes(&a.stage)) {
            return;
        }
        let gone = batch.aside.difference(&batch.leaving);
        let back: Vec<String> = gone.cloned().collect();
        if back.is_empty() {
            return;
        }
        for id in &back {
            batch.aside.remove(id);
            batch.processes.insert(id.clone(), super::Phase::Starting);
        }
        let batch = batch.id;
        out.push(Command::CallBack { batch, back });
        out.push(Command::Publish);
    }
}
