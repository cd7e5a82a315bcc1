//! Makes and loads releases, and takes the reports of the installer and of processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;

use super::App;
use crate::account::{Account, AccountError};
use crate::app::batch::Batch;
use crate::app::context::AppContext;
use crate::app::lifecycle::{BatchId, Event, OpId, Replaces};
use crate::app::operations::{Operation, Outcome};
use crate::app::runnable::{self, Runnable};
use crate::app_dirs::AppDirs;
use crate::document::config::{AppConfig, Strategy};
use crate::install::record::{Failure, Step};
use crate::install::release;
use crate::install::spec::{InstallEvent, InstallProgress, InstallSpec};
use crate::process::phase::Phase;
use crate::process::worker::{ProcessChanged, Snapshot};
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
    let (account, _warnings) = runnable::account(context, config)?;
    Ok(Prepared {
        base_env: runnable::base_environment(account.as_ref(), dirs)?,
        configured_env: runnable::configured_environment(context, config),
        account,
    })
}

impl App {
    /// Makes a release for `op`.
    pub(super) fn build(&mut self, op: OpId, ctx: &mut Context<Self>) {
        let Some((config, deployment)) = self
            .operations
            .get(op)
            .map(|o| (Arc::clone(&o.config), o.deployment))
        else {
            return;
        };
        let deployment = deployment.unwrap_or_default();
        let release = self.next_release;
        self.next_release += 1;
        self.makes(op, release);
        self.deployments.runs(deployment, release, &self.journal);
        let (context, dirs, asked) = (
            self.spec.context.clone(),
            self.spec.dirs.clone(),
            Arc::clone(&config),
        );
        let spec = move |prepared: Prepared, app: &Self| InstallSpec {
            deployment,
            release,
            config,
            dirs: app.spec.dirs.clone(),
            seal: app.seal(prepared.account.as_ref()),
            account: prepared.account,
            base_env: prepared.base_env,
            configured_env: prepared.configured_env,
            in_use: app.in_use().0,
            timeouts: app.spec.context.settings.step_timeouts,
        };
        let (in_use, newest) = self.in_use();
        let (failed, noted) = (self.failed_releases(), self.journal.flushed());
        let keep = self.releases_kept(&asked);
        let prepare = move || {
            // Now, before the new release needs the space.
            failed.iter().for_each(|id| release::discard(&dirs, *id));
            release::prune(&dirs, keep, &in_use, newest);
            prepare(&context, &dirs, &asked)
        };
        let prepared = async move {
            noted.await;
            actix_rt::task::spawn_blocking(prepare).await
        };
        ctx.spawn(
            prepared
                .into_actor(self)
                .map(move |prepared, app, ctx| match prepared {
                    Ok(Ok(prepared)) if app.is_active(op) => {
                        let spec = spec(prepared, app);
                        app.start_installer(op, spec, ctx);
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(e)) => {
                        app.build_failed(op, Failure::new(Step::Install, e.to_string()), ctx);
                    }
                    Err(e) => app.build_failed(op, Failure::new(Step::Install, e.to_string()), ctx),
                }),
        );
    }

    /// Loads a kept release for `op`.
    pub(super) fn load(&mut self, op: OpId, release: u64, ctx: &mut Context<Self>) {
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let standing = Arc::clone(&self.standing);
        let loaded = actix_rt::task::spawn_blocking(move || {
            Runnable::load(&context, &dirs, release, &standing)
        });
        ctx.spawn(loaded.into_actor(self).map(move |loaded, app, ctx| {
            let failure = match loaded {
                Ok(Ok(runnable)) => return app.built(op, runnable, ctx),
                Ok(Err(e)) => e.to_string(),
                Err(e) => e.to_string(),
            };
            let mut failure = Failure::new(
                Step::Start,
                format!("release {release} cannot be started: {failure}"),
            );
            failure.hint = Some("redeploy makes a new release".to_owned());
            app.build_failed(op, failure, ctx);
        }));
    }

    fn made(&mut self, op: OpId, release: release::Release, ctx: &mut Context<Self>) {
        let Some(config) = self.operations.get(op).map(|o| Arc::clone(&o.config)) else {
            return;
        };
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let runnable =
            actix_rt::task::spawn_blocking(move || Runnable::new(&context, &dirs, release, config));
        ctx.spawn(
            runnable
                .into_actor(self)
                .map(move |runnable, app, ctx| match runnable {
                    Ok(Ok(runnable)) => app.built(op, runnable, ctx),
                    Ok(Err(e)) => {
                        app.build_failed(op, Failure::new(Step::Start, e.to_string()), ctx);
                    }
                    Err(e) => app.build_failed(op, Failure::new(Step::Start, e.to_string()), ctx),
                }),
        );
    }

    pub(super) fn built(&mut self, op: OpId, runnable: Runnable, ctx: &mut Context<Self>) {
        let event = Event::Built {
            op,
            release: runnable.id(),
            processes: runnable.slots.iter().map(|s| s.id.clone()).collect(),
            replaces: self.replaced_by(&runnable.config),
        };
        if let Some(operation) = self.operations.get(op) {
            operation.runnable = Some(Arc::new(runnable));
            self.feed(event, ctx);
        }
    }

    /// The processes of the serving batch that must not run beside their successors.
    fn replaced_by(&self, config: &AppConfig) -> Replaces {
        if Self::is_recreate(config) {
            return Replaces::All;
        }
        let serving = self.life.serving().and_then(|id| self.batches.get(&id));
        let slots = serving
            .into_iter()
            .flat_map(Batch::members)
            .map(|(slot, _)| slot);
        let recreated = slots.filter(|s| config.strategy.of(&s.process_type) == Strategy::Recreate);
        Replaces::These(recreated.map(|slot| slot.id.clone()).collect())
    }

    pub(super) fn build_failed(&mut self, op: OpId, failure: Failure, ctx: &mut Context<Self>) {
        if let Some(operation) = self.operations.get(op) {
            operation.failure = Some(failure);
            self.feed(Event::BuildFailed(op), ctx);
        }
    }

    pub(super) fn installer_crashed(&mut self, op: OpId, exit: &Exit, ctx: &mut Context<Self>) {
        let reason = format!("the server's installer ended unexpectedly: {exit:?}");
        self.build_failed(op, Failure::new(Step::Install, reason), ctx);
    }

    pub(super) fn is_active(&self, op: OpId) -> bool {
        self.life.active().is_some_and(|(active, _)| active == op)
    }

    /// After an operation succeeded: goes on with a removal, or answers and removes old releases.
    pub(super) fn after_done(&mut self, operation: Operation, ctx: &mut Context<Self>) {
        if let Some(removal) = &mut self.removal {
            removal.operation = Some(operation);
            self.publisher.publish(None);
            return self.end(ctx);
        }
        // The answer must be true for the next request, and after a power cut.
        let (routed, kept) = (self.publisher.settled(), self.journal.flushed());
        let done = futures::future::join(routed, kept).into_actor(self);
        ctx.spawn(done.map(move |_, _, _| operation.close(Outcome::Done)));
        self.tidy(ctx);
    }
}

impl Handler<InstallProgress> for App {
    type Result = ();

    fn handle(&mut self, progress: InstallProgress, ctx: &mut Self::Context) {
        let InstallProgress { deployment, event } = progress;
        let Some(op) = self
            .operations
            .of_deployment(deployment)
            .filter(|op| self.is_active(*op))
        else {
            return;
        };
        match event {
            InstallEvent::Started(step) => self.deployments.step(deployment, step, &self.journal),
            InstallEvent::Finished(step, took) => {
                self.deployments
                    .step_over(deployment, step, Some(took), &self.journal);
            }
            InstallEvent::Commit(commit) => {
                self.deployments.commit(deployment, commit, &self.journal);
            }
            InstallEvent::Done(release) => self.made(op, *release, ctx),
            InstallEvent::Failed(failure) => self.build_failed(op, *failure, ctx),
        }
    }
}

impl Handler<ProcessChanged> for App {
    type Result = ();

    fn handle(&mut self, change: ProcessChanged, ctx: &mut Self::Context) {
        let ProcessChanged {
            batch,
            snapshot,
            exited,
        } = change;
        self.report_process(batch, &snapshot, exited.as_ref());
        if let Some(exit) = exited
            .as_ref()
            .filter(|_| snapshot.phase == Phase::Finished)
        {
            self.note_finished(batch, &snapshot.id, exit);
        }
        let of = self.batches.get(&batch);
        let is_done = of.is_some_and(|b| b.has_done_its_work(&snapshot));
        let event = Event::Process {
            batch,
            id: snapshot.id.clone(),
            phase: snapshot.phase,
            // Without a free port the operation fails at once: it would only keep one waiting that could free a port.
            exited: exited.is_some() && !is_done || snapshot.has_no_port,
        };
        // The name of a leaving process is free only when its actor is gone: `make_sure_of_end` reports that.
        let leaves = self
            .batches
            .get(&batch)
            .is_some_and(|b| b.is_leaving(&snapshot.id));
        let is_told = leaves && snapshot.phase == Phase::Stopped;
        self.take_snapshot(batch, snapshot);
        if !is_told {
            self.feed(event, ctx);
        }
    }
}

impl App {
    fn take_snapshot(&mut self, batch: BatchId, snapshot: Snapshot) {
        if let Some(port) = snapshot.port {
            self.ports.insert(snapshot.id.clone(), port);
        }
        if let Some(batch) = self.batches.get_mut(&batch) {
            batch.update(snapshot);
            let proven = batch.is_ready().then(|| batch.runnable.id());
            if let Some(release) = proven {
                self.proves(release);
            }
        }
    }
}
