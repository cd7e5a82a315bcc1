//! [`App`]: the supervisor actor of one application, the only owner of its state.
//!
//! Two policies say what happens: the [`Deployer`] with its `Lifecycle` (what is deployed and runs) and
//! `supervision::restart` (which actors live). This actor brings them messages and carries out their commands. Begin
//! with [`App::carry_out`], then:
//!
//! - `requests` are the messages of the API, `deploy` the steps of a deploy, `processes` those of its batches;
//! - `one_offs` are the processes that run once, outside of the formation, and `cron` starts such at set times;
//! - `children` starts and stops the actors below, `recovery` takes over what the previous server left, `retention`
//!   removes old releases, `removal` the whole app;
//! - `pause` holds requests for a while, `sleep` stops an app that nobody asks, and wakes it;
//! - `pushed` is what an app has to do with pushes to it, `branches` asks where it is fetched from;
//! - `room` says whether there are ports enough, `route` is where requests go, `view` what the API shows, `hidden` what
//!   of it is secret, `reports` what the followers of events see, `install_log`
//!   the last step in the install log, `start_failure` why a batch did not get ready.

mod branches;
mod children;
pub mod cron;
mod deploy;
mod hidden;
mod install_log;
mod made;
pub mod one_offs;
pub mod pause;
mod processes;
mod pushed;
mod recovery;
mod removal;
mod reports;
mod requests;
mod retention;
mod room;
mod route;
mod sleep;
mod start_failure;
mod units;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::batch::Batch;
use super::batches::Batches;
use super::context::AppContext;
use super::deployer::Deployer;
use super::lifecycle::{Command, Event, OpId};
use super::one_offs::OneOffs;
use super::publisher::Publisher;
use crate::app_dirs::AppDirs;
use crate::document::config::AppConfig;
use crate::document::mask::{self, Mask};
use crate::install::pushed::Turns;
use crate::install::quota;
use crate::router::held::HeldOfApp;
use crate::router::policies::Policies;
use crate::supervision::{Exit, ExitReason};

pub use branches::OpenBranches;
pub use children::ChildId;
use children::Children;
pub use hidden::{Hidden, Secrets};
pub use pushed::{OpenPushed, PackPushed, PushedError};
pub use requests::{Act, Cancel, Configure, IsAtWork, Warn};
pub use view::{Inspect, Processes, Summarize, View};

/// What an App is given.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// The document to begin with; a newer one comes by [`Configure`].
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
    deployer: Deployer,
    batches: Batches,
    one_offs: OneOffs,
    cron: cron::Jobs,
    pause: Option<pause::Pausing>,
    sleeping: sleep::Sleeping,
    children: Children,
    /// The operation whose release is being made ready for its engine.
    preparing: Option<(OpId, SpawnHandle)>,
    publisher: Publisher,
    /// The requests that wait for it.
    held: HeldOfApp,
    /// Those of the route that was published last, with what they count.
    policies: Option<Arc<Policies>>,
    /// Who is at work in the mirror of an app that is pushed to.
    turns: Arc<Turns>,
    /// Warnings about what the previous server left.
    warnings: Vec<String>,
    /// The server is being stopped.
    ending: bool,
}

impl App {
    /// Call it on the control thread. The App takes over what still runs, or deploys.
    #[must_use]
    pub fn new(spec: AppSpec, exit: ExitReason) -> Self {
        let AppSpec {
            config,
            dirs,
            context,
            ..
        } = &spec;
        let (router, events) = (context.router.clone(), context.events.clone());
        let publisher = Publisher::start(config.name.shared(), router, events.clone());
        let deployer = Deployer::new(Arc::clone(config), dirs.clone(), context.rules(), events);
        Self {
            deployer,
            batches: Batches::default(),
            one_offs: OneOffs::default(),
            cron: cron::Jobs::default(),
            pause: None,
            sleeping: sleep::Sleeping::default(),
            children: Children::new(),
            preparing: None,
            publisher,
            held: context.held.of(&config.name.shared()),
            policies: None,
            turns: Arc::default(),
            warnings: vec![],
            ending: false,
            spec,
            exit,
        }
    }

    fn name(&self) -> &str {
        self.spec.config.name.as_str()
    }

    /// The batch that requests go to.
    fn serving(&self) -> Option<&Batch> {
        self.batches.get(self.deployer.life.serving()?)
    }

    /// The document that the serving batch runs with.
    fn serving_config(&self) -> Option<Arc<AppConfig>> {
        Some(Arc::clone(&self.serving()?.runnable.config))
    }

    /// Lets the deployer decide and carries out what it commands, until it commands nothing more.
    fn decide<T>(
        &mut self,
        ctx: &mut Context<Self>,
        decision: impl FnOnce(&mut Deployer, &mut Vec<Command>) -> T,
    ) -> T {
        let mut commands = Vec::new();
        let answer = decision(&mut self.deployer, &mut commands);
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            commands.extend(self.carry_out(command, ctx));
        }
        answer
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        self.decide(ctx, |deployer, out| deployer.handle(event, out));
    }

    /// Carries out a command; some command more.
    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) -> Vec<Command> {
        match command {
            Command::Build(op) => self.build(op, ctx),
            Command::Load(op, release) => self.load(op, release, ctx),
            Command::Configure(op) => self.configure(op, ctx),
            Command::AbortBuild(op) => self.abort_build(op, ctx),
            Command::Spawn { batch, op } => self.spawn_batch(batch, op, ctx),
            Command::Grow { batch, op, added } => {
                // The new scale has these places again: that their processes ended at an earlier scale does not count.
                let is_added = |id: &String| added.contains(id);
                self.deployer
                    .forget_finished(|f| f.batch == batch && is_added(&f.id));
                self.grow(batch, op, added, ctx);
            }
            Command::Shrink { batch, removed } => self.shrink(batch, removed, Duration::MAX, ctx),
            Command::MakeWay { batch, removed } => self.make_way(batch, removed, ctx),
            Command::CallBack { batch, back } => self.call_back(batch, back, ctx),
            Command::Drain(batch) => self.drain(batch, ctx),
            Command::EndDrain(batch) => self.batches.get(batch).into_iter().for_each(Batch::cut),
            Command::Stop(batch) => self.stop_batch(batch, ctx),
            Command::Forget(batch) => {
                self.batches.remove(batch);
                self.deployer.forget_finished(|f| f.batch == batch);
                self.tidy(ctx);
            }
            Command::Explain(op, cause, batch) => self.explain(op, &cause, batch),
            Command::Remember => self.deployer.remember(),
            Command::Finish(op, end) => self.finish(op, end, ctx),
            Command::Restore(release) => {
                log::warn!(
                    "{}: the deploy ended what ran; release {release} is started again",
                    self.name()
                );
                let mut more = Vec::new();
                self.deployer.restore(release, &mut more);
                return more;
            }
            Command::Publish => self.publish(),
        }
        vec![]
    }

    /// Sets the quota of the newest document. A deploy waits until it is set, nothing else does.
    fn follow_disk_limit(&self) {
        if self.deployer.is_removed() {
            return;
        }
        let dirs = self.spec.dirs.clone();
        quota::want(&dirs, self.deployer.documents.newest().limits.disk);
        actix_rt::task::spawn_blocking(move || quota::follow(&dirs));
    }

    /// Sends the logs where the newest document says, and tells whom it names.
    fn follow_receivers(&self) {
        if self.deployer.is_removed() {
            return;
        }
        let app = self.spec.config.name.shared();
        let newest = self.deployer.documents.newest();
        let drains = &self.spec.context.drains;
        let mask = || Mask::new(mask::of_document(&newest.document));
        drains.want(&app, &self.spec.dirs.logs(), &newest.drains, mask);
        self.spec.context.receivers.want(&app, &newest.notify, mask);
    }

    /// Ends this actor. OS processes that still run are left alone: a fresh actor takes them over.
    fn leave(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.exit.set(exit);
        ctx.stop();
    }
}

impl Actor for App {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Each message in flight may come from one of hundreds of processes at once.
        ctx.set_mailbox_capacity(1024);
        self.start_log(ctx);
        self.follow_receivers();
        self.recover(ctx);
        self.follow_disk_limit();
    }
}
