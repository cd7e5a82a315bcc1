//! Requests to one app: the messages of the API and of Apps.

use std::sync::Arc;

use actix::prelude::*;

use super::{App, AppError, Ticket};
use crate::app::lifecycle::{Event, Kind, OpId, Wanted};
use crate::document::config::AppConfig;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Stop,
    /// New processes of the current release.
    Restart,
    /// Deploy the configured reference anew.
    Redeploy,
    /// Activate a kept release; `None`: the one before the current.
    Rollback(Option<u64>),
}

/// The answer to [`Act`].
#[derive(Clone, Debug)]
pub enum Accepted {
    /// Nothing to do: it is so already.
    Already,
    Underway(Ticket),
}

/// Does something with the app.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppError>")]
pub struct Act(pub Action);

/// Takes a new document and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppError>")]
pub struct Deploy(pub Arc<AppConfig>);

#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Result<(), AppError>")]
pub struct Cancel(pub u64);

/// Stops everything and removes everything; the actor ends when that is done.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Result<Ticket, AppError>")]
pub struct Remove {
    /// Keep `storage/`.
    pub keep_storage: bool,
}

impl App {
    pub(super) fn request(
        &mut self,
        kind: Kind,
        deployment: Option<u64>,
        ctx: &mut Context<Self>,
    ) -> Ticket {
        let (op, ticket) = self
            .operations
            .open(Arc::clone(&self.spec.config), deployment);
        if let (Kind::Activate { .. }, Some(_), Some(operation)) =
            (kind, deployment, self.operations.get(op))
        {
            operation.rolls_back = true;
        }
        self.feed(Event::Request(op, kind), ctx);
        ticket
    }

    pub(super) fn deploy(&mut self, ctx: &mut Context<Self>) -> Ticket {
        let deployment = self.deployments.open(&self.journal);
        let recreate = Self::is_recreate(&self.spec.config);
        self.request(Kind::Deploy { recreate }, Some(deployment), ctx)
    }

    fn start(&mut self, ctx: &mut Context<Self>) -> Result<Accepted, AppError> {
        match (self.life.active(), self.life.current()) {
            (Some((_, Kind::Stop)), Some(release)) => Ok(self.start_release(release, ctx)),
            (Some((_, Kind::Stop)), None) => Ok(Accepted::Underway(self.deploy(ctx))),
            (Some(_), _) => Ok(Accepted::Already),
            (None, _) if self.life.serving().is_some() => Ok(Accepted::Already),
            (None, Some(release)) => Ok(self.start_release(release, ctx)),
            (None, None) => Ok(Accepted::Underway(self.deploy(ctx))),
        }
    }

    /// Starts `release`, then does what the document takes beyond it.
    fn start_release(&mut self, release: u64, ctx: &mut Context<Self>) -> Accepted {
        let started = self.activate(release, None, ctx);
        match self.catch_up(release, ctx) {
            Some(ticket) => Accepted::Underway(ticket),
            None => started,
        }
    }

    fn stop(&mut self, ctx: &mut Context<Self>) -> Accepted {
        let stopped = self.life.wanted() == Wanted::Stopped && self.life.active().is_none();
        if stopped && self.life.batches().next().is_none() {
            return Accepted::Already;
        }
        Accepted::Underway(self.request(Kind::Stop, None, ctx))
    }

    fn restart(&mut self, ctx: &mut Context<Self>) -> Result<Accepted, AppError> {
        self.refuse_if_busy("restart")?;
        match self.life.current() {
            Some(release) => Ok(self.activate(release, None, ctx)),
            None => Err(AppError::NothingToRestart(self.spec.config.name.clone())),
        }
    }

    fn roll_back(
        &mut self,
        release: Option<u64>,
        ctx: &mut Context<Self>,
    ) -> Result<Accepted, AppError> {
        self.refuse_if_busy("roll back")?;
        let current = self.life.current();
        let is_proven = |id: &u64| !self.unproven.contains(id);
        let kept = || self.releases.iter().map(|r| r.id).filter(is_proven);
        let target = match release {
            Some(wanted) => kept().find(|id| *id == wanted),
            None => kept().filter(|id| Some(*id) < current).max(),
        };
        let Some(target) = target else {
            return Err(AppError::NoSuchRelease {
                wanted: release,
                kept: kept().collect(),
            });
        };
        let deployment = self.deployments.open(&self.journal);
        if let Some(record) = self.releases.iter().find(|r| r.id == target) {
            self.deployments
                .commit(deployment, record.commit.clone(), &self.journal);
        }
        self.deployments.runs(deployment, target, &self.journal);
        Ok(self.activate(target, Some(deployment), ctx))
    }

    fn activate(
        &mut self,
        release: u64,
        deployment: Option<u64>,
        ctx: &mut Context<Self>,
    ) -> Accepted {
        Accepted::Underway(self.request(Kind::Activate { release }, deployment, ctx))
    }

    fn refuse_if_busy(&self, action: &'static str) -> Result<(), AppError> {
        match self.life.active() {
            Some((_, Kind::Deploy { .. })) => Err(AppError::Deploying { action }),
            Some((_, Kind::Remove)) => Err(self.is_going()),
            _ => Ok(()),
        }
    }

    pub(super) fn is_going(&self) -> AppError {
        AppError::BeingRemoved(self.spec.config.name.clone())
    }
}

impl App {
    fn act(&mut self, action: Action, ctx: &mut Context<Self>) -> Result<Accepted, AppError> {
        if self.life.wanted() == Wanted::Removed {
            return Err(self.is_going());
        }
        log::info!("{}: {action:?} was asked for", self.name());
        match action {
            Action::Start => self.start(ctx),
            Action::Stop => Ok(self.stop(ctx)),
            Action::Restart => self.restart(ctx),
            Action::Redeploy => Ok(Accepted::Underway(self.deploy(ctx))),
            Action::Rollback(release) => self.roll_back(release, ctx),
        }
    }

    /// Delays the answer until what was accepted is on disk: a daemon that ends right after it must not forget it.
    fn kept<T: 'static>(&self, answer: T) -> ResponseFuture<T> {
        let written = self.journal.flushed();
        Box::pin(async move {
            written.await;
            answer
        })
    }
}

impl Handler<Act> for App {
    type Result = ResponseFuture<Result<Accepted, AppError>>;

    fn handle(&mut self, Act(action): Act, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.act(action, ctx);
        self.kept(answer)
    }
}

impl Handler<Deploy> for App {
    type Result = Result<Ticket, AppError>;

    fn handle(&mut self, Deploy(config): Deploy, ctx: &mut Self::Context) -> Self::Result {
        if self.life.wanted() == Wanted::Removed {
            return Err(self.is_going());
        }
        self.spec.config = config;
        self.warnings.clear();
        Ok(self.deploy(ctx))
    }
}

impl Handler<Cancel> for App {
    type Result = Result<(), AppError>;

    fn handle(&mut self, Cancel(id): Cancel, ctx: &mut Self::Context) -> Self::Result {
        let is_over = |op: &OpId| {
            [self.life.active(), self.life.waiting()]
                .iter()
                .flatten()
                .all(|(of, _)| of != op)
        };
        let open = self.operations.of_deployment(id);
        if let Some(op) = open.filter(|op| !is_over(op)) {
            self.feed(Event::Cancel(op), ctx);
            return Ok(());
        }
        if self.deployments.records().iter().any(|r| r.id == id) {
            return Err(AppError::DeploymentIsOver(id));
        }
        let app = self.spec.config.name.clone();
        Err(AppError::NoSuchDeployment { app, id })
    }
}

impl Handler<Remove> for App {
    type Result = ResponseFuture<Result<Ticket, AppError>>;

    fn handle(&mut self, Remove { keep_storage }: Remove, ctx: &mut Self::Context) -> Self::Result {
        if self.life.wanted() == Wanted::Removed {
            return Box::pin(std::future::ready(Err(self.is_going())));
        }
        self.removal = Some(super::removal::Removal {
            keep_storage,
            operation: None,
        });
        let ticket = self.request(Kind::Remove, None, ctx);
        self.kept(Ok(ticket))
    }
}
