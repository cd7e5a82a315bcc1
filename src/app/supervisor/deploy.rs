//! Carries out the steps of a deploy, in this order: a release is built (or loaded, or derived from another), its batch
//! is spawned beside the one that serves, that one drains, and the operation ends. What is done when is the lifecycle's
//! to say, in the same order: `lifecycle/deploy.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;

use super::App;
use super::made::Origin;
use crate::account::{Account, AccountError};
use crate::app::batch::Batch;
use crate::app::context::AppContext;
use crate::app::deployer::changes::Plan;
use crate::app::deployer::outcome::Ended;
use crate::app::engine::release_phase;
use crate::app::lifecycle::{BatchId, End, Event, OpId, Replaces, Wanted};
use crate::app::operations::{Operation, Outcome};
use crate::app::runnable::{self, Runnable, RunnableError};
use crate::app_dirs::AppDirs;
use crate::document::change::Work;
use crate::document::config::{AppConfig, Strategy};
use crate::failpoint;
use crate::install::record::{DeploymentState, Failure, Step};
use crate::install::release::{self, Release};
use crate::install::spec::{InstallEvent, InstallProgress, InstallSpec};
use crate::supervision::Exit;

/// What an installer needs that only a blocking thread may find out.
struct Prepared {
    account: Option<Account>,
    base_env: BTreeMap<String, String>,
    configured_env: BTreeMap<String, String>,
}

fn prepare(
    context: &AppContext,
    dirs: &AppDirs,
    config: &AppConfig,
) -> Result<Prepared, AccountError> {
    let (account, _warnings) = runnable::account(context, dirs, config)?;
    Ok(Prepared {
        base_env: runnable::base_environment(account.as_ref(), dirs)?,
        configured_env: runnable::configured_environment(context, config),
        account,
    })
}

/// The answer of a blocking thread, or why there is none.
fn answer<T, E: std::fmt::Display>(
    joined: Result<Result<T, E>, actix_rt::task::JoinError>,
) -> Result<T, String> {
    match joined {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}

/// To build: the installer makes a release.
impl App {
    pub(super) fn build(&mut self, op: OpId, ctx: &mut Context<Self>) {
        let Some(operation) = self.deployer.operations.get(op) else {
            return;
        };
        let (config, pushed) = (Arc::clone(&operation.config), operation.commit.clone());
        let use_cache = operation.use_cache;
        let deployment = operation.deployment.unwrap_or_default();
        let release = self.deployer.make_release(op);
        self.deployer.deployments.runs(deployment, release);
        // The branch may still be on its way to what serves.
        let commit = pushed.or_else(|| Some(self.deployer.pushed.newest()?.to_owned()));
        let surplus = self.deployer.surplus(&config, self.releases_in_use());
        let noted = self.deployer.written();
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let asked = Arc::clone(&config);
        let prepare = move || {
            // Now, before the new release needs the space.
            let _gone = surplus.remove(&dirs);
            prepare(&context, &dirs, &asked)
        };
        let in_use = self.turns.in_use.clone();
        let prepared = async move {
            noted.await;
            let in_use = in_use.share().await;
            (actix_rt::task::spawn_blocking(prepare).await, in_use)
        };
        ctx.spawn(prepared.into_actor(self).map(move |prepared, app, ctx| {
            let (prepared, in_use) = prepared;
            let prepared = match answer(prepared) {
                Ok(prepared) if app.deployer.is_active(op) => prepared,
                Ok(_) => return,
                Err(e) => return app.build_failed(op, Failure::new(Step::Install, e), ctx),
            };
            let spec = InstallSpec {
                deployment,
                release,
                dirs: app.spec.dirs.clone(),
                runs_release_phase: release_phase::is_the_installers(config.engine),
                landlock: app.landlock(prepared.account.as_ref()),
                mounts: app.mounts(&config, prepared.account.as_ref()),
                config,
                commit,
                account: prepared.account,
                base_env: prepared.base_env,
                configured_env: prepared.configured_env,
                in_use: app.deployer.in_use(app.releases_in_use()),
                timeouts: app.spec.context.settings.step_timeouts,
                use_cache,
                mirror_in_use: Some(Arc::new(in_use)),
            };
            app.start_installer(op, spec, ctx);
        }));
    }

    /// The installer has made the release.
    fn installed(&mut self, op: OpId, release: Release, ctx: &mut Context<Self>) {
        let Some(operation) = self.deployer.operations.get(op) else {
            return;
        };
        let config = Arc::clone(&operation.config);
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let runnable =
            actix_rt::task::spawn_blocking(move || Runnable::new(&context, &dirs, release, config));
        ctx.spawn(runnable.into_actor(self).map(move |runnable, app, ctx| {
            let failed = |reason| Failure::new(Step::Start, reason);
            app.made(op, answer(runnable).map_err(failed), Origin::Installed, ctx);
        }));
    }

    pub(super) fn installer_crashed(&mut self, op: OpId, exit: &Exit, ctx: &mut Context<Self>) {
        let reason = format!("the server's installer ended unexpectedly: {exit:?}");
        self.build_failed(op, Failure::new(Step::Install, reason), ctx);
    }

    /// Loads a kept release instead.
    pub(super) fn load(&mut self, op: OpId, release: u64, ctx: &mut Context<Self>) {
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let standing = Arc::clone(self.deployer.documents.standing());
        let loaded = actix_rt::task::spawn_blocking(move || {
            Runnable::load(&context, &dirs, release, &standing)
        });
        ctx.spawn(loaded.into_actor(self).map(move |loaded, app, ctx| {
            let failed = |why| {
                let reason = format!("release {release} cannot be started: {why}");
                Failure::new(Step::Start, reason).hint("redeploy makes a new release")
            };
            app.made(op, answer(loaded).map_err(failed), Origin::Kept, ctx);
        }));
    }

    /// Makes a new release of the same code instead: only the document is new.
    fn derive(&mut self, op: OpId, of: u64, ctx: &mut Context<Self>) {
        let id = self.deployer.derive_release(op, of);
        let config = Arc::clone(self.deployer.documents.newest());
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let noted = self.deployer.written();
        let derive = move || {
            let release = release::derive(&dirs, of, id, config.document.clone())?;
            let runnable = Runnable::new(&context, &dirs, release, config)?;
            Result::<_, RunnableError>::Ok(runnable)
        };
        let derived = async move {
            noted.await;
            actix_rt::task::spawn_blocking(derive).await
        };
        ctx.spawn(derived.into_actor(self).map(move |derived, app, ctx| {
            let failed = |reason| Failure::new(Step::Start, reason);
            app.made(op, answer(derived).map_err(failed), Origin::Kept, ctx);
        }));
    }

    /// Does what the newest document takes, which may be less than a deploy.
    pub(super) fn configure(&mut self, op: OpId, ctx: &mut Context<Self>) {
        let serving = self.serving_config();
        let plan = match self.deployer.plan(op, serving.as_deref()) {
            Plan::Reconfigure(batch, work) => match self.restarts_for_scale(batch, work) {
                Some(release) => Plan::Load(release),
                None => Plan::Reconfigure(batch, work),
            },
            plan => plan,
        };
        let event = match plan {
            Plan::Derive(release) => return self.derive(op, release, ctx),
            Plan::Load(release) => return self.load(op, release, ctx),
            Plan::Deploy => {
                let recreate = self.deployer.documents.recreates();
                Event::Deploys { op, recreate }
            }
            Plan::Reconfigure(batch, work) => match self.reconfigure(op, batch) {
                Err(failure) => return self.build_failed(op, *failure, ctx),
                Ok(Some(processes)) if work == Work::Scale => Event::Resized { op, processes },
                Ok(_) => Event::Configured(op),
            },
        };
        self.feed(event, ctx);
    }

    /// The release that is to be started anew, where its engine cannot end those processes that a smaller scale ends.
    fn restarts_for_scale(&self, batch: BatchId, work: Work) -> Option<u64> {
        let batch = self.batches.get(batch).filter(|_| work == Work::Scale)?;
        let after = batch
            .runnable
            .reconfigured(self.deployer.documents.standing());
        let ends = |id: &str| after.slots.iter().all(|slot| slot.id != id);
        let mut present = batch.members().map(|(slot, _)| slot.id.as_str());
        let is_needed = !batch.runnable.engine.chooses_who_ends() && present.any(ends);
        is_needed.then(|| batch.runnable.id())
    }

    /// Gives a batch the scale and route of the standing document. Returns the processes that it should have now, unless
    /// there is no room for them.
    fn reconfigure(&mut self, op: OpId, id: BatchId) -> Result<Option<Vec<String>>, Box<Failure>> {
        let Some(batch) = self.batches.get(id) else {
            return Ok(None);
        };
        let before = Arc::clone(&batch.runnable);
        let changed = before.reconfigured(self.deployer.documents.standing());
        let more = changed.ports().saturating_sub(before.ports());
        if let Some(operation) = self.deployer.operations.get(op) {
            operation.before = Some(before);
        }
        if let Some(failure) = self.lacks_ports(more, 0) {
            return Err(Box::new(failure));
        }
        let processes = changed.slots.iter().map(|slot| slot.id.clone()).collect();
        if let Some(batch) = self.batches.get_mut(id) {
            batch.reconfigure(Arc::new(changed));
        }
        Ok(Some(processes))
    }
}

impl Handler<InstallProgress> for App {
    type Result = ();

    fn handle(&mut self, progress: InstallProgress, ctx: &mut Self::Context) {
        let InstallProgress { deployment, event } = progress;
        let op = self.deployer.operations.of_deployment(deployment);
        let Some(op) = op.filter(|op| self.deployer.is_active(*op)) else {
            return;
        };
        let deployments = &mut self.deployer.deployments;
        match event {
            InstallEvent::Started(step) => deployments.step(deployment, step),
            InstallEvent::Finished(step, took) => {
                deployments.step_over(deployment, step, Some(took));
            }
            InstallEvent::Commit(commit) => deployments.commit(deployment, commit),
            InstallEvent::Done(release) => self.installed(op, *release, ctx),
            InstallEvent::Failed(failure) => self.build_failed(op, *failure, ctx),
        }
    }
}

/// Built: the release can be started, or could not be made.
impl App {
    pub(super) fn built(
        &mut self,
        op: OpId,
        built: Result<Runnable, Failure>,
        ctx: &mut Context<Self>,
    ) {
        let runnable = match built {
            Ok(runnable) => runnable,
            Err(failure) => return self.build_failed(op, failure, ctx),
        };
        let replaces = self.replaced_by(&runnable.config);
        let operation = self.deployer.operations.get(op);
        // What ran before the server's start has its ports, and goes on.
        if operation.is_some_and(|operation| operation.deployment.is_some())
            && let Some(failure) = self.lacks_room_for(&runnable, &replaces)
        {
            return self.build_failed(op, failure, ctx);
        }
        let event = Event::Built {
            op,
            release: runnable.id(),
            processes: runnable.slots.iter().map(|s| s.id.clone()).collect(),
            replaces,
        };
        if let Some(operation) = self.deployer.operations.get(op) {
            operation.runnable = Some(Arc::new(runnable));
            self.feed(event, ctx);
        }
    }

    pub(super) fn build_failed(&mut self, op: OpId, failure: Failure, ctx: &mut Context<Self>) {
        if let Some(operation) = self.deployer.operations.get(op) {
            operation.failure = Some(failure);
            self.feed(Event::BuildFailed(op), ctx);
        }
    }

    /// The processes of the serving batch that must not run beside their successors.
    fn replaced_by(&self, config: &AppConfig) -> Replaces {
        if config.strategy.is_all(Strategy::Recreate) {
            return Replaces::All;
        }
        let serving = self.serving().into_iter().flat_map(Batch::members);
        let slots = serving.map(|(slot, _)| slot);
        let recreated = slots.filter(|s| config.strategy.of(&s.process_type) == Strategy::Recreate);
        Replaces::These(recreated.map(|slot| slot.id.clone()).collect())
    }
}

/// Cleared: the batch is spawned. From then on `processes` feeds the lifecycle, until the batch is promoted and the one
/// before it drains.
impl App {
    /// Starts the processes of a batch, or takes over those that the previous server left.
    pub(super) fn spawn_batch(&mut self, id: BatchId, op: OpId, ctx: &mut Context<Self>) {
        let operation = self.deployer.operations.get(op);
        let Some((runnable, deployment)) =
            operation.and_then(|o| Some((o.runnable.clone()?, o.deployment)))
        else {
            log::error!("{}: batch {id} has no release", self.name());
            return;
        };
        if let Some(deployment) = deployment {
            self.deployer.deployments.step(deployment, Step::Start);
            self.log_start(deployment);
        }
        let batch = Batch::new(runnable);
        let ids = batch.members().map(|(slot, _)| slot.id.clone()).collect();
        self.batches.insert(id, batch);
        self.grow(id, op, ids, ctx);
        self.end_surplus(ctx);
        failpoint::reach("spawned");
    }

    /// Waits until the batch has no request in flight, at most for its drain time. If no other batch serves, the app is
    /// away meanwhile: then it waits for the stop time-out at most (5 s when a user stopped the app).
    pub(super) fn drain(&mut self, id: BatchId, ctx: &mut Context<Self>) {
        let life = &self.deployer.life;
        let (wanted, is_replaced) = (life.wanted(), life.serving().is_some());
        let Some(batch) = self.batches.get_mut(id) else {
            return;
        };
        let config = &batch.runnable.config;
        let limit = match wanted {
            Wanted::Running if is_replaced => config.drain,
            // Who came as it fell asleep is not to notice.
            Wanted::Asleep => config.drain,
            Wanted::Running => config.drain.min(config.stop.timeout),
            _ => config.stop.timeout.min(std::time::Duration::from_secs(5)),
        };
        let drained = super::processes::drained(batch.drain(), limit);
        ctx.spawn(
            drained
                .into_actor(self)
                .map(move |(), app, ctx| app.feed(Event::Drained(id), ctx)),
        );
    }
}

/// The end: what became of the operation is recorded, and who waits is answered.
impl App {
    pub(super) fn finish(&mut self, op: OpId, end: End, ctx: &mut Context<Self>) {
        let Some(ended) = self.deployer.end(op, end, self.ending) else {
            return;
        };
        let Ended {
            operation,
            end,
            back_to,
        } = ended;
        let serving = self.deployer.life.serving();
        let serving = serving.and_then(|id| self.batches.get_mut(id));
        if let (Some(before), Some(batch)) = (back_to, serving) {
            batch.reconfigure(before);
        }
        self.follow_schedules(ctx);
        self.follow_sleep(ctx);
        self.pack_pushed(ctx);
        let deployment = operation.deployment;
        match end {
            End::Done => {
                self.close_deployment(deployment, DeploymentState::Succeeded, None);
                self.refresh_releases(ctx);
                self.done(operation, ctx);
            }
            End::Superseded => {
                self.close_deployment(deployment, DeploymentState::Superseded, None);
                self.deployer.overtaken(operation);
            }
            End::Cancelled => {
                let state = match self.ending {
                    true => DeploymentState::Interrupted,
                    false => DeploymentState::Cancelled,
                };
                self.close_deployment(deployment, state, None);
                let why = self.deployer.why_cancelled(deployment, self.ending);
                operation.close(Outcome::Dropped(why));
            }
            End::Failed(cause, batch) => {
                let known = operation.failure.clone();
                let described = self.describe_failure(known, cause, batch);
                self.deployer.operations.leave_open(op, operation);
                self.fail(op, described, ctx);
            }
        }
    }

    fn close_deployment(
        &mut self,
        id: Option<u64>,
        state: DeploymentState,
        failure: Option<Failure>,
    ) {
        if let Some(id) = id {
            self.deployer.deployments.close(id, state, failure);
            self.log_end(id);
        }
    }

    /// After an operation succeeded: goes on with a removal, or answers and removes old releases.
    fn done(&mut self, operation: Operation, ctx: &mut Context<Self>) {
        if let Some(removal) = &mut self.deployer.removal {
            removal.operation = Some(operation);
            self.publisher.publish(None);
            return self.end(ctx);
        }
        // The answer must be true for the next request, and after a power cut.
        let (routed, kept) = (self.publisher.settled(), self.deployer.written());
        let moved = self.move_branch(&operation);
        let done = async move {
            futures::future::join(routed, kept).await;
            // What the disk does not know to run, no branch may say.
            moved.await
        };
        ctx.spawn(done.into_actor(self).then(move |has_moved, app, _| {
            if has_moved {
                app.branch_moved(&operation);
            }
            let kept = app.deployer.written().into_actor(app);
            kept.map(move |(), _, _| operation.close(Outcome::Done))
        }));
        self.tidy(ctx);
    }

    /// Closes a failed operation once the reason is known. It stays open until then, since the search for the reason
    /// needs the files of its release.
    fn fail(
        &mut self,
        op: OpId,
        described: impl Future<Output = Failure> + 'static,
        ctx: &mut Context<Self>,
    ) {
        // Who is answered may rely on it that the standing document is on disk.
        let written = self.deployer.written();
        let described = async move { futures::join!(described, written).0 };
        ctx.spawn(described.into_actor(self).map(move |failure, app, ctx| {
            log::warn!("{}: {failure}", app.name());
            let Some(operation) = app.deployer.operations.take(op) else {
                return;
            };
            let (state, told) = (DeploymentState::Failed, Some(failure.clone()));
            app.close_deployment(operation.deployment, state, told);
            app.refresh_releases(ctx);
            app.tidy(ctx);
            // The answer must be true after a power cut, too.
            let kept = app.deployer.written().into_actor(app);
            ctx.spawn(kept.map(move |(), _, _| {
                operation.close(Outcome::Failed(Box::new(failure)));
            }));
        }));
    }
}
