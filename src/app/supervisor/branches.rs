//! Lends what asks the repository of an app for its branches.

use std::sync::Arc;

use actix::prelude::*;

use super::App;
use crate::app::runnable;
use crate::install::branches::Branches;

/// What asks the repository of an app whose code is fetched. `None`: it cannot be asked now.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Option<Branches>")]
pub struct OpenBranches;

impl Handler<OpenBranches> for App {
    type Result = ResponseActFuture<Self, Option<Branches>>;

    fn handle(&mut self, _: OpenBranches, _: &mut Self::Context) -> Self::Result {
        let config = Arc::clone(self.deployer.documents.newest());
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let of_app = Arc::clone(&config);
        let account = actix_rt::task::spawn_blocking(move || {
            let found = runnable::account(&context, &dirs, &of_app);
            found.map(|(account, _)| account)
        });
        Box::pin(account.into_actor(self).map(move |account, app, _| {
            // Without an account there is no deploy either, which says why.
            let account = account.ok()?.ok()?;
            let log = app.children.log.get()?.recipient();
            let (dirs, turns) = (&app.spec.dirs, Arc::clone(&app.turns));
            Some(Branches::of(
                dirs,
                account.as_ref(),
                &config.repo,
                turns,
                log,
            ))
        }))
    }
}
