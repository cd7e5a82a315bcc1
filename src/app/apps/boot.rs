//! The start: every document of the config directory becomes an App; what has no document any more is ended.

use std::io;

use actix::prelude::*;

use super::Apps;
use crate::app::config_dir::{self, Contents};
use crate::app::directories::AppDirs;
use crate::app::name::AppName;
use crate::app::supervisor::remove_files;
use crate::process::identity;
use crate::supervision::Exit;

impl Apps {
    /// Reads the config directory and starts what is in it. Requests wait meanwhile.
    pub(super) fn boot(&mut self, ctx: &mut Context<Self>) {
        let (settings, rules) = (self.host.settings.clone(), self.host.rules());
        let read = actix_rt::task::spawn_blocking(move || {
            let dirs =
                |name: &AppName| AppDirs::new(&settings.data_dir, &settings.runtime_dir, name);
            let contents = config_dir::read_all(&settings.config_dir, &rules, dirs)?;
            let known: Vec<_> = contents
                .apps
                .iter()
                .map(|found| found.config.name.clone())
                .collect();
            let (removed, strays) = config_dir::orphans(&settings.data_dir, &known);
            io::Result::Ok((contents, removed, strays))
        });
        ctx.wait(read.into_actor(self).map(|read, apps, ctx| match read {
            Ok(Ok((contents, removed, strays))) => {
                apps.start_all(contents, ctx);
                apps.end_orphans(removed, strays, ctx);
                if let Some(booted) = apps.booted.take() {
                    booted.send_replace(true);
                }
            }
            Ok(Err(e)) => {
                let directory = apps.host.settings.config_dir.display();
                apps.leave(Exit::Error(format!("cannot read {directory}: {e}")), ctx);
            }
            Err(e) => apps.leave(
                Exit::Error(format!("cannot read the config directory: {e}")),
                ctx,
            ),
        }));
    }

    fn start_all(&mut self, contents: Contents, ctx: &mut Context<Self>) {
        self.note_problems(contents.problems);
        for found in contents.apps {
            if let Some(warning) = &found.warning {
                log::error!("{warning}");
            }
            let spec = self.spec(found.config, found.warning.into_iter().collect());
            self.add(spec, ctx);
        }
        log::info!("{} applications", self.apps.len());
    }

    /// Ends processes of apps without a document, and finishes the removals that were under way.
    fn end_orphans(
        &self,
        removed: Vec<(AppName, bool)>,
        strays: Vec<AppName>,
        ctx: &mut Context<Self>,
    ) {
        for (name, keep_storage) in removed {
            log::info!("{name}: its removal is finished");
            let finished = end_orphan(self.dirs(&name), Some(keep_storage));
            ctx.spawn(finished.into_actor(self));
        }
        for name in strays {
            let dirs = self.dirs(&name);
            log::warn!(
                "{name} has no document any more: it is stopped, {} is kept",
                dirs.root().display()
            );
            ctx.spawn(end_orphan(dirs, None).into_actor(self));
        }
    }
}

/// Ends its processes; `finish`: also its removal, keeping its storage or not.
async fn end_orphan(dirs: AppDirs, finish: Option<bool>) {
    let runtime = dirs.runtime().to_owned();
    let alive = actix_rt::task::spawn_blocking(move || identity::survivors(&runtime)).await;
    for survivor in alive.unwrap_or_default() {
        identity::end(survivor).await;
    }
    if let Some(keep_storage) = finish {
        let root = dirs.root().to_owned();
        let removed =
            actix_rt::task::spawn_blocking(move || remove_files(&dirs, keep_storage)).await;
        if let Ok(Err(e)) = removed {
            log::error!("{} could not be removed: {e}", root.display());
        }
    }
}
