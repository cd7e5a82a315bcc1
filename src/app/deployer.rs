//! [`Deployer`]: what is asked of one application, what becomes of it, and what must outlive the server.
//!
//! It is a plain struct that decides: it starts nothing but its journal's task, and waits for nothing. A method that decides appends
//! [`Command`]s to `out`, which [`App`](super::supervisor::App) carries out. `requests` takes what users ask for,
//! `changes` does the least work for a new document, `outcome` ends operations. What runs when is the [`Lifecycle`]'s
//! to say.

pub(super) mod changes;
mod error;
pub(super) mod outcome;
mod requests;

use std::sync::Arc;

use super::deployments::Deployments;
use super::documents::Documents;
use super::finished::{Finished, FinishedProcesses};
use super::journal::Journal;
use super::lifecycle::{BatchId, Command, Event, Lifecycle, OpId, Wanted};
use super::one_offs::Written;
use super::operations::{Operation, Operations};
use super::pushed_commits::PushedCommits;
use super::releases::{Releases, Surplus};
use super::remembered::Remembered;
use crate::app_dirs::AppDirs;
use crate::document::config::{AppConfig, Rules};
use crate::document::name::AppName;
use crate::events::{By, Feed, Report};
use crate::exit_status::ExitRecord;

pub use error::AppError;
pub use requests::{Accepted, Action};

/// What is asked of one application, what becomes of it, and what must outlive the server.
#[derive(Debug)]
pub struct Deployer {
    pub(super) life: Lifecycle,
    pub(super) operations: Operations,
    pub(super) deployments: Deployments,
    pub(super) releases: Releases,
    pub(super) documents: Documents,
    pub(super) finished: FinishedProcesses,
    pub(super) pushed: PushedCommits,
    /// A restore has brought the code, so the first deploy need not wait for a push.
    pub(super) has_code: bool,
    pub(super) removal: Option<Removal>,
    pub(super) created: jiff::Timestamp,
    /// Before that the app may have had secrets that no document of now has.
    pub(super) secrets_since: jiff::Timestamp,
    /// The end of its pause, if it is paused.
    pub(super) paused_until: Option<jiff::Timestamp>,
    journal: Journal,
    rules: Rules,
    events: Feed,
    /// Who asks for what is decided just now.
    by: By,
}

/// A removal that was asked for.
#[derive(Debug)]
pub(super) struct Removal {
    /// Keep `storage/`.
    pub(super) keep_storage: bool,
    /// Set once the processes are gone.
    pub(super) operation: Option<Operation>,
}

impl Deployer {
    /// Starts the journal on the current thread's runtime.
    #[must_use]
    pub fn new(config: Arc<AppConfig>, dirs: AppDirs, rules: Rules, events: Feed) -> Self {
        let journal = Journal::start(dirs);
        Self {
            life: Lifecycle::default(),
            operations: Operations::default(),
            deployments: Deployments::new(config.name.shared(), journal.clone(), events.clone()),
            releases: Releases::default(),
            documents: Documents::new(config),
            finished: FinishedProcesses::default(),
            pushed: PushedCommits::default(),
            has_code: false,
            removal: None,
            created: jiff::Timestamp::now(),
            secrets_since: jiff::Timestamp::now(),
            paused_until: None,
            journal,
            rules,
            events,
            by: By::server(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &AppName {
        &self.documents.newest().name
    }

    pub fn handle(&mut self, event: Event, out: &mut Vec<Command>) {
        out.extend(self.life.handle(event));
    }

    /// Reports that somebody has changed the application, or had it do something.
    fn report_change(&self, change: &'static str, detail: Option<String>) {
        self.events.report(Report::ApplicationChanged {
            app: self.name().shared(),
            by: self.by.clone(),
            change,
            detail,
        });
    }

    #[must_use]
    pub fn is_active(&self, op: OpId) -> bool {
        self.life.active().is_some_and(|(active, _)| active == op)
    }

    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.life.wanted() == Wanted::Removed
    }

    /// Writes down what must outlive the server. Call it whenever some of that has changed.
    pub fn remember(&self) {
        self.journal.state(Remembered {
            // A server that knows nothing of sleep starts it.
            wanted: match self.life.wanted() {
                Wanted::Asleep => Wanted::Running,
                wanted => wanted,
            },
            asleep: self.life.wanted() == Wanted::Asleep,
            current: self.life.current(),
            settled: self.documents.settled().cloned(),
            standing: Some(self.documents.standing().document.clone()),
            unproven: self.releases.unproven.clone(),
            pushed: self.pushed.all().to_vec(),
            finished: self.finished.all().to_vec(),
            keep_storage: self.removal.as_ref().is_some_and(|r| r.keep_storage),
            created: self.created,
            secrets_since: Some(self.secrets_since),
            paused_until: self.paused_until,
        });
    }

    /// Writes down the processes that run once.
    pub fn remember_one_offs(&self, written: Written) {
        self.journal.one_offs(written);
    }

    /// Resolves when everything so far is on disk, or a write of it has failed: that is tried again later.
    pub fn written(&self) -> impl Future<Output = ()> + use<> {
        self.journal.flushed()
    }

    /// What may be removed from disk where `config` says how much is kept. `running` are the releases of batches.
    pub fn surplus(&self, config: &AppConfig, running: impl Iterator<Item = u64>) -> Surplus {
        let in_use = self.in_use(running);
        self.releases.surplus(config, in_use, self.life.current())
    }

    /// The releases of batches (`running`), of leftover processes and of open operations, and the current one.
    pub fn in_use(&self, running: impl Iterator<Item = u64>) -> Vec<u64> {
        let in_use = running.chain(self.life.current());
        let in_use = in_use.chain(self.releases.leftover.iter().copied());
        in_use.chain(self.operations.releases()).collect()
    }

    /// The number of the release that `op` makes. Wait for [`Self::written`] before the release is complete: the disk
    /// must say by then that it is unproven.
    pub fn make_release(&mut self, op: OpId) -> u64 {
        let release = self.releases.make();
        if let Some(operation) = self.operations.get(op) {
            operation.made = Some(release);
            if let Some(commit) = &operation.commit {
                self.pushed.make(release, commit.clone());
            }
        }
        self.remember();
        release
    }

    /// Notes that `release` was ready, or that it is gone.
    pub fn prove(&mut self, release: u64) {
        if self.releases.prove(release) {
            self.remember();
        }
    }

    /// Notes that the branch has moved to the commit of `release`.
    pub fn moved(&mut self, release: u64) {
        if self.pushed.forget(release) {
            self.remember();
        }
    }

    /// Notes the end of a process that is not started again.
    pub fn note_finished(&mut self, batch: BatchId, release: u64, id: &str, exit: &ExitRecord) {
        self.finished.note(batch, release, id, exit);
        self.remember();
    }

    pub fn forget_finished(&mut self, are: impl Fn(&Finished) -> bool) {
        if self.finished.forget(are) {
            self.remember();
        }
    }
}
