//! The processes of batches: started, counted out of the route, stopped, and heard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::App;
use crate::app::batch::Batch;
use crate::app::lifecycle::{BatchId, Event, OpId};
use crate::process::phase::Phase;
use crate::process::worker::{ProcessChanged, Snapshot};
use crate::router::backend::Load;

/// Processes that are to get ready in time.
#[derive(Clone, Copy, Debug)]
struct Boot {
    batch: BatchId,
    op: OpId,
    /// How long each may take.
    limit: Duration,
    /// When other machines must have fetched the image.
    last: Instant,
}

/// How much of its time to get ready a process on another machine still has, whose image had to be fetched first (pure).
fn time_left(process: &Snapshot, limit: Duration, now: Instant) -> Option<Duration> {
    if process.phase != Phase::Starting {
        return None;
    }
    if process.is_fetching {
        return Some(limit);
    }
    let took = now.saturating_duration_since(process.seen_since?);
    limit.checked_sub(took).filter(|left| !left.is_zero())
}

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
        let limit = limit.unwrap_or_default();
        let boot = Boot {
            batch,
            op,
            limit,
            last: Instant::now() + self.spec.context.settings.step_timeouts.packages,
        };
        self.arm_boot_timeout(boot, limit, ctx);
    }

    fn arm_boot_timeout(&self, boot: Boot, after: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(after, move |app, ctx| {
            let batch = app.batches.get(boot.batch);
            let members = || batch.into_iter().flat_map(Batch::members);
            let now = Instant::now();
            let left = members().filter_map(|(_, s)| time_left(s?, boot.limit, now));
            let left = left.max().filter(|_| now < boot.last);
            // When the server starts, some still wait for a start permit: their time has not begun.
            let waits = members().any(|(_, snapshot)| snapshot.is_none());
            if waits && app.batches.at_boot == Some(boot.batch) {
                app.arm_boot_timeout(boot, boot.limit, ctx);
            } else if !app.deployer.is_active(boot.op) {
                // Nobody waits for it.
            } else if let Some(left) = left {
                app.arm_boot_timeout(boot, left, ctx);
            } else {
                app.boot_timed_out(boot.batch, boot.op, ctx);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_begins_when_its_machine_has_the_image() {
        let limit = Duration::from_secs(60);
        let began = Instant::now();
        let now = began + Duration::from_secs(1000);
        // As all of this machine.
        let waits = Snapshot::new("web.1".to_owned(), Phase::Starting);
        let fetches = Snapshot {
            is_fetching: true,
            ..waits.clone()
        };
        let runs = |seconds| Snapshot {
            seen_since: Some(now - Duration::from_secs(seconds)),
            ..waits.clone()
        };
        assert_eq!(time_left(&fetches, limit, now), Some(limit));
        assert_eq!(time_left(&waits, limit, now), None);
        let left = time_left(&runs(20), limit, now);
        assert_eq!(left, Some(Duration::from_secs(40)));
        assert_eq!(time_left(&runs(60), limit, now), None);
        let ready = Snapshot {
            phase: Phase::Ready,
            ..runs(20)
        };
        assert_eq!(time_left(&ready, limit, now), None);
    }
}
