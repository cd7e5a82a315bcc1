//! The steps of an operation, in their order (pure): it begins, its release is built, what must be gone first is
//! cleared, a batch is spawned, and promoted when all its processes are ready.
//!
//! A deploy takes all of them. A start, a restart and a rollback load a release instead of building one. Strategy
//! `recreate` clears before it builds. A stop, a sleep and a removal are done when everything is cleared. Between two steps the
//! operation waits in its [`Stage`] for an event.

use std::collections::BTreeSet;

use super::{
    Active, BatchId, BatchState, Command, End, Kind, Lifecycle, OpId, Phase, Ready, Replaces, Role,
    Stage,
};

impl Lifecycle {
    /// Commands the first work: to build or load the release, or to end what runs.
    pub(super) fn begin(&mut self, op: OpId, kind: Kind, out: &mut Vec<Command>) {
        self.wanted = kind.wants();
        let clear_first = !matches!(
            kind,
            Kind::Deploy { recreate: false } | Kind::Activate { .. } | Kind::Configure
        );
        let stage = if clear_first {
            Stage::Clearing(None)
        } else {
            Stage::Building
        };
        self.active = Some(Active {
            op,
            kind,
            stage,
            restores: matches!(kind, Kind::Deploy { .. }),
        });
        out.push(Command::Remember);
        match kind {
            Kind::Activate { release } => out.push(Command::Load(op, release)),
            Kind::Configure => out.push(Command::Configure(op)),
            Kind::Deploy { recreate: false } => out.push(Command::Build(op)),
            Kind::Deploy { recreate: true } | Kind::Stop | Kind::Sleep | Kind::Remove => {
                self.drain_all(out);
                self.cleared(out);
            }
        }
        out.push(Command::Publish);
    }

    /// The release is on disk. Ends what must not run beside it: every batch, only some processes, or only a batch that
    /// still drains, as there are two batches at most.
    pub(super) fn built(
        &mut self,
        op: OpId,
        ready: Ready,
        replaces: Replaces,
        out: &mut Vec<Command>,
    ) {
        // A batch without a ready process (it crashes, or never listened) protects nobody by staying.
        let worth_keeping = self.is_of_use();
        let Some(active) = self
            .active
            .as_mut()
            .filter(|a| a.op == op && a.stage == Stage::Building)
        else {
            return;
        };
        if (replaces == Replaces::All || !worth_keeping) && !self.batches.is_empty() {
            active.stage = Stage::Clearing(Some(ready));
            active.restores |= worth_keeping;
            self.drain_all(out);
            self.cleared(out);
        } else {
            self.set_stage(Stage::MakingRoom(ready));
            if let Replaces::These(ids) = replaces {
                self.make_way(ids, out);
            }
            self.end_batches(out, |b| b.role == Role::Draining);
        }
    }

    /// Goes on with an operation that has waited for batches to end, once they are gone. Is called whenever one may be.
    pub(super) fn cleared(&mut self, out: &mut Vec<Command>) {
        let only_serving = self.batches.iter().all(|b| b.role == Role::Serving);
        let has_room = only_serving && !self.awaits_way();
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let ready = match &mut active.stage {
            Stage::Clearing(ready) if self.batches.is_empty() => ready.take(),
            Stage::MakingRoom(ready) if has_room => Some(ready.clone()),
            _ => return,
        };
        match (ready, active.kind) {
            (Some(ready), _) => self.spawn(ready, out),
            (None, Kind::Deploy { .. } | Kind::Activate { .. } | Kind::Configure) => {
                active.stage = Stage::Building;
                let op = active.op;
                out.push(Command::Build(op));
            }
            (None, Kind::Stop | Kind::Sleep | Kind::Remove) => self.finish(End::Done, out),
        }
    }

    /// Starts the batch: beside the one that serves, or in its place where none does.
    fn spawn(&mut self, ready: Ready, out: &mut Vec<Command>) {
        let Some(op) = self.active.as_ref().map(|a| a.op) else {
            return;
        };
        let id = self.next_batch;
        self.next_batch += 1;
        let role = if self.serving().is_some() {
            Role::Booting
        } else {
            Role::Serving
        };
        let processes = ready
            .processes
            .into_iter()
            .map(|p| (p, Phase::Starting))
            .collect();
        self.batches.push(BatchState {
            id,
            release: ready.release,
            role,
            processes,
            leaving: BTreeSet::new(),
            aside: BTreeSet::new(),
        });
        self.set_stage(Stage::Booting(id));
        out.push(Command::Spawn { batch: id, op });
        out.push(Command::Publish);
        self.promote(id, out);
    }

    /// Makes the batch the one that serves, once all its processes are ready, and drains the one before it.
    pub(super) fn promote(&mut self, batch: BatchId, out: &mut Vec<Command>) {
        if !self.is_booting(batch) || !self.not_ready(batch).is_empty() {
            return;
        }
        for old in self
            .batches
            .iter_mut()
            .filter(|b| b.role == Role::Serving && b.id != batch)
        {
            old.role = Role::Draining;
            out.push(Command::Drain(old.id));
        }
        if let Some(new) = self.batches.iter_mut().find(|b| b.id == batch) {
            new.role = Role::Serving;
            let release = new.release;
            self.set_current(release, out);
        }
        out.push(Command::Publish);
        self.finish(End::Done, out);
    }

    fn set_current(&mut self, release: u64, out: &mut Vec<Command>) {
        if self.current.replace(release) != Some(release) {
            out.push(Command::Remember);
        }
    }
}
