//! [`App`]: the supervisor actor of one application, the only owner of its state.

use actix::prelude::*;
use tokio::sync::watch;

use super::status::{Status, Summary};
use crate::install::record::{DeploymentRecord, Failure};
use crate::install::release::ReleaseRecord;
use crate::logs::log::Log;

/// The supervisor actor of one application.
#[derive(Debug)]
pub struct App;

impl Actor for App {
    type Context = Context<Self>;
}

/// What can be asked of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the current release.
    Start,
    /// Stop, and remember it.
    Stop,
    /// New processes of the current release.
    Restart,
    /// Deploy the configured reference anew.
    Redeploy,
    /// Activate a kept release; `None`: the one before the current.
    Rollback(Option<u64>),
}

/// How something accepted ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Well.
    Done,
    /// Not.
    Failed(Box<Failure>),
    /// A newer one took its place, it was cancelled, or the app was deleted; the text says which.
    Dropped(String),
}

/// Something accepted that takes time.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The deployment, when it is one.
    pub deployment: Option<u64>,
    /// Set once, when it is over.
    pub outcome: watch::Receiver<Option<Outcome>>,
}

/// The answer to [`Act`].
#[derive(Clone, Debug)]
pub enum Accepted {
    /// Nothing to do: it is so already.
    Already,
    /// Under way.
    Underway(Ticket),
}

/// Why an app refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 404: no such deployment or release.
    #[error("{0}")]
    NotFound(String),
    /// 507 or 500: the machine refuses, e.g. disk full.
    #[error("{0}")]
    Storage(String),
}

/// Does something with the app.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppError>")]
pub struct Act(pub Action);

/// Cancels a deployment.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Result<(), AppError>")]
pub struct Cancel(pub u64);

/// One of several views of the app.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "View")]
pub struct Inspect;

/// Everything the API shows of an app, taken at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The document, as PUT takes it.
    pub document: serde_json::Value,
    /// One line.
    pub summary: Summary,
    /// Live state; memory and CPU are filled in by the caller (`process::usage`), last lines by [`View::log`].
    pub status: Status,
    /// All kept records, oldest first.
    pub deployments: Vec<DeploymentRecord>,
    /// All kept releases, oldest first.
    pub releases: Vec<ReleaseRecord>,
    /// The current release.
    pub current: Option<u64>,
    /// The log actor.
    pub log: Addr<Log>,
}

impl Handler<Act> for App {
    type Result = Result<Accepted, AppError>;
    fn handle(&mut self, _: Act, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Cancel> for App {
    type Result = Result<(), AppError>;
    fn handle(&mut self, _: Cancel, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Inspect> for App {
    type Result = MessageResult<Inspect>;
    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}
