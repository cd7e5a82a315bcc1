//! Turns: whoever changes an app's document or removes it does so alone, from reading the present document until the
//! App has been told. Turns come in the order of the requests.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::OwnedMutexGuard;

use super::{Apps, AppsError};
use crate::document::name::AppName;

/// The right to change an app, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    pub name: AppName,
    guard: OwnedMutexGuard<()>,
}

/// Waits for a turn to change an app.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Turn, AppsError>")]
pub struct TakeTurn(pub AppName);

impl Apps {
    /// Checks that there is an app of this name.
    pub(super) fn known(&self, name: &str) -> Result<AppName, AppsError> {
        let missing = || AppsError::NoSuchApp(name.chars().take(80).collect());
        let name = AppName::parse(name).map_err(|_| missing())?;
        match self.apps.contains_key(&name) {
            true => Ok(name),
            false => Err(missing()),
        }
    }

    /// Waits for a turn. When it comes, the app is there and is not being removed; else it is an error.
    pub(super) fn turn(&self, name: AppName) -> ResponseActFuture<Self, Result<Turn, AppsError>> {
        let Some(entry) = self.apps.get(&name) else {
            return Box::pin(fut::err(AppsError::NoSuchApp(name.to_string())));
        };
        let guard = Arc::clone(&entry.turn).lock_owned().into_actor(self);
        Box::pin(guard.map(|guard, apps, _| {
            let turn = Turn { name, guard };
            apps.is_held(&turn).map(|()| turn)
        }))
    }

    /// Takes the turn of a new app that nobody else knows of yet.
    pub(super) fn first_turn(&self, name: &AppName) -> Option<Turn> {
        let entry = self.apps.get(name)?;
        let guard = Arc::clone(&entry.turn).try_lock_owned().ok()?;
        Some(Turn {
            name: name.clone(),
            guard,
        })
    }

    /// Checks that the turn belongs to the present app: an earlier one of its name may have been removed.
    pub(super) fn is_held(&self, turn: &Turn) -> Result<(), AppsError> {
        let entry = self.apps.get(&turn.name);
        let same =
            |entry: &&super::Entry| Arc::ptr_eq(&entry.turn, OwnedMutexGuard::mutex(&turn.guard));
        match entry.filter(same) {
            None => Err(AppsError::NoSuchApp(turn.name.to_string())),
            Some(entry) if entry.removal.is_some() => {
                Err(AppsError::BeingRemoved(turn.name.clone()))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Handler<TakeTurn> for Apps {
    type Result = ResponseActFuture<Self, Result<Turn, AppsError>>;

    fn handle(&mut self, TakeTurn(name): TakeTurn, _: &mut Self::Context) -> Self::Result {
        self.turn(name)
    }
}
