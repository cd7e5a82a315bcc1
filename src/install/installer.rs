//! [`Installer`]: the temporary actor that makes one release.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;

use super::deploy::Deploy;
use super::limits::StepError;
use super::record::{Failure, Step};
use super::release::Release;
use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::config::AppConfig;
use crate::logs::log::{Append, Log};
use crate::process::landlock::Landlock;
use crate::supervision::{Exit, ExitReason, Shutdown};

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTimeouts {
    /// `packages`.
    pub packages: Duration,
    /// `fetch`, also for the checkout.
    pub fetch: Duration,
    pub install: Duration,
    pub release: Duration,
}

#[derive(Clone, Debug)]
pub struct InstallSpec {
    /// The deployment this is for.
    pub deployment: u64,
    /// The id of the release to make.
    pub release: u64,
    pub config: Arc<AppConfig>,
    pub dirs: AppDirs,
    /// The account to switch to; `None` when the daemon is not root.
    pub account: Option<Account>,
    /// Where install commands and the release phase may not write, but for the checkout.
    pub seal: Option<Landlock>,
    /// Environment of install commands: base and configured layers (the checkout's `.env` is laid between them).
    pub base_env: BTreeMap<String, String>,
    /// Server-wide and application `env`.
    pub configured_env: BTreeMap<String, String>,
    /// The releases that run, or would: no lack of room takes them.
    pub in_use: Vec<u64>,
    pub timeouts: StepTimeouts,
}

/// What an Installer tells its App.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct InstallProgress {
    /// [`InstallSpec::deployment`].
    pub deployment: u64,
    pub event: InstallEvent,
}

/// See [`InstallProgress`].
#[derive(Debug)]
pub enum InstallEvent {
    Started(Step),
    /// A step ended well after this time.
    Finished(Step, Duration),
    Commit(String),
    /// All done: the release is complete on disk.
    Done(Box<Release>),
    /// A step failed; what it had made is removed.
    Failed(Box<Failure>),
}

/// The temporary actor that makes one release. [`Shutdown`] cancels it: the running step's whole tree is killed and
/// what it had made is removed, then the actor ends without [`InstallEvent::Done`] or `Failed`.
#[derive(Debug)]
pub struct Installer {
    deploy: Option<Deploy>,
    cancel: watch::Sender<bool>,
    deployment: u64,
    parent: Recipient<InstallProgress>,
    exit: ExitReason,
}

impl Installer {
    /// An Installer for `spec`; it begins at once.
    #[must_use]
    pub fn new(
        spec: InstallSpec,
        log: Addr<Log>,
        parent: Recipient<InstallProgress>,
        exit: ExitReason,
    ) -> Self {
        Self::writing_to(spec, log.recipient(), parent, exit)
    }

    /// As [`Self::new`], for any actor that takes the lines of a log.
    #[must_use]
    pub fn writing_to(
        spec: InstallSpec,
        log: Recipient<Append>,
        parent: Recipient<InstallProgress>,
        exit: ExitReason,
    ) -> Self {
        let (cancel, cancelled) = watch::channel(false);
        Self {
            deployment: spec.deployment,
            deploy: Some(Deploy::new(spec, log, parent.clone(), cancelled)),
            cancel,
            parent,
            exit,
        }
    }

    fn end(&self, result: Result<Release, StepError>, ctx: &mut Context<Self>) {
        let event = match result {
            Ok(release) => Some(InstallEvent::Done(Box::new(release))),
            Err(StepError::Failed(failure)) => Some(InstallEvent::Failed(failure)),
            Err(StepError::Cancelled) => None,
        };
        self.exit.set(match event {
            Some(_) => Exit::Normal,
            None => Exit::Shutdown,
        });
        if let Some(event) = event {
            let deployment = self.deployment;
            // One of a dozen messages of a whole deploy, and it must not be lost.
            self.parent.do_send(InstallProgress { deployment, event });
        }
        ctx.stop();
    }
}

impl Actor for Installer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(deploy) = self.deploy.take() {
            let work = async move { deploy.run().await };
            ctx.spawn(
                work.into_actor(self)
                    .map(|result, installer, ctx| installer.end(result, ctx)),
            );
        }
    }
}

impl Handler<Shutdown> for Installer {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        self.cancel.send_replace(true);
    }
}
