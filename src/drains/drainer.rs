//! [`Drainer`]: the actor that keeps a drain going for each that is wanted.
//!
//! They are tasks on a thread of their own, which steps back behind the applications. One that panics is started again
//! after a pause, however often: neither the application nor another drain is hurt, and its lines wait in the log.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::Arbiter;
use futures::FutureExt as _;
use tokio::sync::watch;

use super::book::{Drains, Wanted};
use super::drain::{Drain, DrainSpec};
use crate::events::{Feed, Report};
use crate::logs::app_logs::AppLogs;
use crate::supervision::{Exit, ExitReason, Shutdown};
use crate::threads;

/// Before one is started again that ended.
const PAUSE: Duration = Duration::from_secs(10);

/// Which drain of which application.
type Id = (Arc<str>, String);

/// What the Drainer is given.
#[derive(Clone, Debug)]
pub struct DrainerSpec {
    pub drains: Drains,
    pub logs: AppLogs,
    pub events: Feed,
    /// The name of this machine.
    pub host: String,
}

struct Running {
    wanted: Wanted,
    /// Set to end it; closed when it has ended.
    ends: watch::Sender<bool>,
}

/// Keeps drains going.
pub struct Drainer {
    spec: DrainerSpec,
    exit: ExitReason,
    /// There is none before the first drain.
    thread: Option<Arbiter>,
    running: BTreeMap<Id, Running>,
}

impl Drainer {
    #[must_use]
    pub fn new(spec: DrainerSpec, exit: ExitReason) -> Self {
        Self {
            spec,
            exit,
            thread: None,
            running: BTreeMap::new(),
        }
    }

    /// Looks what is wanted now: and again when that changes.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        self.look(ctx);
        let drains = self.spec.drains.clone();
        let changed = async move { drains.changed().await }.into_actor(self);
        ctx.spawn(changed.map(|(), drainer, ctx| drainer.follow(ctx)));
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let wanted = self.spec.drains.list();
        let wanted: BTreeMap<Id, Wanted> = wanted
            .into_iter()
            .map(|one| ((Arc::clone(&one.app), one.key.clone()), one))
            .collect();
        for (id, running) in &self.running {
            if !wanted.get(id).is_some_and(|one| one.is_as(&running.wanted)) {
                running.ends.send_replace(true);
            }
        }
        for (id, one) in wanted {
            // One that is to end has its place until then: two would write to one cursor.
            if !self.running.contains_key(&id) {
                self.start(id, one, ctx);
            }
        }
        if self.running.is_empty() {
            self.leave_thread();
        }
    }

    fn start(&mut self, id: Id, wanted: Wanted, ctx: &mut Context<Self>) {
        let Some(thread) = self.thread().map(Arbiter::handle) else {
            ctx.run_later(PAUSE, |drainer, ctx| drainer.look(ctx));
            return;
        };
        let (sender, ends) = watch::channel(false);
        let DrainerSpec {
            logs, events, host, ..
        } = &self.spec;
        let spec = DrainSpec {
            wanted: wanted.clone(),
            host: host.clone(),
            logs: logs.clone(),
            events: events.clone(),
            ends,
        };
        let (drainer, ended) = (ctx.address(), id.clone());
        let is_there = thread.spawn_fn(move || {
            actix_rt::spawn(async move {
                let result = AssertUnwindSafe(run(spec)).catch_unwind().await;
                let failure = match result {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("it panicked".to_owned()),
                };
                drainer.do_send(Ended(ended, failure));
            });
        });
        if !is_there {
            // Its thread has failed; another one follows.
            self.thread = None;
            ctx.run_later(PAUSE, |drainer, ctx| drainer.look(ctx));
            return;
        }
        let ends = sender;
        self.running.insert(id, Running { wanted, ends });
    }

    /// The thread of all drains.
    fn thread(&mut self) -> Option<&Arbiter> {
        if self.thread.is_none() {
            match threads::behind_applications() {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => log::error!("there is no thread for drains, they wait: {error}"),
            }
        }
        self.thread.as_ref()
    }

    fn leave_thread(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }
}

async fn run(spec: DrainSpec) -> std::io::Result<()> {
    Drain::new(spec)?.run().await;
    Ok(())
}

impl Actor for Drainer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.follow(ctx);
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.ends.send_replace(true);
        }
        self.leave_thread();
    }
}

/// A drain has ended, as it was told to, or not.
#[derive(Message)]
#[rtype(result = "()")]
struct Ended(Id, Option<String>);

impl Handler<Ended> for Drainer {
    type Result = ();

    fn handle(&mut self, Ended(id, failure): Ended, ctx: &mut Self::Context) {
        self.running.remove(&id);
        let Some(reason) = failure else {
            return self.look(ctx);
        };
        let (app, _) = id;
        let offender = "a drain".to_owned();
        let supervisor = "the drains".to_owned();
        let report = Report::actor_restarts(Some(app), supervisor, offender, reason);
        self.spec.events.report(report);
        ctx.run_later(PAUSE, |drainer, ctx| drainer.look(ctx));
    }
}

impl Handler<Shutdown> for Drainer {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        let running = std::mem::take(&mut self.running);
        let ended = running.into_values().map(|one| async move {
            one.ends.send_replace(true);
            one.ends.closed().await;
        });
        let ended = futures::future::join_all(ended).into_actor(self);
        ctx.wait(ended.map(|_, drainer, ctx| {
            drainer.exit.set(Exit::Shutdown);
            ctx.stop();
        }));
    }
}
