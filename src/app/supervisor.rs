//! [`App`]: the supervisor actor of one application, the only owner of its state.
//!
//! The policy is [`Lifecycle`] (what runs, and which operation is at work) and `supervision::restart` (which actors
//! live). This actor feeds them events and carries out their commands. Begin with `App::feed`, then follow an operation:
//!
//! - `requests` and `configure` accept it, `progress` builds its release and takes the reports of processes, `outcome`
//!   ends it;
//! - `children` starts and stops the actors below, `finished` notes the processes that must not run again;
//! - `recovery` takes over what the previous daemon left, `retention` removes old releases, `removal` the whole app;
//! - `view` is what the API shows, `reports` what the followers of events see, `install_log` the last step in the
//!   install log, `start_failure` why a batch did not get ready.

mod children;
mod configure;
mod error;
mod finished;
mod install_log;
mod outcome;
mod progress;
mod recovery;
mod removal;
mod reports;
mod requests;
mod retention;
mod start_failure;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::batch::Batch;
use super::context::AppContext;
use super::deployments::Deployments;
use super::journal::Journal;
use super::lifecycle::{BatchId, Command, Event, Kind, Lifecycle, OpId, Wanted};
use super::operations::Operations;
pub use super::operations::{Outcome, Ticket};
use super::publisher::Publisher;
use super::remembered::{Finished, Remembered};
use crate::app_dirs::AppDirs;
use crate::document::config::{AppConfig, Strategy};
use crate::failpoint;
use crate::install::record::{DeploymentState, Failure, Step};
use crate::install::release::ReleaseRecord;
use crate::logs::log::Log;
use crate::process::identity::Identity;
use crate::router::address::Address;
use crate::router::backend::Load;
use crate::router::table::{Availability, Route, StaticFiles};
use crate::supervision::{ChildRef, Exit, ExitReason};

pub use children::ChildId;
use children::Children;
pub use configure::{Configure, Warn};
pub use error::AppError;
pub use requests::{Accepted, Act, Action, Cancel, Deploy, Remove};
pub use view::{Inspect, Summarize, View};

/// What an App is given.
#[derive(Clone, Debug)]
pub struct AppSpec {
    pub config: Arc<AppConfig>,
    pub dirs: AppDirs,
    pub context: AppContext,
    /// Warnings about its file in the config directory, e.g. that it is damaged.
    pub warnings: Vec<String>,
    /// Whether to deploy when there is nothing to run, or the document is newer than what runs: a start of the
    /// daemon does, a creation through the API asks by itself.
    pub deploy_at_start: bool,
    /// Whether to publish a route before the first message is answered: nobody knows the app yet.
    pub announces: bool,
    /// Nothing that deploys of an earlier daemon started still runs: Apps has looked once for all apps.
    pub nothing_remains: bool,
}

/// The supervisor actor of one application.
#[derive(Debug)]
pub struct App {
    spec: AppSpec,
    exit: ExitReason,
    children: Children,
    log: ChildRef<Log>,
    life: Lifecycle,
    batches: BTreeMap<BatchId, Batch>,
    operations: Operations,
    deployments: Deployments,
    releases: Vec<ReleaseRecord>,
    /// See [`Remembered::unproven`].
    unproven: BTreeSet<u64>,
    next_release: u64,
    /// See [`Remembered::settled`].
    settled: Option<String>,
    /// See [`Remembered::standing`].
    standing: Arc<AppConfig>,
    created: jiff::Timestamp,
    journal: Journal,
    publisher: Publisher,
    /// The route as it was last reported to `events`.
    reported: Option<(Availability, Vec<Address>)>,
    survivors: Vec<Identity>,
    /// The releases of survivors that are being ended.
    leftover: Vec<u64>,
    /// The batch that starts with the server.
    boot_batch: Option<BatchId>,
    finished: Vec<Finished>,
    boot_id: String,
    /// The port that each process had last.
    ports: BTreeMap<String, u16>,
    warnings: Vec<String>,
    removal: Option<removal::Removal>,
    ending: bool,
}

impl App {
    /// Call it on the control thread. The App takes over what still runs, or deploys.
    #[must_use]
    pub fn new(spec: AppSpec, exit: ExitReason) -> Self {
        let publisher = Publisher::start(spec.config.name.shared(), spec.context.router.clone());
        Self {
            children: Children::new(),
            exit,
            log: ChildRef::default(),
            life: Lifecycle::default(),
            batches: BTreeMap::new(),
            operations: Operations::default(),
            deployments: Deployments::default(),
            releases: vec![],
            unproven: BTreeSet::new(),
            next_release: 1,
            settled: None,
            standing: Arc::clone(&spec.config),
            created: jiff::Timestamp::now(),
            journal: Journal::start(spec.dirs.clone()),
            publisher,
            reported: None,
            survivors: vec![],
            leftover: vec![],
            boot_batch: None,
            finished: vec![],
            boot_id: String::new(),
            ports: BTreeMap::new(),
            warnings: vec![],
            removal: None,
            ending: false,
            spec,
        }
    }

    fn name(&self) -> &str {
        self.spec.config.name.as_str()
    }

    /// Feeds the lifecycle and carries out what it commands, until it commands nothing more.
    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        let mut commands = std::collections::VecDeque::from(self.life.handle(event));
        while let Some(command) = commands.pop_front() {
            commands.extend(self.carry_out(command, ctx));
        }
    }

    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) -> Vec<Command> {
        match command {
            Command::Build(op) => self.build(op, ctx),
            Command::Load(op, release) => self.load(op, release, ctx),
            Command::Configure(op) => self.configure_now(op, ctx),
            Command::AbortBuild(op) => self.abort_build(op, ctx),
            Command::Spawn { batch, op } => self.spawn_batch(batch, op, ctx),
            Command::Grow { batch, op, added } => {
                // The new scale has these places again: that their processes ended at an earlier scale does not count.
                self.forget_finished(|f| f.batch == batch && added.contains(&f.id));
                self.grow(batch, op, added, ctx);
            }
            Command::Shrink { batch, removed } => self.shrink(batch, removed, Duration::MAX, ctx),
            Command::MakeWay { batch, removed } => self.make_way(batch, removed, ctx),
            Command::CallBack { batch, back } => self.call_back(batch, back, ctx),
            Command::Drain(batch) => self.drain(batch, ctx),
            Command::EndDrain(batch) => self.batches.get(&batch).into_iter().for_each(Batch::cut),
            Command::Stop(batch) => self.stop_batch(batch, ctx),
            Command::Forget(batch) => {
                self.batches.remove(&batch);
                self.forget_finished(|f| f.batch == batch);
                self.tidy(ctx);
            }
            Command::Explain(op, cause, batch) => self.explain(op, &cause, batch),
            Command::Remember => self.remember(),
            Command::Finish(op, end) => self.finish(op, end, ctx),
            Command::Restore(release) => {
                log::warn!(
                    "{}: the deploy ended what ran; release {release} is started again",
                    self.name()
                );
                let (op, _ticket) = self.operations.open(Arc::clone(&self.spec.config), None);
                return self
                    .life
                    .handle(Event::Request(op, Kind::Activate { release }));
            }
            Command::Publish => self.publish(),
        }
        vec![]
    }

    /// Starts the processes of a batch, or takes over those that the previous daemon left.
    fn spawn_batch(&mut self, id: BatchId, op: OpId, ctx: &mut Context<Self>) {
        let Some(runnable) = self.operations.get(op).and_then(|o| o.runnable.clone()) else {
            log::error!("{}: batch {id} has no release", self.name());
            return;
        };
        if let Some(deployment) = self.operations.get(op).and_then(|o| o.deployment) {
            self.deployments
                .step(deployment, Step::Start, &self.journal);
            self.log_start(deployment);
        }
        let batch = Batch::new(runnable);
        let ids = batch.members().map(|(slot, _)| slot.id.clone()).collect();
        self.batches.insert(id, batch);
        self.grow(id, op, ids, ctx);
        self.end_surplus(ctx);
        failpoint::reach("spawned");
    }

    /// Starts processes of a batch and arms their boot time-out.
    fn grow(&mut self, batch: BatchId, op: OpId, added: Vec<String>, ctx: &mut Context<Self>) {
        for id in added {
            self.start_process(batch, id, ctx);
        }
        let runnable = self.batches.get(&batch).map(|b| &b.runnable);
        let limit = runnable.map(|r| r.config.health_check.boot_timeout);
        self.arm_boot_timeout((batch, op), limit.unwrap_or_default(), ctx);
    }

    fn arm_boot_timeout(
        &self,
        (id, op): (BatchId, OpId),
        limit: Duration,
        ctx: &mut Context<Self>,
    ) {
        ctx.run_later(limit, move |app, ctx| {
            let batch = app.batches.get(&id);
            // When the server starts, some still wait for a start permit: their time has not begun.
            let waits = batch.is_some_and(|b| b.members().any(|(_, snapshot)| snapshot.is_none()));
            if waits && app.boot_batch == Some(id) {
                app.arm_boot_timeout((id, op), limit, ctx);
            } else if app.is_active(op) {
                app.boot_timed_out(id, op, ctx);
            }
        });
    }

    /// Takes processes out of the route, lets their requests finish, then stops them.
    fn shrink(
        &mut self,
        id: BatchId,
        removed: Vec<String>,
        most: Duration,
        ctx: &mut Context<Self>,
    ) {
        let Some(batch) = self.batches.get_mut(&id) else {
            return;
        };
        let limit = batch.runnable.config.drain.min(most);
        let drained = drained(batch.leave(&removed), limit);
        ctx.spawn(drained.into_actor(self).map(move |(), app, ctx| {
            for process in removed {
                app.stop_process(id, process, ctx);
            }
        }));
    }

    /// As [`Self::shrink`], but for the stop time-out at most: no successor serves meanwhile.
    fn make_way(&mut self, id: BatchId, removed: Vec<String>, ctx: &mut Context<Self>) {
        let stop = self.batches.get(&id).map(|b| &b.runnable.config.stop);
        let most = stop.map(|stop| stop.timeout).unwrap_or_default();
        self.shrink(id, removed, most, ctx);
    }

    fn call_back(&mut self, id: BatchId, back: Vec<String>, ctx: &mut Context<Self>) {
        if let Some(batch) = self.batches.get_mut(&id) {
            let runnable = Arc::clone(&batch.runnable);
            batch.reconfigure(runnable);
        }
        for process in back {
            self.start_process(id, process, ctx);
        }
    }

    /// Waits until the batch has no request in flight, at most for its drain time. If no other batch serves, the app is
    /// away meanwhile: then it waits for the stop time-out at most (5 s when a user stopped the app).
    fn drain(&mut self, id: BatchId, ctx: &mut Context<Self>) {
        let (wanted, is_replaced) = (self.life.wanted(), self.life.serving().is_some());
        let Some(batch) = self.batches.get_mut(&id) else {
            return;
        };
        let config = &batch.runnable.config;
        let limit = match wanted {
            Wanted::Running if is_replaced => config.drain,
            Wanted::Running => config.drain.min(config.stop.timeout),
            _ => config.stop.timeout.min(Duration::from_secs(5)),
        };
        let drained = drained(batch.drain(), limit);
        ctx.spawn(
            drained
                .into_actor(self)
                .map(move |(), app, ctx| app.feed(Event::Drained(id), ctx)),
        );
    }

    fn remember(&self) {
        self.journal.state(Remembered {
            wanted: self.life.wanted(),
            current: self.life.current(),
            settled: self.settled.clone(),
            standing: Some(self.standing.document.clone()),
            unproven: self.unproven.clone(),
            finished: self.finished.clone(),
            keep_storage: self.removal.as_ref().is_some_and(|r| r.keep_storage),
            created: self.created,
        });
    }

    fn close_deployment(
        &mut self,
        id: Option<u64>,
        state: DeploymentState,
        failure: Option<Failure>,
    ) {
        if let Some(id) = id {
            self.deployments.close(id, state, failure, &self.journal);
            self.log_end(id);
        }
    }

    fn publish(&mut self) {
        let route = (self.life.wanted() != Wanted::Removed).then(|| self.route());
        self.report_route(route.as_ref());
        self.publisher.publish(route);
    }

    fn route(&self) -> Route {
        let serving = self.life.serving().and_then(|id| self.batches.get(&id));
        // While nothing serves, the document of the release that would serve says which requests are held or refused.
        let otherwise = match self.life.current() {
            Some(_) => &self.standing,
            None => &self.spec.config,
        };
        let config = serving.map_or(otherwise, |batch| &batch.runnable.config);
        let directory = serving.map(|batch| &batch.runnable.release.directory);
        let static_files = config.static_files.as_ref().zip(directory);
        Route {
            app: config.name.shared(),
            created: u64::try_from(self.created.as_microsecond()).unwrap_or(0),
            hosts: config.hosts.clone(),
            domain: config.domain.clone(),
            path: config.path,
            strip_path: config.strip_path,
            port: config.port,
            static_files: static_files.map(|(files, directory)| {
                Arc::new(StaticFiles {
                    root: directory.to_owned(),
                    dir: files.dir.clone(),
                    prefix: files.prefix.clone(),
                    spa: files.spa,
                    cache_control: files.cache_control.clone(),
                })
            }),
            buffer: config.buffer,
            availability: self.availability(serving),
            backends: serving.map(Batch::backends).unwrap_or_default(),
        }
    }

    fn availability(&self, serving: Option<&Batch>) -> Availability {
        match serving {
            _ if self.life.wanted() != Wanted::Running => Availability::Stopped,
            Some(batch) if !batch.has_routed() => Availability::NoWeb,
            Some(batch) if batch.is_down() => Availability::Crashed,
            Some(_) => Availability::Starting,
            None if self.life.active().is_some() => Availability::Starting,
            None if self.life.current().is_none() => Availability::Undeployed,
            None => Availability::Crashed,
        }
    }

    fn is_recreate(config: &AppConfig) -> bool {
        config.strategy.is_all(Strategy::Recreate)
    }
}

/// Closes `loads` and waits until they have no request in flight or somebody cuts them. Cuts them itself after `limit`.
fn drained(loads: Vec<Arc<Load>>, limit: Duration) -> impl Future<Output = ()> + 'static {
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

impl Actor for App {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Each message in flight may come from one of hundreds of processes at once.
        ctx.set_mailbox_capacity(1024);
        self.start_log(ctx);
        self.recover(ctx);
    }
}

impl App {
    /// Ends this actor. OS processes that still run are left alone: a fresh actor takes them over.
    fn leave(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.exit.set(exit);
        ctx.stop();
    }
}
