//! Between the files of a release and its start: the release is made ready for its engine (an image), and its release phase
//! is run, where that is the engine's to do.

use std::sync::Arc;

use actix::prelude::*;

use super::App;
use crate::app::engine::preparation::{self, preparation};
use crate::app::engine::release_phase::{self, ReleasePhase};
use crate::app::lifecycle::OpId;
use crate::app::runnable::Runnable;
use crate::install::record::{Failure, Step};

/// Where a release comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An installer has just made its files.
    Installed,
    /// Its files were there before, and its release phase was run.
    Kept,
}

impl App {
    pub(super) fn made(
        &mut self,
        op: OpId,
        made: Result<Runnable, Failure>,
        origin: Origin,
        ctx: &mut Context<Self>,
    ) {
        let runnable = match made {
            Ok(runnable) => runnable,
            Err(failure) => return self.build_failed(op, failure, ctx),
        };
        let deployment = self.deployer.operations.get(op).and_then(|o| o.deployment);
        let log = self.image_log_of(deployment);
        let limit = self.spec.context.settings.step_timeouts.packages;
        let is_due = preparation::is_due(&runnable);
        let ready = is_due.then(|| preparation(&runnable, &self.spec.dirs, log, limit));
        let Some(ready) = ready.flatten() else {
            return self.released(op, Ok(runnable), origin, ctx);
        };
        if let Some(deployment) = deployment {
            self.deployer.deployments.step(deployment, Step::Image);
        }
        let ready = ctx.spawn(ready.into_actor(self).map(move |ready, app, ctx| {
            app.preparing.take_if(|(of, _)| *of == op);
            if let Some(deployment) = deployment {
                let deployments = &mut app.deployer.deployments;
                deployments.step_over(deployment, Step::Image, None);
            }
            app.released(op, ready, origin, ctx);
        }));
        self.preparing = Some((op, ready));
    }

    /// Has its engine run the release phase of a fresh release, where that is not the installer's.
    fn released(
        &mut self,
        op: OpId,
        ready: Result<Runnable, Failure>,
        origin: Origin,
        ctx: &mut Context<Self>,
    ) {
        let runnable = match ready {
            Ok(runnable) => runnable,
            Err(failure) => return self.build_failed(op, failure, ctx),
        };
        let deployment = self.deployer.operations.get(op).and_then(|o| o.deployment);
        let is_due = origin == Origin::Installed && release_phase::is_due(&runnable);
        let Some(deployment) = deployment.filter(|_| is_due) else {
            return self.built(op, Ok(runnable), ctx);
        };
        let log = self.image_log_of(Some(deployment));
        let runnable = Arc::new(runnable);
        let phase = ReleasePhase {
            context: self.spec.context.clone(),
            dirs: self.spec.dirs.clone(),
            runnable: Arc::clone(&runnable),
            deployment,
            log,
            limit: self.spec.context.settings.step_timeouts.release,
        };
        self.deployer.deployments.step(deployment, Step::Release);
        let done = ctx.spawn(phase.run().into_actor(self).map(move |done, app, ctx| {
            app.preparing.take_if(|(of, _)| *of == op);
            let deployments = &mut app.deployer.deployments;
            deployments.step_over(deployment, Step::Release, None);
            app.built(op, done.map(|()| Arc::unwrap_or_clone(runnable)), ctx);
        }));
        self.preparing = Some((op, done));
    }
}
