//! The actors of an App's processes: one for each unit of a batch, and one for each process that runs once.

use std::time::Duration;

use actix::prelude::*;

use super::{AnyChild, ChildId};
use crate::app::engine::one_off::OneOffSpec;
use crate::app::engine::unit::{Left, Unit};
use crate::app::lifecycle::{self, BatchId};
use crate::app::supervisor::App;
use crate::logs::log::Detach;
use crate::process::phase::Phase;
use crate::process::spec::instance_directory;
use crate::process::worker::Snapshot;
use crate::supervision::restart::{ChildState, SupervisorEvent};
use crate::supervision::{Exit, Generation, Parent, Restart, Timeout};

impl App {
    /// Starts processes of a batch.
    pub(in crate::app::supervisor) fn start_processes(
        &mut self,
        batch: BatchId,
        ids: &[String],
        ctx: &mut Context<Self>,
    ) {
        let Some(of) = self.batches.get(batch) else {
            return;
        };
        let stop = of.runnable.config.stop.timeout;
        // Stopping takes the grace, the sweep after it and the last lines of output; longer means that it hangs.
        let shutdown = Timeout::After(stop + Duration::from_secs(15));
        for unit in of.units(ids.iter().map(String::as_str)) {
            let quantity = self.staying(batch, &unit).len() as u64;
            let id = ChildId::Unit(batch, unit);
            // One that runs gets more processes; one that does not is started with all of them.
            if let Some(AnyChild::Unit(unit)) = self.children.find(&id) {
                unit.want(quantity);
            }
            self.add(id, Restart::Permanent, shutdown, ctx);
        }
    }

    fn staying(&self, batch: BatchId, unit: &str) -> Vec<String> {
        let of = self.batches.get(batch);
        of.map(|of| of.staying(unit)).unwrap_or_default()
    }

    /// Whether the actor of a process is to run on.
    pub(in crate::app::supervisor) fn unit_runs_on(&self, batch: BatchId, id: &str) -> bool {
        let of = self.batches.get(batch);
        let mut units = of.map(|of| of.units([id])).unwrap_or_default();
        let id = units.pop().map(|unit| ChildId::Unit(batch, unit));
        let state = id.and_then(|id| self.children.policy.state(&id));
        state == Some(ChildState::Running)
    }

    pub(in crate::app::supervisor) fn stop_batch(
        &mut self,
        batch: BatchId,
        ctx: &mut Context<Self>,
    ) {
        let Some(of) = self.batches.get(batch) else {
            return;
        };
        of.cut();
        let ids = of.members().map(|(slot, _)| slot.id.as_str());
        for unit in of.units(ids) {
            self.supervise(SupervisorEvent::Remove(ChildId::Unit(batch, unit)), ctx);
        }
    }

    /// Stops processes that were told to leave.
    pub(in crate::app::supervisor) fn stop_processes(
        &mut self,
        batch: BatchId,
        ids: &[String],
        ctx: &mut Context<Self>,
    ) {
        let Some(of) = self.batches.get(batch) else {
            return;
        };
        for unit in of.units(ids.iter().map(String::as_str)) {
            let quantity = self.staying(batch, &unit).len() as u64;
            let id = ChildId::Unit(batch, unit);
            match self.children.find(&id) {
                Some(AnyChild::Unit(unit)) if quantity > 0 => unit.want(quantity),
                _ => self.supervise(SupervisorEvent::Remove(id), ctx),
            }
        }
    }

    /// What the actor of a unit left running when it ended before its time.
    pub(super) fn left_running(
        &self,
        batch: BatchId,
        unit: &str,
    ) -> impl Future<Output = Option<Left>> + use<> {
        let spec = self.unit_spec(batch, unit);
        async move { spec?.left().await }
    }

    pub(super) fn start_unit_child(
        &mut self,
        batch: BatchId,
        unit: String,
        generation: Generation,
        left: Option<Left>,
        ctx: &mut Context<Self>,
    ) {
        let id = ChildId::Unit(batch, unit.clone());
        let on_exit = Self::on_exit(id.clone(), generation, ctx);
        let Some(spec) = self.unit_spec(batch, &unit) else {
            return on_exit(Exit::Error("its batch is gone".to_owned()));
        };
        let finished = self.deployer.finished.exit(batch, &unit).cloned();
        self.children
            .adopted
            .extend(left.as_ref().and_then(Left::pid));
        let around = self.around(ctx.address().recipient());
        let unit = spec.start(left, finished, around, on_exit);
        self.keep_child(id, generation, unit);
    }

    /// Starts the actor of a process that runs once.
    pub(super) fn start_actor(
        &mut self,
        id: ChildId,
        generation: Generation,
        spec: OneOffSpec,
        left: Option<Left>,
        ctx: &mut Context<Self>,
    ) {
        self.children
            .adopted
            .extend(left.as_ref().and_then(Left::pid));
        let on_exit = Self::on_exit(id.clone(), generation, ctx);
        let around = self.around(ctx.address().recipient());
        let unit = spec.start(left, around, on_exit);
        self.keep_child(id, generation, unit);
    }

    fn keep_child(&mut self, id: ChildId, generation: Generation, unit: Unit) {
        if self.children.policy.state(&id) == Some(ChildState::Stopping) {
            // The request to stop came while the App still looked for what was left.
            unit.as_running().ask();
        }
        self.children
            .running
            .push((id, generation, AnyChild::Unit(unit)));
    }

    /// Ends what the actor of a unit that is gone for good has left, and tells of the end of its processes, unless it
    /// has told of that itself.
    pub(super) fn make_sure_of_end(
        &mut self,
        batch: BatchId,
        unit: String,
        ctx: &mut Context<Self>,
    ) {
        let Some(of) = self.batches.get(batch) else {
            return;
        };
        let is_stopped = |s: &Snapshot| s.phase == Phase::Stopped;
        let is_over = |id: &str| !of.is_leaving(id) && of.snapshot(id).is_some_and(is_stopped);
        let ids = of.slots_of(&unit).map(|slot| slot.id.clone());
        let ids: Vec<_> = ids.filter(|id| !is_over(id)).collect();
        if ids.is_empty() {
            return;
        }
        let left = self.left_running(batch, &unit);
        let policy = self.deployer.documents.newest().stop.clone();
        let ended = async move {
            if let Some(left) = left.await {
                left.end(policy).await;
            }
        };
        ctx.spawn(ended.into_actor(self).map(move |(), app, ctx| {
            for id in ids {
                app.process_gone(batch, id, ctx);
            }
        }));
    }

    fn process_gone(&mut self, batch: BatchId, id: String, ctx: &mut Context<Self>) {
        self.detach_output(batch, &id);
        if let Some(batch) = self.batches.get_mut(batch) {
            batch.gone(&id);
        }
        let event = lifecycle::Event::Process {
            batch,
            id,
            phase: Phase::Stopped,
            exited: false,
        };
        self.feed(event, ctx);
    }

    /// Has the log let go of the output of a process whose actor did not live to say that.
    pub(in crate::app::supervisor) fn detach_output(&self, batch: BatchId, id: &str) {
        let directory = instance_directory(self.spec.dirs.runtime(), id, batch);
        if let Some(log) = self.children.log.get() {
            log.do_send(Detach { directory });
        }
    }
}
