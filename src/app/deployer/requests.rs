//! Takes what users ask for: to start, stop, restart, redeploy, roll back, cancel and remove.

use std::sync::Arc;

use super::{AppError, Deployer, Removal};
use crate::app::lifecycle::{Command, Event, Kind, OpId, Wanted};
use crate::app::operations::Ticket;
use crate::events::By;
use crate::events::report::REMOVED;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Stop,
    /// New processes of the current release.
    Restart,
    /// Deploy the configured reference anew.
    Redeploy {
        /// What the release before has left may be used.
        use_cache: bool,
    },
    /// Deploy this commit, which was put into the mirror of an app that is pushed to
    /// ([`Pushed`](crate::install::pushed::Pushed)). The branch moves to it when it serves.
    Deploy {
        commit: String,
    },
    /// Activate a kept release; `None`: the one before the current.
    Rollback(Option<u64>),
    /// Stop everything and remove everything; the actor ends when that is done.
    Remove {
        /// Keep `storage/`.
        keep_storage: bool,
    },
}

/// What becomes of a request that is not refused.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// Nothing to do: it is so already.
    Already,
    Underway(Ticket),
}

impl Action {
    /// What it is called when it is told; `None` for one that always is a deployment.
    fn change(&self) -> Option<&'static str> {
        match self {
            Self::Start => Some("started"),
            Self::Stop => Some("stopped"),
            Self::Restart => Some("restarted"),
            Self::Remove { .. } => Some(REMOVED),
            Self::Redeploy { .. } | Self::Deploy { .. } | Self::Rollback(_) => None,
        }
    }
}

impl Deployer {
    /// Does it for `by`, who is told of in what follows.
    ///
    /// # Errors
    /// The application is in no state for it.
    pub fn act(
        &mut self,
        action: Action,
        by: By,
        out: &mut Vec<Command>,
    ) -> Result<Accepted, AppError> {
        self.refuse_if_removed()?;
        log::info!("{}: {action:?} was asked for by {by}", self.name());
        self.by = by;
        let change = action.change();
        let accepted = self.carry_out(action, out)?;
        if let (Accepted::Underway(ticket), Some(change)) = (&accepted, change) {
            // A deployment is told by itself, and who asked for it.
            if ticket.deployment.is_none() {
                self.report_change(change, None);
            }
        }
        Ok(accepted)
    }

    fn carry_out(&mut self, action: Action, out: &mut Vec<Command>) -> Result<Accepted, AppError> {
        match action {
            Action::Start => Ok(self.start(out)),
            Action::Stop => Ok(self.stop(out)),
            Action::Restart => self.restart(out),
            Action::Deploy { commit } => self.deploy_commit(commit, out),
            Action::Redeploy { use_cache } => Ok(Accepted::Underway(self.redeploy(use_cache, out))),
            Action::Rollback(release) => self.roll_back(release, out),
            Action::Remove { keep_storage } => {
                Ok(Accepted::Underway(self.remove(keep_storage, out)))
            }
        }
    }

    /// Cancels deployment `id`, which is at work or waits.
    ///
    /// # Errors
    /// It is over, or there is none.
    pub fn cancel(&mut self, id: u64, by: By, out: &mut Vec<Command>) -> Result<(), AppError> {
        self.by = by;
        let is_over = |op: &OpId| {
            [self.life.active(), self.life.waiting()]
                .iter()
                .flatten()
                .all(|(of, _)| of != op)
        };
        let open = self.operations.of_deployment(id);
        if let Some(op) = open.filter(|op| !is_over(op)) {
            self.report_change("cancelled", Some(format!("deployment {id}")));
            self.handle(Event::Cancel(op), out);
            return Ok(());
        }
        if self.deployments.records().iter().any(|r| r.id == id) {
            return Err(AppError::DeploymentIsOver(id));
        }
        let app = self.name().clone();
        Err(AppError::NoSuchDeployment { app, id })
    }

    /// Deploys `commit` with the newest document.
    fn deploy_commit(
        &mut self,
        commit: String,
        out: &mut Vec<Command>,
    ) -> Result<Accepted, AppError> {
        if self.documents.newest().repo.pushed_branch().is_none() {
            return Err(AppError::NotPushed(self.name().clone()));
        }
        Ok(Accepted::Underway(self.deploy_of(Some(commit), out)))
    }

    /// Whether there is nothing to deploy yet: nothing has been pushed.
    #[must_use]
    pub fn awaits_push(&self) -> bool {
        let is_pushed = self.documents.newest().repo.pushed_branch().is_some();
        let is_new = self.life.current().is_none() && self.releases.records.is_empty();
        is_pushed && is_new && !self.has_code && self.life.active().is_none()
    }

    /// Deploys the newest document.
    pub fn deploy(&mut self, out: &mut Vec<Command>) -> Ticket {
        self.deploy_of(None, out)
    }

    fn deploy_of(&mut self, commit: Option<String>, out: &mut Vec<Command>) -> Ticket {
        let deployment = self.deployments.open(&self.by);
        let recreate = self.documents.recreates();
        if let (Wanted::Asleep, Some(release), false) =
            (self.life.wanted(), self.life.current(), recreate)
        {
            // Requests are answered while the new release is made.
            let _woken = self.request(Kind::Activate { release }, None, out);
        }
        let newest = Arc::clone(self.documents.newest());
        let (op, ticket) = self
            .operations
            .open(newest, Some(deployment), self.by.clone());
        if let Some(operation) = self.operations.get(op) {
            operation.commit = commit;
        }
        self.handle(Event::Request(op, Kind::Deploy { recreate }), out);
        ticket
    }

    fn redeploy(&mut self, use_cache: bool, out: &mut Vec<Command>) -> Ticket {
        let ticket = self.deploy(out);
        let op = ticket
            .deployment
            .and_then(|id| self.operations.of_deployment(id));
        if let Some(operation) = op.and_then(|op| self.operations.get(op)) {
            operation.use_cache &= use_cache;
        }
        ticket
    }

    pub(in crate::app) fn remove(&mut self, keep_storage: bool, out: &mut Vec<Command>) -> Ticket {
        self.removal = Some(Removal {
            keep_storage,
            operation: None,
        });
        self.request(Kind::Remove, None, out)
    }

    pub(in crate::app) fn request(
        &mut self,
        kind: Kind,
        deployment: Option<u64>,
        out: &mut Vec<Command>,
    ) -> Ticket {
        let newest = Arc::clone(self.documents.newest());
        let (op, ticket) = self.operations.open(newest, deployment, self.by.clone());
        if let (Kind::Activate { .. }, Some(_), Some(operation)) =
            (kind, deployment, self.operations.get(op))
        {
            operation.rolls_back = true;
        }
        self.handle(Event::Request(op, kind), out);
        ticket
    }

    pub(in crate::app) fn refuse_if_removed(&self) -> Result<(), AppError> {
        match self.is_removed() {
            true => Err(AppError::BeingRemoved(self.name().clone())),
            false => Ok(()),
        }
    }

    fn start(&mut self, out: &mut Vec<Command>) -> Accepted {
        match (self.life.active(), self.life.current()) {
            (Some((_, Kind::Stop)), Some(release)) => self.start_release(release, out),
            (Some((_, Kind::Sleep)), Some(release)) if self.life.waiting().is_none() => {
                self.start_release(release, out)
            }
            (Some((_, Kind::Stop)), None) => Accepted::Underway(self.deploy(out)),
            (Some(_), _) => Accepted::Already,
            (None, _) if self.life.serving().is_some() => Accepted::Already,
            (None, Some(release)) => self.start_release(release, out),
            (None, None) => Accepted::Underway(self.deploy(out)),
        }
    }

    /// Lets sleep what nobody asks.
    pub fn sleep(&mut self, out: &mut Vec<Command>) {
        self.by = By::server();
        self.request(Kind::Sleep, None, out);
    }

    /// Starts what sleeps.
    pub fn wake(&mut self, out: &mut Vec<Command>) {
        if self.life.wanted() == Wanted::Asleep {
            self.by = By::server();
            self.start(out);
        }
    }

    /// Starts `release` again, which a deploy has ended that failed.
    pub fn restore(&mut self, release: u64, out: &mut Vec<Command>) {
        self.by = By::server();
        self.request(Kind::Activate { release }, None, out);
    }

    /// Starts `release`, then does what the document takes beyond it.
    fn start_release(&mut self, release: u64, out: &mut Vec<Command>) -> Accepted {
        let started = self.request(Kind::Activate { release }, None, out);
        Accepted::Underway(self.catch_up(release, out).unwrap_or(started))
    }

    fn stop(&mut self, out: &mut Vec<Command>) -> Accepted {
        let stopped = self.life.wanted() == Wanted::Stopped && self.life.active().is_none();
        if stopped && self.life.batches().next().is_none() {
            return Accepted::Already;
        }
        Accepted::Underway(self.request(Kind::Stop, None, out))
    }

    fn restart(&mut self, out: &mut Vec<Command>) -> Result<Accepted, AppError> {
        self.refuse_if_busy("restart")?;
        let Some(release) = self.life.current() else {
            return Err(AppError::NothingToRestart(self.name().clone()));
        };
        let ticket = self.request(Kind::Activate { release }, None, out);
        Ok(Accepted::Underway(ticket))
    }

    fn roll_back(
        &mut self,
        wanted: Option<u64>,
        out: &mut Vec<Command>,
    ) -> Result<Accepted, AppError> {
        self.refuse_if_busy("roll back")?;
        let current = self.life.current();
        let kept: Vec<u64> = self.releases.proven().collect();
        let mut targets = kept.iter().copied();
        let target = match wanted {
            Some(wanted) => targets.find(|id| *id == wanted),
            None => targets.filter(|id| Some(*id) < current).max(),
        };
        let Some(release) = target else {
            return Err(AppError::NoSuchRelease { wanted, kept });
        };
        let deployment = self.deployments.open(&self.by);
        if let Some(record) = self.releases.get(release) {
            self.deployments.commit(deployment, record.commit.clone());
        }
        self.deployments.runs(deployment, release);
        let ticket = self.request(Kind::Activate { release }, Some(deployment), out);
        Ok(Accepted::Underway(ticket))
    }

    fn refuse_if_busy(&self, action: &'static str) -> Result<(), AppError> {
        match self.life.active() {
            Some((_, Kind::Deploy { .. })) => Err(AppError::Deploying { action }),
            Some((_, Kind::Remove)) => Err(AppError::BeingRemoved(self.name().clone())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::lifecycle::Lifecycle;
    use crate::app_dirs::AppDirs;
    use crate::document::config::{AppConfig, Rules};
    use crate::events::Feed;

    #[actix::test]
    async fn what_the_server_does_by_itself_is_nobody_elses() {
        let home = tempfile::tempdir().unwrap();
        let document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        let config = AppConfig::from_document(document, &Rules::default()).unwrap();
        let dirs = AppDirs::new(home.path(), home.path(), &config.name);
        let rules = Rules::default();
        let mut deployer = Deployer::new(Arc::new(config), dirs, rules, Feed::default());
        for wanted in [Wanted::Asleep, Wanted::Running] {
            deployer.life = Lifecycle::new(wanted, Some(1), 1);
            let mut out = Vec::new();
            let none = deployer.cancel(7, By::token("ci"), &mut out);
            assert!(none.is_err());
            match wanted {
                Wanted::Asleep => deployer.wake(&mut out),
                _ => deployer.restore(1, &mut out),
            }
            let (op, _) = deployer.life.active().expect("it begins");
            let operation = deployer.operations.get(op).expect("it is known");
            assert_eq!(operation.by, By::server(), "{wanted:?}");
        }
    }
}
