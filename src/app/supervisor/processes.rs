//! The processes of batches: started, counted out of the route, stopped, and heard.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::App;
use crate::app::lifecycle::{BatchId, Event, OpId};
use crate::process::phase::Phase;
use crate::process::worker::{ProcessChanged, Snapshot};
use crate::router::backend::Load;

impl App {
    /// Starts processes of a batch and arms their boot time-out.
    pub(super) fn grow(
        &mut self,
        batch: BatchId,
        op: OpId,
        added: Vec<String>,
        ctx: &mut Context<Self>,
    ) {
        self.start_processes(batch, &added, ctx);
        let runnable = self.batches.get(batch).map(|b| &b.runnable);
        let limit = runnable.map(|r| r.health.boot_timeout);
        self.arm_boot_timeout(batch, op, limit.unwrap_or_default(), ctx);
    }

    fn arm_boot_timeout(&self, id: BatchId, op: OpId, limit: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(limit, move |app, ctx| {
            let batch = app.batches.get(id);
            // When the server starts, some still wait for a start permit: their time has not begun.
            let waits = batch.is_some_and(|b| b.members().any(|(_, snapshot)| snapshot.is_none()));
            if waits && app.batches.at_boot == Some(id) {
                app.arm_boot_timeout(id, op, limit, ctx);
            } else if app.deployer.is_active(op) {
                app.boot_timed_out(id, op, ctx);
            }
        });
    }

    /// Takes processes out of the route, lets their requests finish, for `most` at the most, then stops them.
    pub(super) fn shrink(
        &mut self,
        id: BatchId,
        removed: Vec<String>,
        most: Duration,
        ctx: &mut Context<Self>,
    ) {
        let Some(batch) = self.batches.get_mut(id) else {
            return;
        };
        let limit = batch.runnable.config.drain.min(most);
        let drained = drained(batch.leave(&removed), limit);
        ctx.spawn(drained.into_actor(self).map(move |(), app, ctx| {
            app.stop_processes(id, &removed, ctx);
        }));
    }

    /// As [`Self::shrink`], but for the stop time-out at most: no successor serves meanwhile.
    pub(super) fn make_way(&mut self, id: BatchId, removed: Vec<String>, ctx: &mut Context<Self>) {
        let stop = self.batches.get(id).map(|b| &b.runnable.config.stop);
        let most = stop.map(|stop| stop.timeout).unwrap_or_default();
        self.shrink(id, removed, most, ctx);
    }

    /// Starts processes again that have made way.
    pub(super) fn call_back(&mut self, id: BatchId, back: Vec<String>, ctx: &mut Context<Self>) {
        if let Some(batch) = self.batches.get_mut(id) {
            let runnable = Arc::clone(&batch.runnable);
            batch.reconfigure(runnable);
        }
        self.start_processes(id, &back, ctx);
    }
}

/// Closes `loads` and waits until they have no request in flight or somebody cuts them. Cuts them itself after `limit`.
pub(super) fn drained(
    loads: Vec<Arc<Load>>,
    limit: Duration,
) -> impl Future<Output = ()> + 'static {
    for load in &loads {
        load.close();
    }
    async move {
        let all = futures::future::join_all(loads.iter().map(|load| load.over()));
        if tokio::time::timeout(limit, all).await.is_err() {
            loads.iter().for_each(|load| load.cut());
        }
    }
}

impl Handler<ProcessChanged> for App {
    type Result = ();

    fn handle(&mut self, change: ProcessChanged, ctx: &mut Self::Context) {
        if self.one_off_changed(&change) {
            return;
        }
        let ProcessChanged {
            batch,
            snapshot,
            exited,
        } = change;
        self.report_process(batch, &snapshot, exited.as_ref());
        let of = self.batches.get(batch);
        let is_finished = snapshot.phase == Phase::Finished;
        if let (Some(exit), Some(of), true) = (&exited, of, is_finished) {
            let release = of.runnable.id();
            self.deployer
                .note_finished(batch, release, &snapshot.id, exit);
        }
        let is_done = of.is_some_and(|b| b.has_done_its_work(&snapshot));
        let event = Event::Process {
            batch,
            id: snapshot.id.clone(),
            phase: snapshot.phase,
            // Without a free port the operation fails at once: it would only keep one waiting that could free a port. What
            // its engine refuses for good does not get better either.
            exited: exited.is_some() && !is_done || snapshot.has_no_port || snapshot.is_refused,
        };
        // The name of a leaving process is free only when its actor is gone: `make_sure_of_end` reports that. One that
        // has others goes on.
        let leaves = of.is_some_and(|b| b.is_leaving(&snapshot.id));
        let has_left = leaves && snapshot.phase == Phase::Stopped;
        let runs_on = has_left && self.unit_runs_on(batch, &snapshot.id);
        let id = snapshot.id.clone();
        self.take_snapshot(batch, snapshot);
        if let Some(batch) = self.batches.get_mut(batch).filter(|_| runs_on) {
            batch.gone(&id);
        }
        if !has_left || runs_on {
            self.feed(event, ctx);
        }
    }
}

impl App {
    fn take_snapshot(&mut self, id: BatchId, snapshot: Snapshot) {
        self.batches.update(id, snapshot);
        if let Some(batch) = self.batches.get(id).filter(|batch| batch.is_ready()) {
            self.deployer.prove(batch.runnable.id());
        }
    }
}
