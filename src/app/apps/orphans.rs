//! Orphans: directories below `DATA/apps` whose application has no document, such as storage that `?keep=storage` kept. One
//! whose document is there, and is not taken, is none.

use std::io;
use std::sync::Arc;

use actix::prelude::*;
use serde::Serialize;

use super::removals::end_processes;
use super::{Apps, AppsError};
use crate::app::config_dir;
use crate::app::context::AppContext;
use crate::app::engine::elsewhere;
use crate::app::removal::finish_removal;
use crate::app_dirs::AppDirs;
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
        let settings = Arc::clone(&self.context.settings);
        let found = actix_rt::task::spawn_blocking(move || {
            let (unfinished, others) = config_dir::orphans(&settings.data_dir, &[]);
            let unfinished = unfinished.into_iter().map(|(name, _)| name);
            let all = others.into_iter().chain(unfinished);
            let has_file = |name: &AppName| config_dir::has_file(&settings.config_dir, name);
            all.filter(|name| !has_file(name)).collect::<Vec<_>>()
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
        let removed = remove(name.clone(), self.dirs(&name), self.context.clone());
        Box::pin(removed.into_actor(self).map(move |removed, apps, ctx| {
            apps.finishing.remove(&name);
            ctx.notify(super::Rescan);
            removed
        }))
    }
}

/// Ends what runs of an orphan, and removes its files, here and on other machines.
async fn remove(name: AppName, dirs: AppDirs, context: AppContext) -> Result<(), AppsError> {
    let directory = context.settings.config_dir.clone();
    let (root, of, configs) = (dirs.root().to_owned(), name.clone(), directory.clone());
    let look = move || (root.is_dir(), config_dir::has_file(&configs, &of));
    let found = actix_rt::task::spawn_blocking(look).await;
    let (is_there, has_file) = found.unwrap_or_default();
    if has_file {
        let path = config_dir::path(&directory, &name);
        return Err(AppsError::HasDocument(name, path.display().to_string()));
    }
    if !is_there {
        return Err(AppsError::NoSuchOrphan(name));
    }
    end_processes(&dirs).await;
    let ended = elsewhere::try_end(&name, &context).await;
    ended.map_err(|error| AppsError::NotRemoved(error.to_string()))?;
    elsewhere::remove_volumes(name.clone(), context).await;
    let remove = move || finish_removal(&directory, &name, &dirs, false);
    let removed = actix_rt::task::spawn_blocking(remove).await;
    let removed = removed.unwrap_or_else(|e| Err(io::Error::other(e)));
    removed.map_err(|error| AppsError::NotRemoved(error.to_string()))
}
