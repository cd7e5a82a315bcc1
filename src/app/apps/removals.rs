//! Removals: Apps writes them down first, then the App carries them out. The next server finishes what a killed one
//! left.

use std::io;

use actix::prelude::*;
use futures::future::join_all;
use serde_json::Value;
use tokio::sync::watch;

use super::requests::stored;
use super::{Apps, AppsError, Removal, Rescan};
use crate::app::config_dir;
use crate::app::deployer::{Accepted, Action};
use crate::app::engine::elsewhere;
use crate::app::operations::Ticket;
use crate::app::removal::finish_removal;
use crate::app::supervisor::{Act, App};
use crate::app_dirs::AppDirs;
use crate::document::config::StopPolicy;
use crate::document::name::AppName;
use crate::events::By;
use crate::process::survivors;
use crate::process::users::Users;

/// Stops an app and removes it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppsError>")]
pub struct Remove {
    pub name: String,
    /// The document of what is to be removed, where that matters, as in [`super::configure::Replace`].
    pub base: Option<Value>,
    /// Keep `storage/`.
    pub keep_storage: bool,
    pub by: By,
}

impl Apps {
    /// Writes down that the app is to be removed, then tells it. Nobody else changes the app from now on.
    fn begin_removal(
        &mut self,
        name: AppName,
        keep_storage: bool,
        by: By,
    ) -> ResponseActFuture<Self, Result<Accepted, AppsError>> {
        let (waiting, outcome) = watch::channel(None);
        if let Some(entry) = self.apps.get_mut(&name) {
            entry.removal = Some(Removal {
                waiting,
                ticket: None,
                keep_storage,
                is_written: false,
            });
        }
        self.writes.begin();
        let (directory, gone) = (self.context.settings.config_dir.clone(), name.clone());
        let written = actix_rt::task::spawn_blocking(move || {
            config_dir::write_removal(&directory, &gone, keep_storage)
        });
        let ticket = Ticket {
            deployment: None,
            outcome,
        };
        let written = stored("removed", written).into_actor(self);
        Box::pin(written.then(move |written, apps, ctx| {
            apps.writes.end();
            let app = apps.removal_is_written(&name, written.is_ok());
            if written.is_ok() {
                apps.remove_previews_of(&name, ctx);
            }
            let told = async move {
                written?;
                let Some(app) = app else { return Ok(None) };
                // If this App is gone, `start_child` tells the fresh one.
                Ok(
                    match app.send(Act(Action::Remove { keep_storage }, by)).await {
                        Ok(Ok(Accepted::Underway(ticket))) => Some(ticket),
                        _ => None,
                    },
                )
            };
            told.into_actor(apps)
                .map(move |told: Result<_, AppsError>, apps, _| {
                    let of_app: Option<Ticket> = told?;
                    let entry = apps.apps.get_mut(&name);
                    if let Some(removal) = entry.and_then(|entry| entry.removal.as_mut()) {
                        removal.ticket = of_app;
                    }
                    Ok(Accepted::Underway(ticket))
                })
        }))
    }

    /// Returns the App to tell. A removal that could not be written down is dropped.
    fn removal_is_written(&mut self, name: &AppName, is_written: bool) -> Option<Addr<App>> {
        let entry = self.apps.get_mut(name)?;
        match &mut entry.removal {
            Some(removal) if is_written => removal.is_written = true,
            _ => {
                entry.removal = None;
                return None;
            }
        }
        entry.child.as_ref().map(|(_, child)| child.addr.clone())
    }

    /// Finishes a removal that an earlier server began. A document that has come meanwhile counts afterwards.
    pub(super) fn finish_removal(
        &mut self,
        name: AppName,
        keep_storage: bool,
        ctx: &mut Context<Self>,
    ) {
        if !self.finishing.insert(name.clone()) {
            return;
        }
        log::info!("{name}: its removal goes on");
        let (dirs, directory) = (self.dirs(&name), self.context.settings.config_dir.clone());
        let (gone, context) = (name.clone(), self.context.clone());
        let finished = async move {
            let elsewhere = elsewhere::end(gone.clone(), context.clone());
            futures::join!(end_processes(&dirs), elsewhere);
            if !keep_storage {
                elsewhere::remove_volumes(gone.clone(), context).await;
            }
            let finish = move || finish_removal(&directory, &gone, &dirs, keep_storage);
            actix_rt::task::spawn_blocking(finish)
                .await
                .unwrap_or_else(|e| Err(io::Error::other(e)))
        };
        ctx.spawn(finished.into_actor(self).map(move |finished, apps, ctx| {
            apps.finishing.remove(&name);
            // Its server may have ended before it came to them.
            apps.remove_previews_of(&name, ctx);
            match finished {
                Ok(()) => ctx.notify(Rescan),
                // Not at once again: it would fail for the same reason. The next start, or document, tries it.
                Err(e) => log::error!("{name}: its removal could not be finished: {e}"),
            }
        }));
    }

    /// Ends the processes of an app that has no document, or none that is taken; its files stay.
    pub(super) fn end_stray(&mut self, name: &AppName, ctx: &mut Context<Self>) {
        let dirs = self.dirs(name);
        log::warn!(
            "{name} has no document any more, or none that is taken: it is stopped, {} is kept",
            dirs.root().display()
        );
        let ended = async move { end_processes(&dirs).await };
        ctx.spawn(ended.into_actor(self));
        let elsewhere = elsewhere::end(name.clone(), self.context.clone()).into_actor(self);
        let gone = name.clone();
        let elsewhere = ctx.spawn(elsewhere.map(move |(), apps, _| {
            apps.strays.remove(&gone);
        }));
        self.strays.insert(name.clone(), elsewhere);
    }
}

pub(super) async fn end_processes(dirs: &AppDirs) {
    let of = dirs.clone();
    let look = move || survivors::survivors(of.runtime(), &Users::of_app(&of));
    let alive = actix_rt::task::spawn_blocking(look).await;
    let alive = alive.unwrap_or_default().into_iter();
    // The document is gone, and with it what it said about stopping.
    join_all(alive.map(|survivor| survivors::end(survivor, StopPolicy::default()))).await;
}

impl Handler<Remove> for Apps {
    type Result = ResponseActFuture<Self, Result<Accepted, AppsError>>;

    fn handle(
        &mut self,
        Remove {
            name,
            base,
            keep_storage,
            by,
        }: Remove,
        _: &mut Self::Context,
    ) -> Self::Result {
        let turn = match self.known(&name) {
            Ok(name) => self.turn(name),
            Err(error) => return Box::pin(fut::err(error)),
        };
        Box::pin(turn.then(move |turn, apps, _| {
            let name = turn.as_ref().map_err(Clone::clone).and_then(|turn| {
                apps.is_base(&turn.name, base.as_ref())?;
                Ok(turn.name.clone())
            });
            let begun = match name {
                Ok(name) => apps.begin_removal(name, keep_storage, by),
                Err(error) => Box::pin(fut::err(error)),
            };
            // Keeps the turn until the app knows.
            begun.map(move |begun, _, _| {
                drop(turn);
                begun
            })
        }))
    }
}
