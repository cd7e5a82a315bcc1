//! [`Installer`]: the temporary actor that makes one release.

use actix::prelude::*;
use tokio::sync::watch;

use super::deploy::Deploy;
use super::limits::StepError;
use super::release::Release;
use super::spec::{InstallEvent, InstallProgress, InstallSpec};
use crate::logs::log::{Append, Log};
use crate::supervision::{Exit, ExitReason, Shutdown};

/// It begins at once. [`Shutdown`] cancels it: the processes of the running step are killed, what they made is
/// removed, and the actor ends without [`InstallEvent::Done`] or `Failed`.
#[derive(Debug)]
pub struct Installer {
    deploy: Option<Deploy>,
    cancel: watch::Sender<bool>,
    deployment: u64,
    parent: Recipient<InstallProgress>,
    exit: ExitReason,
}

impl Installer {
    /// An Installer that writes to the app's own log.
    #[must_use]
    pub fn new(
        spec: InstallSpec,
        log: Addr<Log>,
        parent: Recipient<InstallProgress>,
        exit: ExitReason,
    ) -> Self {
        Self::writing_to(spec, log.recipient(), parent, exit)
    }

    /// As [`Self::new`], for any actor that takes [`Append`].
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
            // A whole deploy sends a dozen messages, and this one must not be lost.
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
