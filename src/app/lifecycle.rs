//! The life of an application: (state, event) → commands (pure).
//!
//! One *operation* (deploy, start, stop, restart, rollback, remove) is at work at a time. What it brings up is a
//! *batch*: the processes of one release, started together. At most one batch serves. A rolling operation boots a
//! new batch beside it and switches when that is ready; a recreating one ends the old batch first. There are two
//! batches at most: one that still drains is ended before the next is started.
//!
//! ```text
//! Booting ──all ready──▶ Serving ──superseded──▶ Draining ──drained──▶ Ending ──all stopped──▶ (gone)
//!    └──exit or time-out──────────────────────────────────────────────────▲
//! ```
//! A batch that boots while none serves is `Serving` from the start: requests wait for it. Its release is the current
//! one only once it is ready; when it does not get there nothing of it stays, and the current release, if there is one,
//! is started again. A batch of the current release stays under supervision whatever it does.
//!
//! The steps of an operation stand in `deploy`, in their order. `cancel` is how it ends before its last step, `resize`
//! a change of scale, `aside` what makes way for a new batch and comes back. Begin with [`Lifecycle::handle`].

mod aside;
mod cancel;
mod deploy;
mod protocol;
mod resize;

use std::collections::{BTreeMap, BTreeSet};

use crate::process::phase::Phase;

pub use protocol::{BatchId, Cause, Command, End, Event, Kind, OpId, Replaces, Role, Wanted};

use resize::Resize;

#[derive(Clone, Debug, PartialEq, Eq)]
struct BatchState {
    id: BatchId,
    release: u64,
    role: Role,
    processes: BTreeMap<String, Phase>,
    /// Processes that are stopping and not wanted any more.
    leaving: BTreeSet<String>,
    /// Processes that have made way for the next batch, or are about to.
    aside: BTreeSet<String>,
}

impl BatchState {
    fn is_of_use(&self) -> bool {
        let ready = self.processes.values().any(|phase| is_up(*phase));
        self.role == Role::Serving && (ready || self.processes.is_empty())
    }
}

/// Whether a process need not be waited for. One that has ended for good has done its work; if it has not,
/// [`Event::Process::exited`] says so.
fn is_up(phase: Phase) -> bool {
    matches!(phase, Phase::Ready | Phase::Finished)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The release is being made or loaded.
    Building,
    /// All batches must be gone before the build (`recreate`), the spawn or the end of a stop.
    Clearing(Option<Ready>),
    /// All batches but the serving one must be gone before the spawn, since there are never more than two. So must the
    /// processes of the serving batch that make way.
    MakingRoom(Ready),
    /// This batch must get ready.
    Booting(BatchId),
    /// The serving batch gets more or fewer processes.
    Resizing(Resize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ready {
    release: u64,
    processes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Active {
    op: OpId,
    kind: Kind,
    stage: Stage,
    /// Start the current release again if nothing serves when the operation ends.
    restores: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    wanted: Wanted,
    current: Option<u64>,
    active: Option<Active>,
    waiting: Option<(OpId, Kind)>,
    batches: Vec<BatchState>,
    next_batch: BatchId,
}

impl Lifecycle {
    /// An app without processes. `first_batch` is at least as large as the batch of any survivor.
    #[must_use]
    pub fn new(wanted: Wanted, current: Option<u64>, first_batch: BatchId) -> Self {
        Self {
            wanted,
            current,
            next_batch: first_batch,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// The current release: the one that serves, or would.
    #[must_use]
    pub fn current(&self) -> Option<u64> {
        self.current
    }

    #[must_use]
    pub fn active(&self) -> Option<(OpId, Kind)> {
        self.active.as_ref().map(|a| (a.op, a.kind))
    }

    #[must_use]
    pub fn waiting(&self) -> Option<(OpId, Kind)> {
        self.waiting
    }

    /// The batch that is routed to.
    #[must_use]
    pub fn serving(&self) -> Option<BatchId> {
        self.batches
            .iter()
            .find(|b| b.role == Role::Serving)
            .map(|b| b.id)
    }

    /// All batches with their roles, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = (BatchId, Role)> + '_ {
        self.batches.iter().map(|b| (b.id, b.role))
    }

    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        let mut out = Vec::new();
        match event {
            Event::Request(op, kind) => self.request(op, kind, &mut out),
            Event::Cancel(op) => self.cancel(op, &mut out),
            Event::Built {
                op,
                release,
                processes,
                replaces,
            } => {
                self.built(op, Ready { release, processes }, replaces, &mut out);
            }
            Event::BuildFailed(op) => {
                if self.active.as_ref().is_some_and(|a| a.op == op) {
                    self.finish(End::Failed(Cause::Build, None), &mut out);
                }
            }
            Event::Configured(op) => {
                if self.is_building(op) {
                    self.finish(End::Done, &mut out);
                }
            }
            Event::Resized { op, processes } => self.resized(op, &processes, &mut out),
            Event::Deploys { op, recreate } => {
                if self.is_building(op) {
                    self.active = None;
                    self.begin(op, Kind::Deploy { recreate }, &mut out);
                }
            }
            Event::Process {
                batch,
                id,
                phase,
                exited,
            } => self.process(batch, &id, phase, exited, &mut out),
            Event::BootTimeout(op) => self.boot_timeout(op, &mut out),
            Event::Shutdown => {
                self.waiting = None;
                self.drop_active(&mut out);
                self.end_batches(&mut out, |b| b.role != Role::Ending);
            }
            Event::Drained(batch) => {
                self.end_batches(&mut out, |b| b.id == batch && b.role == Role::Draining);
            }
        }
        self.call_back(&mut out);
        out
    }

    fn request(&mut self, op: OpId, kind: Kind, out: &mut Vec<Command>) {
        match kind {
            Kind::Stop | Kind::Remove => {
                if let Some((waiting, _)) = self.waiting.take() {
                    out.push(Command::Finish(waiting, End::Cancelled));
                }
                self.drop_active(out);
                self.begin(op, kind, out);
            }
            Kind::Sleep if !self.may_sleep() => out.push(Command::Finish(op, End::Cancelled)),
            Kind::Sleep => self.begin(op, kind, out),
            Kind::Deploy { .. } | Kind::Activate { .. } | Kind::Configure
                if self.active.is_some() =>
            {
                if let Some((waiting, _)) = self.waiting.replace((op, kind)) {
                    out.push(Command::Finish(waiting, End::Superseded));
                }
                self.hurry_resize(out);
                self.want(kind.wants(), out);
            }
            Kind::Deploy { .. } | Kind::Activate { .. } | Kind::Configure => {
                self.begin(op, kind, out);
            }
        }
    }

    fn may_sleep(&self) -> bool {
        let is_quiet = self.active.is_none() && self.waiting.is_none();
        is_quiet && self.wanted == Wanted::Running && self.serving().is_some()
    }

    /// Remembers what was accepted even while it waits for a stop: a daemon that ends meanwhile must not forget it.
    fn want(&mut self, wanted: Wanted, out: &mut Vec<Command>) {
        if self.wanted != wanted {
            self.wanted = wanted;
            out.extend([Command::Remember, Command::Publish]);
        }
    }

    fn process(
        &mut self,
        batch: BatchId,
        id: &str,
        phase: Phase,
        exited: bool,
        out: &mut Vec<Command>,
    ) {
        let Some(found) = self.batches.iter_mut().find(|b| b.id == batch) else {
            return;
        };
        if phase == Phase::Stopped {
            found.processes.remove(id);
            found.leaving.remove(id);
        } else if let Some(known) = found.processes.get_mut(id) {
            *known = phase;
        }
        if found.role == Role::Serving {
            out.push(Command::Publish);
        }
        if self.is_booting(batch) && exited {
            self.boot_failed(batch, Cause::Exited(id.to_owned()), out);
        } else if exited && self.is_added(batch, id) {
            self.resize_failed(Cause::Exited(id.to_owned()), out);
        }
        self.promote(batch, out);
        self.finish_resize(out);
        self.forget_ended(out);
    }

    fn forget_ended(&mut self, out: &mut Vec<Command>) {
        let gone = |b: &BatchState| b.role == Role::Ending && b.processes.is_empty();
        for batch in self.batches.iter().filter(|b| gone(b)) {
            out.push(Command::Forget(batch.id));
        }
        self.batches.retain(|b| !gone(b));
        self.cleared(out);
    }

    fn boot_timeout(&mut self, op: OpId, out: &mut Vec<Command>) {
        match self
            .active
            .as_ref()
            .filter(|a| a.op == op)
            .map(|a| &a.stage)
        {
            Some(Stage::Booting(batch)) => {
                let batch = *batch;
                let late = self.not_ready(batch);
                self.boot_failed(batch, Cause::NotReady(late), out);
            }
            Some(Stage::Resizing(_)) => {
                let late = self.late_additions();
                if !late.is_empty() {
                    self.resize_failed(Cause::NotReady(late), out);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, end: End, out: &mut Vec<Command>) {
        let Some(active) = self.active.take() else {
            return;
        };
        out.push(Command::Finish(active.op, end));
        out.push(Command::Publish);
        self.next(active.restores, out);
    }

    /// Begins the operation that waits, or restores the current release.
    fn next(&mut self, restores: bool, out: &mut Vec<Command>) {
        if let Some((op, kind)) = self.waiting.take() {
            self.begin(op, kind, out);
        } else if restores && self.wanted == Wanted::Running && self.serving().is_none() {
            out.extend(self.current.map(Command::Restore));
        }
    }

    fn drain_all(&mut self, out: &mut Vec<Command>) {
        self.end_batches(out, |b| b.role == Role::Booting);
        // Batches that drain already get the shorter time of now.
        let drains = |b: &&mut BatchState| matches!(b.role, Role::Serving | Role::Draining);
        for batch in self.batches.iter_mut().filter(drains) {
            batch.role = Role::Draining;
            out.push(Command::Drain(batch.id));
        }
    }

    fn end_batches(&mut self, out: &mut Vec<Command>, which: impl Fn(&BatchState) -> bool) {
        for batch in self.batches.iter_mut().filter(|b| which(b)) {
            batch.role = Role::Ending;
            out.push(Command::Stop(batch.id));
        }
        self.forget_ended(out);
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(active) = &mut self.active {
            active.stage = stage;
        }
    }

    fn is_of_use(&self) -> bool {
        self.batches.iter().any(BatchState::is_of_use)
    }

    fn is_building(&self, op: OpId) -> bool {
        self.active
            .as_ref()
            .is_some_and(|a| a.op == op && a.stage == Stage::Building)
    }

    fn is_booting(&self, batch: BatchId) -> bool {
        self.active
            .as_ref()
            .is_some_and(|a| a.stage == Stage::Booting(batch))
    }

    fn not_ready(&self, batch: BatchId) -> Vec<String> {
        let processes = self
            .batches
            .iter()
            .find(|b| b.id == batch)
            .map(|b| &b.processes);
        let late = processes
            .into_iter()
            .flatten()
            .filter(|(_, phase)| !is_up(**phase));
        late.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
