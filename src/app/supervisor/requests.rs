//! Requests to one app: the messages of the API and of Apps. The deployer decides about them.

use std::sync::Arc;

use actix::prelude::*;

use super::App;
use crate::app::deployer::{Accepted, Action, AppError};
use crate::document::config::AppConfig;
use crate::events::By;

/// Does something with the app. The answer comes when what was accepted is on disk.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppError>")]
pub struct Act(pub Action, pub By);

/// Takes a new document.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppError>")]
pub enum Configure {
    /// Deploys it, whatever has changed.
    Deploy(Arc<AppConfig>, By),
    /// Does the least work that has the effect of a deploy.
    LeastWork(Arc<AppConfig>, By),
}

/// Cancels a deployment.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), AppError>")]
pub struct Cancel(pub u64, pub By);

/// Replaces the warnings about the app's file in the config directory.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Warn(pub Vec<String>);

/// Asks whether an operation is under way.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "bool")]
pub struct IsAtWork;

impl Handler<IsAtWork> for App {
    type Result = bool;

    fn handle(&mut self, _: IsAtWork, _: &mut Self::Context) -> bool {
        self.deployer.life.active().is_some() || self.deployer.removal.is_some()
    }
}

impl Handler<Act> for App {
    type Result = ResponseFuture<Result<Accepted, AppError>>;

    fn handle(&mut self, Act(action, by): Act, ctx: &mut Self::Context) -> Self::Result {
        let ends_all = matches!(action, Action::Stop | Action::Remove { .. });
        let answer = self.decide(ctx, |deployer, out| deployer.act(action, by, out));
        if ends_all && answer.is_ok() {
            self.end_one_offs(ctx);
            self.follow_schedules(ctx);
        }
        // A server that ends right after the answer must not forget what was accepted.
        let written = self.deployer.written();
        Box::pin(async move {
            written.await;
            answer
        })
    }
}

impl Handler<Configure> for App {
    type Result = Result<Accepted, AppError>;

    fn handle(&mut self, configure: Configure, ctx: &mut Self::Context) -> Self::Result {
        let answer = match configure {
            Configure::Deploy(newest, by) => {
                if !self.deployer.is_removed() {
                    self.warnings.clear();
                }
                self.decide(ctx, |deployer, out| deployer.replace(newest, by, out))
            }
            Configure::LeastWork(newest, by) => {
                let serving = self.serving_config();
                self.decide(ctx, |deployer, out| {
                    deployer.change(newest, by, serving.as_deref(), out)
                })
            }
        };
        self.follow_disk_limit();
        self.follow_receivers();
        answer
    }
}

impl Handler<Cancel> for App {
    type Result = Result<(), AppError>;

    fn handle(&mut self, Cancel(id, by): Cancel, ctx: &mut Self::Context) -> Self::Result {
        self.decide(ctx, |deployer, out| deployer.cancel(id, by, out))
    }
}

impl Handler<Warn> for App {
    type Result = ();

    fn handle(&mut self, Warn(warnings): Warn, _: &mut Self::Context) {
        self.spec.warnings = warnings;
    }
}
