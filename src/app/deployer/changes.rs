//! Does the least work for a new document that has the effect of a full deploy.

use std::sync::Arc;

use super::{Accepted, AppError, Deployer};
use crate::app::lifecycle::{BatchId, Command, End, Kind, OpId, Wanted};
use crate::app::operations::{Operation, Ticket};
use crate::app::runnable::Runnable;
use crate::document::change::{Work, carried, config_of_release, least_work};
use crate::document::config::AppConfig;
use crate::document::difference::told;
use crate::document::mask;
use crate::events::By;
use crate::install::record::DeploymentState;

/// What an operation of [`Kind::Configure`] does when its turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Deploy,
    /// Make a new release of the code of this one.
    Derive(u64),
    /// Start this release: nothing runs.
    Load(u64),
    /// Give this batch its new route, and more or fewer processes where the work is [`Work::Scale`].
    Reconfigure(BatchId, Work),
}

impl Deployer {
    /// Takes a new document and deploys it whole.
    ///
    /// # Errors
    /// The application is being removed.
    pub fn replace(
        &mut self,
        newest: Arc<AppConfig>,
        by: By,
        out: &mut Vec<Command>,
    ) -> Result<Accepted, AppError> {
        self.refuse_if_removed()?;
        self.by = by;
        self.report_document(&newest);
        self.documents.replace(newest);
        self.remember();
        if self.awaits_push() {
            return Ok(Accepted::Already);
        }
        Ok(Accepted::Underway(self.deploy(out)))
    }

    /// Takes a new document and does the least work for it. `serving` is the document of the batch that serves.
    ///
    /// # Errors
    /// The application is being removed.
    pub fn change(
        &mut self,
        newest: Arc<AppConfig>,
        by: By,
        serving: Option<&AppConfig>,
        out: &mut Vec<Command>,
    ) -> Result<Accepted, AppError> {
        self.refuse_if_removed()?;
        self.by = by;
        self.report_document(&newest);
        let was_settled = self.documents.is_settled();
        let change = self.documents.change(newest);
        self.remember();
        let runs = matches!(self.life.wanted(), Wanted::Running | Wanted::Asleep);
        let is_idle = self.awaits_push() || !runs;
        if is_idle || change == Work::Nothing && was_settled {
            return Ok(Accepted::Already);
        }
        let is_deploy = |op: Option<(OpId, Kind)>| {
            op.is_some_and(|(_, kind)| matches!(kind, Kind::Deploy { .. }))
        };
        let is_idle = self.life.active().is_none();
        let ticket = match self.work(serving) {
            _ if is_deploy(self.life.waiting()) => self.deploy(out),
            Work::Nothing | Work::Route | Work::Scale if is_idle => {
                self.request(Kind::Configure, None, out)
            }
            Work::Deploy if is_idle => self.deploy(out),
            // The operation at work may change what there is to do: this one looks again when its turn comes.
            _ => {
                let deployment = self.deployments.open(&self.by);
                self.request(Kind::Configure, Some(deployment), out)
            }
        };
        Ok(Accepted::Underway(ticket))
    }

    /// Reports what `newest` changes, and notes where it gives up a secret. The first document of an application is that
    /// of which it is made.
    fn report_document(&mut self, newest: &Arc<AppConfig>) {
        let present = Arc::clone(self.documents.newest());
        if mask::gives_up(&present.document, &newest.document) {
            self.secrets_since = jiff::Timestamp::now();
        }
        let is_first = Arc::ptr_eq(&present, newest) && self.deployments.last().is_none();
        match told(&present.document, &newest.document) {
            Some(detail) => self.report_change("changed", Some(detail)),
            None if is_first => self.report_change("created", None),
            None => {}
        }
    }

    /// Takes over since when the secrets are known, unless the document was edited while no server ran, or is not the one
    /// that stands: there may have been others between the two.
    pub fn recover_secrets(&mut self, since: Option<jiff::Timestamp>) {
        let [newest, standing] = [self.documents.newest(), self.documents.standing()];
        let is_same = !mask::gives_up(&standing.document, &newest.document);
        if let Some(since) = since.filter(|_| is_same && self.documents.is_settled()) {
            self.secrets_since = since;
        }
    }

    /// Says what `op` does, a [`Kind::Configure`] whose turn has come.
    pub fn plan(&mut self, op: OpId, serving: Option<&AppConfig>) -> Plan {
        let newest = Arc::clone(self.documents.newest());
        let work = self.work(serving);
        let mut operation = self.operations.get(op);
        if let Some(operation) = &mut operation {
            operation.config = newest;
        }
        match (work, self.life.serving(), self.life.current()) {
            (Work::Restart, _, Some(release)) => Plan::Derive(release),
            (Work::Restart | Work::Deploy, ..) | (_, None, None) => {
                if let Some(operation) = operation {
                    let Operation { deployment, by, .. } = operation;
                    deployment.get_or_insert_with(|| self.deployments.open(by));
                }
                Plan::Deploy
            }
            (_, None, Some(release)) => Plan::Load(release),
            (work, Some(batch), _) => Plan::Reconfigure(batch, work),
        }
    }

    /// Notes that `op` derives a release, and returns its number.
    pub fn derive_release(&mut self, op: OpId, of: u64) -> u64 {
        let release = self.make_release(op);
        let deployment = self.operations.get(op).and_then(|o| o.deployment);
        if let Some(deployment) = deployment {
            if let Some(source) = self.releases.get(of) {
                self.deployments.commit(deployment, source.commit.clone());
            }
            self.deployments.runs(deployment, release);
        }
        release
    }

    /// Requests what the newest document takes beyond `release`, which is starting, unless that was tried or passed
    /// over.
    pub fn catch_up(&mut self, release: u64, out: &mut Vec<Command>) -> Option<Ticket> {
        if self.documents.is_settled() {
            return None;
        }
        let work = self.work_from(release);
        let ticket = match work {
            Work::Nothing | Work::Route | Work::Scale => return None,
            Work::Restart => {
                let deployment = self.deployments.open(&self.by);
                self.request(Kind::Configure, Some(deployment), out)
            }
            Work::Deploy => self.deploy(out),
        };
        log::info!(
            "{}: its document has changed since release {release}: {work:?} follows",
            self.name()
        );
        Some(ticket)
    }

    /// The least work from what runs to the newest document.
    fn work(&self, serving: Option<&AppConfig>) -> Work {
        let work = match (serving, self.life.current()) {
            (Some(running), _) => least_work(running, self.documents.newest()),
            (None, Some(release)) => self.work_from(release),
            (None, None) => return Work::Deploy,
        };
        self.documents.bounded(work)
    }

    /// The least work from `release`, as it would run now, to the newest document.
    fn work_from(&self, release: u64) -> Work {
        let config = self.releases.config(release, &self.rules);
        config.map_or(Work::Deploy, |own| {
            let would_run = config_of_release(&own, self.documents.standing());
            least_work(&would_run, self.documents.newest())
        })
    }

    /// Notes which document stands after an operation. Returns what the serving batch goes back to where a change of
    /// its scale failed.
    pub(super) fn take_stand(&mut self, operation: &Operation, end: &End) -> Option<Arc<Runnable>> {
        let newest = Arc::clone(self.documents.newest());
        match (end, &operation.runnable, &operation.before) {
            (End::Done, Some(made), _) if made.config.document == operation.config.document => {
                self.stand(carried(&made.config, &made.config, &newest));
                None
            }
            (End::Failed(..), _, Some(before)) => {
                self.stand(carried(&before.config, &operation.config, &newest));
                // A restart of the server does not try it again either.
                self.settle(&operation.config);
                Some(Arc::clone(before))
            }
            _ => None,
        }
    }

    fn stand(&mut self, config: AppConfig) {
        if self.documents.stand(config) {
            self.remember();
        }
    }

    pub(super) fn settle(&mut self, config: &AppConfig) {
        if self.documents.settle(config) {
            self.remember();
        }
    }

    /// The warning that not all of the newest document is in effect, while `serving` serves.
    #[must_use]
    pub fn left_out(&self, serving: &Runnable) -> Option<String> {
        let lacks = least_work(&serving.config, self.documents.newest());
        if lacks == Work::Nothing || self.life.active().is_some() {
            return None;
        }
        let (release, name) = (serving.id(), self.name());
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
        let proven = self.releases.proven().filter(|id| *id != serving);
        let is_of_newest = |id: &u64| {
            let config = self.releases.config(*id, &self.rules);
            config.is_some_and(|own| least_work(&own, self.documents.newest()) <= Work::Scale)
        };
        proven.rev().find(is_of_newest)
    }
}
