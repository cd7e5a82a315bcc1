//! Orphans: directories below `DATA/apps` whose application has no document, such as storage that `?keep=storage` kept.

use std::io;

use actix::prelude::*;
use serde::Serialize;

use super::removals::end_processes;
use super::{Apps, AppsError};
use crate::app::config_dir;
use crate::app::engine::elsewhere;
use crate::app::removal::finish_removal;
use crate::document::name::AppName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The name of the application that it belonged to.
    pub name: String,
    pub directory: String,
}

#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Result<Vec<Orphan>, AppsError>")]
pub struct Orphans;

/// Removes an orphan with all its files; answered when that is done.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), AppsError>")]
pub struct RemoveOrphan(pub AppName);

impl Apps {
    fn is_orphan(&self, name: &AppName) -> bool {
        !self.apps.contains_key(name)
            && !self.writing.contains_key(name)
            && !self.finishing.contains(name)
    }
}

impl Handler<Orphans> for Apps {
    type Result = ResponseActFuture<Self, Result<Vec<Orphan>, AppsError>>;

    fn handle(&mut self, _: Orphans, _: &mut Self::Context) -> Self::Result {
        let data = self.context.settings.data_dir.clone();
        let found = actix_rt::task::spawn_blocking(move || {
            let (unfinished, others) = config_dir::orphans(&data, &[]);
            let unfinished = unfinished.into_iter().map(|(name, _)| name);
            others.into_iter().chain(unfinished).collect::<Vec<_>>()
        });
        Box::pin(found.into_actor(self).map(|found, apps, _| {
            let mut names = found.map_err(|e| AppsError::NotListed(e.to_string()))?;
            names.retain(|name| apps.is_orphan(name));
            names.sort();
            let orphan = |name: AppName| Orphan {
                directory: apps.dirs(&name).root().display().to_string(),
                name: name.to_string(),
            };
            Ok(names.into_iter().map(orphan).collect())
        }))
    }
}

impl Handler<RemoveOrphan> for Apps {
    type Result = ResponseActFuture<Self, Result<(), AppsError>>;

    fn handle(&mut self, RemoveOrphan(name): RemoveOrphan, _: &mut Self::Context) -> Self::Result {
        if !self.is_orphan(&name) {
            return Box::pin(fut::err(AppsError::NoOrphan(name)));
        }
        // So that nobody adds an app of that name meanwhile.
        self.finishing.insert(name.clone());
        let (dirs, directory) = (self.dirs(&name), self.context.settings.config_dir.clone());
        let (gone, context) = (name.clone(), self.context.clone());
        let removed = async move {
            let root = dirs.root().to_owned();
            let is_there = actix_rt::task::spawn_blocking(move || root.is_dir()).await;
            if !is_there.unwrap_or_default() {
                return Err(io::ErrorKind::NotFound.into());
            }
            end_processes(&dirs).await;
            let ended = elsewhere::try_end(&gone, &context).await;
            ended.map_err(io::Error::other)?;
            elsewhere::remove_volumes(gone.clone(), context).await;
            let remove = move || finish_removal(&directory, &gone, &dirs, false);
            let removed = actix_rt::task::spawn_blocking(remove).await;
            removed.unwrap_or_else(|e| Err(io::Error::other(e)))
        };
        Box::pin(removed.into_actor(self).map(move |removed, apps, ctx| {
            apps.finishing.remove(&name);
            ctx.notify(super::Rescan);
            removed.map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => AppsError::NoSuchOrphan(name),
                _ => AppsError::NotRemoved(e.to_string()),
            })
        }))
    }
}
