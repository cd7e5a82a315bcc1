//! What a new document takes: the least work with the effect of a full deploy.

use std::sync::Arc;

use actix::prelude::*;

use super::{Accepted, App, AppError, Ticket};
use crate::app::lifecycle::{End, Event, Kind, OpId, Wanted};
use crate::app::operations::Operation;
use crate::app::runnable::{Runnable, RunnableError, config_of_record};
use crate::document::change::{Work, carried, config_of_release, fingerprint, least_work};
use crate::document::config::AppConfig;
use crate::install::record::{DeploymentState, Failure, Step};
use crate::install::release;

/// Takes a new document and does the least work for it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppError>")]
pub struct Configure(pub Arc<AppConfig>);

/// Replaces the warnings about the app's file in the config directory.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Warn(pub Vec<String>);

impl App {
    fn configure(&mut self, config: Arc<AppConfig>, ctx: &mut Context<Self>) -> Accepted {
        let was_settled = self.is_settled();
        let change = least_work(&self.spec.config, &config);
        let before = std::mem::replace(&mut self.spec.config, config);
        if change <= Work::Scale {
            let standing = carried(&self.standing, &before, &self.spec.config);
            self.stand(standing);
        }
        if was_settled && change <= Work::Scale {
            // Do only what has changed now: what a failed deploy or a rollback left out stays out.
            self.settle(&Arc::clone(&self.spec.config));
        }
        if self.life.wanted() != Wanted::Running || change == Work::Nothing && was_settled {
            return Accepted::Already;
        }
        let is_deploy = |op: Option<(OpId, Kind)>| {
            op.is_some_and(|(_, kind)| matches!(kind, Kind::Deploy { .. }))
        };
        if is_deploy(self.life.waiting()) {
            return Accepted::Underway(self.deploy(ctx));
        }
        match self.work() {
            // The operation at work may change what there is to do, so a waiting one looks again when its turn comes.
            Work::Nothing | Work::Route | Work::Scale if self.life.active().is_none() => {
                Accepted::Underway(self.request(Kind::Configure, None, ctx))
            }
            Work::Deploy if self.life.active().is_none() => Accepted::Underway(self.deploy(ctx)),
            _ => {
                let deployment = self.deployments.open(&self.journal);
                Accepted::Underway(self.request(Kind::Configure, Some(deployment), ctx))
            }
        }
    }

    /// The least work from what runs to the newest document.
    fn work(&self) -> Work {
        let serving = self.life.serving().and_then(|id| self.batches.get(&id));
        let work = match (serving, self.life.current()) {
            (Some(batch), _) => least_work(&batch.runnable.config, &self.spec.config),
            (None, Some(release)) => self.work_from(release),
            (None, None) => return Work::Deploy,
        };
        match self.is_settled() {
            true => work.min(Work::Scale),
            false => work,
        }
    }

    fn work_from(&self, release: u64) -> Work {
        let record = self.releases.iter().find(|r| r.id == release);
        let config = record.and_then(|r| config_of_record(&self.spec.context, r).ok());
        config.map_or(Work::Deploy, |own| {
            least_work(&config_of_release(&own, &self.standing), &self.spec.config)
        })
    }

    /// Carries out a [`Kind::Configure`] whose turn has come.
    pub(super) fn configure_now(&mut self, op: OpId, ctx: &mut Context<Self>) {
        let newest = Arc::clone(&self.spec.config);
        if let Some(operation) = self.operations.get(op) {
            operation.config = newest;
        }
        let event = match (self.work(), self.life.serving(), self.life.current()) {
            (Work::Restart, _, Some(release)) => return self.derive(op, release, ctx),
            (Work::Restart | Work::Deploy, ..) | (_, None, None) => {
                let recreate = Self::is_recreate(&self.spec.config);
                if let Some(operation) = self.operations.get(op) {
                    let journal = &self.journal;
                    let deployments = &mut self.deployments;
                    operation
                        .deployment
                        .get_or_insert_with(|| deployments.open(journal));
                }
                Event::Deploys { op, recreate }
            }
            (_, None, Some(release)) => return self.load(op, release, ctx),
            (work, Some(batch), _) => {
                let batch = self.batches.get_mut(&batch);
                let processes = batch.map(|batch| {
                    let changed = batch.runnable.reconfigured(&self.standing);
                    let ids = changed.slots.iter().map(|slot| slot.id.clone()).collect();
                    if let Some(operation) = self.operations.get(op) {
                        operation.before = Some(Arc::clone(&batch.runnable));
                    }
                    batch.reconfigure(Arc::new(changed));
                    ids
                });
                match processes {
                    Some(processes) if work == Work::Scale => Event::Resized { op, processes },
                    _ => Event::Configured(op),
                }
            }
        };
        self.feed(event, ctx);
    }

    /// Makes a new release of the same code.
    fn derive(&mut self, op: OpId, of: u64, ctx: &mut Context<Self>) {
        let id = self.next_release;
        self.next_release += 1;
        self.makes(op, id);
        let config = Arc::clone(&self.spec.config);
        if let Some(operation) = self.operations.get(op) {
            let deployment = operation.deployment;
            if let Some(deployment) = deployment {
                let commit = self.releases.iter().find(|r| r.id == of);
                if let Some(commit) = commit.map(|r| r.commit.clone()) {
                    self.deployments.commit(deployment, commit, &self.journal);
                }
                self.deployments.runs(deployment, id, &self.journal);
            }
        }
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let noted = self.journal.flushed();
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
            let reason = match derived {
                Ok(Ok(runnable)) => return app.built(op, runnable, ctx),
                Ok(Err(e)) => e.to_string(),
                Err(e) => e.to_string(),
            };
            app.build_failed(op, Failure::new(Step::Start, reason), ctx);
        }));
    }

    /// Requests what the newest document takes beyond `release`, which is starting, unless that was tried or passed
    /// over.
    pub(super) fn catch_up(&mut self, release: u64, ctx: &mut Context<Self>) -> Option<Ticket> {
        if self.is_settled() {
            return None;
        }
        let work = self.work_from(release);
        let ticket = match work {
            Work::Nothing | Work::Route | Work::Scale => return None,
            Work::Restart => {
                let deployment = self.deployments.open(&self.journal);
                self.request(Kind::Configure, Some(deployment), ctx)
            }
            Work::Deploy => self.deploy(ctx),
        };
        log::info!(
            "{}: its document has changed since release {release}: {work:?} follows",
            self.name()
        );
        Some(ticket)
    }

    /// Notes which document stands after an operation. Takes a change of scale back that failed.
    pub(super) fn take_stand(&mut self, operation: &Operation, end: &End) {
        let newest = Arc::clone(&self.spec.config);
        match (end, &operation.runnable, &operation.before) {
            (End::Done, Some(made), _) if made.config.document == operation.config.document => {
                self.stand(carried(&made.config, &made.config, &newest));
            }
            (End::Failed(..), _, Some(before)) => {
                let serving = self.life.serving();
                if let Some(batch) = serving.and_then(|id| self.batches.get_mut(&id)) {
                    batch.reconfigure(Arc::clone(before));
                }
                self.stand(carried(&before.config, &operation.config, &newest));
                // A restart of the server does not try it again either.
                self.settle(&operation.config);
            }
            _ => {}
        }
    }

    /// Takes the document whose scale and route stand from now on.
    pub(super) fn stand(&mut self, config: AppConfig) {
        if *self.standing != config {
            self.standing = Arc::new(config);
            self.remember();
        }
    }

    /// The warning that not all of the newest document is in effect.
    pub(super) fn left_out(&self) -> Option<String> {
        let batch = self.batches.get(&self.life.serving()?)?;
        let lacks = least_work(&batch.runnable.config, &self.spec.config);
        if lacks == Work::Nothing || self.life.active().is_some() {
            return None;
        }
        let (release, name) = (batch.runnable.id(), self.name());
        let newer = || {
            self.release_of_newest(release)
                .filter(|_| lacks > Work::Scale)
        };
        let why = match self.deployments.last() {
            Some(last) if last.state == DeploymentState::Failed => {
                format!("deployment {} failed; redeploy tries it again", last.id)
            }
            Some(last) if last.state == DeploymentState::Cancelled => {
                format!(
                    "deployment {} was cancelled; redeploy tries it again",
                    last.id
                )
            }
            _ if lacks <= Work::Scale => {
                "a change of scale failed; redeploy tries it again".to_owned()
            }
            _ => match newer() {
                Some(newer) => format!(
                    "it is that of release {newer}, and a rollback went back to release {release}; \
                     \"procserver rollback {name} {newer}\" puts it in effect"
                ),
                None => "a rollback passed over it; redeploy tries it again".to_owned(),
            },
        };
        Some(format!(
            "release {release} runs as it did before the newest document, not all of which is in effect: {why}"
        ))
    }

    /// The kept release, other than `serving`, that was made with the newest document, whatever its scale and route.
    fn release_of_newest(&self, serving: u64) -> Option<u64> {
        let others = self.releases.iter().rev().filter(|r| r.id != serving);
        let mut proven = others.filter(|r| !self.unproven.contains(&r.id));
        let newest = proven.find(|r| {
            let config = config_of_record(&self.spec.context, r);
            config.is_ok_and(|config| least_work(&config, &self.spec.config) <= Work::Scale)
        });
        newest.map(|record| record.id)
    }

    /// Whether the newest document needs no attempt any more.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.as_ref() == Some(&fingerprint(&self.spec.config))
    }

    /// Notes that `config` was deployed, well or not, or passed over by a rollback.
    pub(super) fn settle(&mut self, config: &AppConfig) {
        let settled = Some(fingerprint(config));
        if self.settled != settled {
            self.settled = settled;
            self.remember();
        }
    }
}

impl Handler<Configure> for App {
    type Result = Result<Accepted, AppError>;

    fn handle(&mut self, Configure(config): Configure, ctx: &mut Self::Context) -> Self::Result {
        if self.life.wanted() == Wanted::Removed {
            return Err(self.is_going());
        }
        Ok(self.configure(config, ctx))
    }
}

impl Handler<Warn> for App {
    type Result = ();

    fn handle(&mut self, Warn(warnings): Warn, _: &mut Self::Context) {
        self.spec.warnings = warnings;
    }
}
