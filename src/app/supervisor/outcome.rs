//! Ends operations: records what became of them and answers who waits.

use actix::prelude::*;

use super::App;
use crate::app::lifecycle::{End, OpId, Wanted};
use crate::app::operations::{Operation, Outcome};
use crate::install::record::{DeploymentState, Failure};

impl App {
    pub(super) fn finish(&mut self, op: OpId, end: End, ctx: &mut Context<Self>) {
        let Some(operation) = self.operations.take(op) else {
            return;
        };
        self.take_stand(&operation, &end);
        self.judge(&operation, &end);
        let deployment = operation.deployment;
        let stands = end != End::Superseded && !(end == End::Cancelled && self.ending);
        if deployment.is_some() && stands {
            self.settle(&operation.config);
        }
        match end {
            End::Done => {
                self.close_deployment(deployment, DeploymentState::Succeeded, None);
                self.refresh_releases(ctx);
                self.after_done(operation, ctx);
            }
            End::Superseded => {
                self.close_deployment(deployment, DeploymentState::Superseded, None);
                self.overtaken(operation);
            }
            End::Cancelled => {
                let state = if self.ending {
                    DeploymentState::Interrupted
                } else {
                    DeploymentState::Cancelled
                };
                self.close_deployment(deployment, state, None);
                operation.close(Outcome::Dropped(self.why_cancelled(deployment)));
            }
            End::Failed(cause, batch) => {
                let known = operation.failure.clone();
                let described = self.describe_failure(known, cause, batch);
                self.operations.leave_open(op, operation);
                self.fail(op, described, ctx);
            }
        }
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
        let written = self.journal.flushed();
        let described = async move { futures::join!(described, written).0 };
        ctx.spawn(described.into_actor(self).map(move |failure, app, ctx| {
            log::warn!("{}: {failure}", app.name());
            let Some(operation) = app.operations.take(op) else {
                return;
            };
            let (state, told) = (DeploymentState::Failed, Some(failure.clone()));
            app.close_deployment(operation.deployment, state, told);
            app.refresh_releases(ctx);
            app.tidy(ctx);
            // The answer must be true after a power cut, too.
            let kept = app.journal.flushed().into_actor(app);
            ctx.spawn(kept.map(move |(), _, _| {
                operation.close(Outcome::Failed(Box::new(failure)));
            }));
        }));
    }

    /// Lets the newer operation answer for this one: it does the same, and what was asked since.
    fn overtaken(&mut self, operation: Operation) {
        let newer = self.life.waiting().or(self.life.active());
        match newer.and_then(|(op, _)| self.operations.get(op)) {
            Some(newer) if !operation.rolls_back => newer.overtake(operation),
            _ => operation.close(Outcome::Dropped(
                "a newer deployment took its place".to_owned(),
            )),
        }
    }

    /// Why an accepted operation was cancelled. Its document, if it brought one, is kept.
    fn why_cancelled(&self, deployment: Option<u64>) -> String {
        let what = deployment.map_or("it".to_owned(), |id| format!("deployment {id}"));
        match self.life.wanted() {
            _ if self.ending => format!("{what} was interrupted: the server is being stopped"),
            Wanted::Removed => format!("{what} was cancelled: the application is being removed"),
            Wanted::Stopped => format!(
                "{what} was cancelled: the application was stopped; it counts when it is started again"
            ),
            Wanted::Running => format!(
                "{what} was cancelled; the document stays as it is now, and redeploy tries it again"
            ),
        }
    }
}
