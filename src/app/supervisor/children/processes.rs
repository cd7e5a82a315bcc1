//! The actors of an App's processes: one for each of a batch, of which [`start_actor`](App::start_actor) starts also
//! those of what runs once.

use std::time::Duration;

use actix::prelude::*;

use super::{AnyChild, ChildId};
use crate::app::batch::Batch;
use crate::app::lifecycle::{self, BatchId};
use crate::app::supervisor::App;
use crate::logs::log::Detach;
use crate::process::identity::Identity;
use crate::process::phase::Phase;
use crate::process::spec::{ProcessSpec, instance_directory};
use crate::process::survivors;
use crate::process::users::Users;
use crate::process::worker::{Origin, Process, Snapshot};
use crate::supervision::restart::{ChildState, SupervisorEvent};
use crate::supervision::{
    Exit, ExitReason, Generation, Parent, Restart, Shutdown, Timeout, monitor,
};

impl App {
    pub(in crate::app::supervisor) fn start_process(
        &mut self,
        batch: BatchId,
        id: String,
        ctx: &mut Context<Self>,
    ) {
        let stop = self
            .batches
            .get(batch)
            .map(|b| b.runnable.config.stop.timeout)
            .unwrap_or_default();
        // Stopping takes the grace, the sweep after it and the last lines of output; longer means that it hangs.
        let shutdown = Timeout::After(stop + Duration::from_secs(15));
        self.add(
            ChildId::Process(batch, id),
            Restart::Permanent,
            shutdown,
            ctx,
        );
    }

    pub(in crate::app::supervisor) fn stop_batch(
        &mut self,
        batch: BatchId,
        ctx: &mut Context<Self>,
    ) {
        if let Some(batch) = self.batches.get(batch) {
            batch.cut();
        }
        let ids: Vec<_> = self
            .batches
            .get(batch)
            .into_iter()
            .flat_map(Batch::members)
            .map(|(s, _)| s.id.clone())
            .collect();
        for id in ids {
            self.stop_process(batch, id, ctx);
        }
    }

    pub(in crate::app::supervisor) fn stop_process(
        &mut self,
        batch: BatchId,
        id: String,
        ctx: &mut Context<Self>,
    ) {
        self.supervise(SupervisorEvent::Remove(ChildId::Process(batch, id)), ctx);
    }

    /// The OS process that a Process actor left running when it ended before its time.
    pub(super) fn left_running(
        &self,
        batch: BatchId,
        id: &str,
    ) -> impl Future<Output = Option<Identity>> + use<> {
        let spec = self.process_spec(batch, id);
        async move {
            let spec = spec?;
            let directory = spec.instance_directory();
            let users = Users::of_account(spec.account.as_ref());
            let look = move || survivors::survivor(&directory, &users);
            let found = actix_rt::task::spawn_blocking(look);
            found.await.ok().flatten()
        }
    }

    pub(super) fn start_process_child(
        &mut self,
        batch: BatchId,
        id: String,
        generation: Generation,
        survivor: Option<Identity>,
        ctx: &mut Context<Self>,
    ) {
        let child_id = ChildId::Process(batch, id.clone());
        let Some(spec) = self.process_spec(batch, &id) else {
            let on_exit = Self::on_exit(child_id, generation, ctx);
            return on_exit(Exit::Error("its batch is gone".to_owned()));
        };
        let origin = match (survivor, self.deployer.finished.exit(batch, &id).cloned()) {
            (Some(survivor), _) => Origin::Adopt(survivor),
            (None, Some(exit)) => Origin::Finished(exit),
            (None, None) => Origin::Spawn,
        };
        self.start_actor(child_id, generation, spec, origin, ctx);
    }

    /// Starts the actor of a process of either kind.
    pub(super) fn start_actor(
        &mut self,
        id: ChildId,
        generation: Generation,
        spec: ProcessSpec,
        origin: Origin,
        ctx: &mut Context<Self>,
    ) {
        if let Origin::Adopt(survivor) = &origin {
            self.children.adopted.insert(survivor.pid);
        }
        let (ports, log, parent) = (
            self.spec.context.ports.clone(),
            self.children.log.clone(),
            ctx.address().recipient(),
        );
        let child = monitor::start(
            &self.spec.context.control.clone(),
            move |_, exit: ExitReason| Process::new(spec, origin, ports, log, parent, exit),
            Self::on_exit(id.clone(), generation, ctx),
        );
        if self.children.policy.state(&id) == Some(ChildState::Stopping) {
            // The request to stop came while the App still looked for its survivor.
            child.addr.do_send(Shutdown);
        }
        self.children
            .running
            .push((id, generation, AnyChild::Process(child)));
    }

    /// Ends the OS process of a Process actor that is gone for good without having reported its end.
    pub(super) fn make_sure_of_end(&mut self, batch: BatchId, id: String, ctx: &mut Context<Self>) {
        let stopped = |s: &Snapshot| s.phase == Phase::Stopped;
        let is_over = |b: &Batch| !b.is_leaving(&id) && b.snapshot(&id).is_some_and(stopped);
        if self.batches.get(batch).is_none_or(is_over) {
            return;
        }
        let left = self.left_running(batch, &id);
        let policy = self.deployer.documents.newest().stop.clone();
        let ended = async move {
            if let Some(survivor) = left.await {
                survivors::end(survivor, policy).await;
            }
        };
        ctx.spawn(ended.into_actor(self).map(move |(), app, ctx| {
            app.detach_output(batch, &id);
            if let Some(batch) = app.batches.get_mut(batch) {
                batch.gone(&id);
            }
            let event = lifecycle::Event::Process {
                batch,
                id,
                phase: Phase::Stopped,
                exited: false,
            };
            app.feed(event, ctx);
        }));
    }

    /// Has the log let go of the output of a process whose actor did not live to say that.
    pub(in crate::app::supervisor) fn detach_output(&self, batch: BatchId, id: &str) {
        let directory = instance_directory(self.spec.dirs.runtime(), id, batch);
        if let Some(log) = self.children.log.get() {
            log.do_send(Detach { directory });
        }
    }
}
