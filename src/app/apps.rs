//! [`Apps`]: the dynamic supervisor of all App actors, and the only writer of the config directory.

use actix::prelude::*;

use super::config::AppConfig;
use super::name::AppName;
use super::status::Summary;
use super::supervisor::{App, Ticket};

/// The dynamic supervisor of all App actors.
#[derive(Debug)]
pub struct Apps;

impl Actor for Apps {
    type Context = Context<Self>;
}

/// Why Apps refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppsError {
    /// 404.
    #[error("there is no application \"{0}\": GET /applications lists them")]
    NoSuchApp(String),
    /// 409.
    #[error(
        "there is an application \"{0}\" already: PUT /applications/{0} replaces its configuration"
    )]
    Exists(AppName),
    /// 409: it is being removed, or its port belongs to another app.
    #[error("{0}")]
    Conflict(String),
    /// 507: the configuration could not be written; the old one is intact.
    #[error("{0}")]
    Storage(String),
}

/// Adds an app and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppsError>")]
pub struct Create(pub AppConfig);

/// Replaces an app's document and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppsError>")]
pub struct Replace(pub AppConfig);

/// Stops an app and removes it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppsError>")]
pub struct Remove {
    /// Which.
    pub name: String,
    /// Keep `storage/`.
    pub keep_storage: bool,
}

/// Lists all apps by name.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<Summary>")]
pub struct List;

/// Finds an app.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Addr<App>, AppsError>")]
pub struct Find(pub String);

impl Handler<Create> for Apps {
    type Result = Result<Ticket, AppsError>;
    fn handle(&mut self, _: Create, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Replace> for Apps {
    type Result = Result<Ticket, AppsError>;
    fn handle(&mut self, _: Replace, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Remove> for Apps {
    type Result = Result<Ticket, AppsError>;
    fn handle(&mut self, _: Remove, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<List> for Apps {
    type Result = MessageResult<List>;
    fn handle(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Find> for Apps {
    type Result = Result<Addr<App>, AppsError>;
    fn handle(&mut self, _: Find, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}
