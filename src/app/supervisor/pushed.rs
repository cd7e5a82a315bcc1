//! What an app has to do with pushes to it: others put commits into its mirror and ask it to deploy them, and it moves the
//! branch to what was deployed.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;

use super::App;
use crate::account::Account;
use crate::app::operations::Operation;
use crate::app::pushed_commits::PushedCommit;
use crate::app::runnable;
use crate::document::config::Repo;
use crate::failpoint;
use crate::install::build;
use crate::install::pushed::Pushed;

/// Makes the mirror of an app that is pushed to ready for whoever puts commits into it, or reads it. Then
/// [`Action::Deploy`](crate::app::deployer::Action::Deploy) deploys one of them.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Result<Pushed, PushedError>")]
pub struct OpenPushed;

/// Packs the mirror of an app that is pushed to, if that is due ([`Pushed::gc`]): a push is over, perhaps without a deploy.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct PackPushed;

/// The commits that an app is still to deploy, or to which its branch is still to move.
#[derive(Message)]
#[rtype(result = "BTreeSet<String>")]
struct CommitsToDeploy;

/// Why nobody can push to an app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushedError {
    #[error(
        "the code of this application comes from repo.url: set repo to {{push: true}} to push it here"
    )]
    Fetched,
    #[error("the application is being removed")]
    BeingRemoved,
    #[error("{0}")]
    Failed(String),
}

impl Handler<OpenPushed> for App {
    type Result = ResponseActFuture<Self, Result<Pushed, PushedError>>;

    fn handle(&mut self, _: OpenPushed, _: &mut Self::Context) -> Self::Result {
        if self.deployer.is_removed() {
            return Box::pin(fut::err(PushedError::BeingRemoved));
        }
        let config = Arc::clone(self.deployer.documents.newest());
        if config.repo.pushed_branch().is_none() {
            return Box::pin(fut::err(PushedError::Fetched));
        }
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let of_app = Arc::clone(&config);
        let prepared = actix_rt::task::spawn_blocking(move || {
            let (account, _) =
                runnable::account(&context, &dirs, &of_app).map_err(|e| e.to_string())?;
            let made = build::make_directories(&dirs, account.as_ref());
            made.map_err(|e| format!("cannot make the application's directories: {e}"))?;
            Ok::<_, String>(account)
        });
        let opened = prepared.into_actor(self).then(move |prepared, app, _| {
            let account = prepared.unwrap_or_else(|e| Err(e.to_string()));
            let pushed = account.and_then(|account| {
                let pushed = app.pushed(account.as_ref(), &config.repo);
                pushed.ok_or_else(|| "its log is being restarted: try again".to_owned())
            });
            async move {
                let pushed = pushed.map_err(PushedError::Failed)?;
                let opened = pushed.open().await;
                opened.map_err(|e| PushedError::Failed(e.to_string()))?;
                Ok(pushed)
            }
            .into_actor(app)
        });
        Box::pin(opened)
    }
}

impl Handler<PackPushed> for App {
    type Result = ();

    fn handle(&mut self, _: PackPushed, ctx: &mut Self::Context) {
        self.pack_pushed(ctx);
    }
}

impl Handler<CommitsToDeploy> for App {
    type Result = MessageResult<CommitsToDeploy>;

    fn handle(&mut self, _: CommitsToDeploy, _: &mut Self::Context) -> Self::Result {
        let moving = self.deployer.pushed.all().iter();
        let moving = moving.map(|pushed| &pushed.commit);
        let commits = self.deployer.operations.commits().chain(moving);
        MessageResult(commits.cloned().collect())
    }
}

impl App {
    /// Packs the mirror of an app that is pushed to, when that is due and nobody is at work there. Nothing waits for it.
    pub(super) fn pack_pushed(&self, ctx: &mut Context<Self>) {
        let config = Arc::clone(self.deployer.documents.newest());
        if self.ending || self.deployer.is_removed() || config.repo.pushed_branch().is_none() {
            return;
        }
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let of_app = Arc::clone(&config);
        let account = actix_rt::task::spawn_blocking(move || {
            let found = runnable::account(&context, &dirs, &of_app);
            found.map(|(account, _)| account)
        });
        let packed = account.into_actor(self).then(move |account, app, ctx| {
            // Without an account there is no deploy either, which says why.
            let account = account.ok().and_then(Result::ok);
            let pushed = account.and_then(|account| app.pushed(account.as_ref(), &config.repo));
            let app_itself = ctx.address();
            async move {
                if let Some(pushed) = pushed {
                    let to_deploy = async || app_itself.send(CommitsToDeploy).await.ok();
                    pushed.gc(to_deploy).await;
                }
            }
            .into_actor(app)
        });
        ctx.spawn(packed);
    }

    /// `None` also while its log is being restarted.
    fn pushed(&self, account: Option<&Account>, repo: &Repo) -> Option<Pushed> {
        let log = self.children.log.get()?;
        let turns = Arc::clone(&self.turns);
        Pushed::of(&self.spec.dirs, account, repo, turns, log.recipient())
    }

    /// Moves the branch to the commit of a push that is deployed, and returns whether it has moved. Does nothing after other
    /// operations.
    pub(super) fn move_branch(&self, operation: &Operation) -> impl Future<Output = bool> + use<> {
        let account = operation.runnable.as_ref().and_then(|r| r.account.as_ref());
        let pushed = self.pushed(account, &operation.config.repo);
        let pushed = operation.commit.clone().zip(pushed);
        let name = self.name().to_owned();
        async move {
            let Some((commit, pushed)) = pushed else {
                return false;
            };
            failpoint::reach("before the branch moves");
            let moved = pushed.advance(&commit).await;
            if let Err(e) = &moved {
                log::error!("{name}: its branch cannot be moved to {commit}, which runs: {e}");
            }
            moved.is_ok()
        }
    }

    /// Notes that the branch has moved.
    pub(super) fn branch_moved(&mut self, operation: &Operation) {
        if let (Some(made), Some(_)) = (operation.made, &operation.commit) {
            self.deployer.moved(made);
        }
    }

    /// Moves the branch to what the previous server had deployed when it was killed. Messages wait meanwhile.
    pub(super) fn catch_branch_up(&mut self, pushed: PushedCommit, ctx: &mut Context<Self>) {
        let config = Arc::clone(self.deployer.documents.newest());
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let of_app = Arc::clone(&config);
        let account = actix_rt::task::spawn_blocking(move || {
            let found = runnable::account(&context, &dirs, &of_app);
            found.map(|(account, _)| account).map_err(|e| e.to_string())
        });
        let moved = account.into_actor(self).then(move |account, app, _| {
            let account = account.unwrap_or_else(|e| Err(e.to_string()));
            let mirror = account.map(|account| app.pushed(account.as_ref(), &config.repo));
            let release = pushed.release;
            async move {
                let Some(mirror) = mirror? else {
                    return Ok(());
                };
                mirror
                    .advance(&pushed.commit)
                    .await
                    .map_err(|e| e.to_string())
            }
            .into_actor(app)
            .map(move |moved: Result<(), String>, app, _| match moved {
                Ok(()) => app.deployer.moved(release),
                Err(e) => log::error!(
                    "{}: its branch cannot be moved to what runs: {e}",
                    app.name()
                ),
            })
        });
        ctx.wait(moved);
    }
}
