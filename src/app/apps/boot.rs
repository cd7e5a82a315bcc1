//! Starts an App for every document of the config directory, and ends processes of apps that have none any more.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;

use super::{Apps, former};
use crate::app::config_dir::{self, Contents};
use crate::app::supervisor::Summarize;
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::install::instances;
use crate::process::{cgroup, stop, survivors};
use crate::supervision::Exit;

/// How long requests wait at the start of the server until all applications are known.
const BOOT: Duration = Duration::from_secs(10);

/// The removals that are not over, and apps that have no document though nobody removed them. Blocks.
fn orphans(
    data_dir: &Path,
    known: &[AppName],
    contents: &Contents,
) -> (BTreeMap<AppName, bool>, Vec<AppName>) {
    let (unwritten, mut strays) = config_dir::orphans(data_dir, known);
    let mut removals = contents.removals.clone();
    // A server that did not write them down yet has left them.
    for (name, keep_storage) in unwritten {
        removals.entry(name).or_insert(keep_storage);
    }
    strays.retain(|name| !removals.contains_key(name));
    (removals, strays)
}

impl Apps {
    /// Reads the config directory and starts what is in it. Requests wait meanwhile.
    pub(super) fn boot(&mut self, ctx: &mut Context<Self>) {
        let (settings, rules) = (self.context.settings.clone(), self.context.rules());
        let is_first = self.booted.as_ref().is_some_and(|booted| !*booted.borrow());
        let read = actix_rt::task::spawn_blocking(move || {
            let dirs =
                |name: &AppName| AppDirs::new(&settings.data_dir, &settings.runtime_dir, name);
            let contents = config_dir::read_all(&settings.config_dir, &rules, dirs)?;
            let known: Vec<_> = contents
                .apps
                .iter()
                .map(|found| found.config.name.clone())
                .collect();
            // One look at /proc for all apps: there may be a thousand.
            former::end(&settings);
            let marked = stop::Marked::look();
            let (removals, strays) = orphans(&settings.data_dir, &known, &contents);
            for name in known.iter().chain(removals.keys()).chain(&strays) {
                survivors::end_unrecorded(&dirs(name), &marked);
            }
            if is_first {
                let all = known.iter().chain(&strays);
                let all = all.chain(removals.keys()).map(dirs);
                let instances = all.flat_map(|dirs| {
                    let processes = survivors::instances(dirs.runtime());
                    processes.into_iter().chain(instances::all(&dirs))
                });
                cgroup::sweep(&instances.collect::<Vec<_>>());
            }
            let remaining: HashSet<AppName> = known
                .iter()
                .filter(|name| instances::has_remains(&dirs(name), &marked))
                .cloned()
                .collect();
            io::Result::Ok((contents, remaining, removals, strays))
        });
        ctx.wait(read.into_actor(self).map(|read, apps, ctx| match read {
            Ok(Ok((contents, remaining, removals, strays))) => {
                apps.end_orphans(removals, &strays, ctx);
                apps.start_all(contents, &remaining, ctx);
                apps.tell_booted(ctx);
            }
            Ok(Err(e)) => {
                let directory = apps.context.settings.config_dir.display();
                apps.leave(Exit::Error(format!("cannot read {directory}: {e}")), ctx);
            }
            Err(e) => apps.leave(
                Exit::Error(format!("cannot read the config directory: {e}")),
                ctx,
            ),
        }));
    }

    fn start_all(
        &mut self,
        contents: Contents,
        remaining: &HashSet<AppName>,
        ctx: &mut Context<Self>,
    ) {
        self.note_problems(contents.problems);
        // An Apps that is restarted in a running server finds the routes as they were.
        let is_first = self.booted.as_ref().is_some_and(|booted| !*booted.borrow());
        for found in contents.apps {
            if let Some(warning) = &found.warning {
                log::error!("{warning}");
            }
            let mut spec = self.spec(Arc::new(found.config), found.warning.into_iter().collect());
            if let Err(error) = self.check_hosts(&spec.config) {
                log::error!("{}: {error}", spec.config.name);
                spec.warnings.push(error.to_string());
            }
            spec.announces = is_first;
            spec.nothing_remains = !remaining.contains(&spec.config.name);
            self.add(spec, ctx);
        }
        log::info!("{} applications", self.apps.len());
    }

    /// Sets `booted` once each App has published its first route. From then on a request is held or refused for what
    /// its app does, never because the app is not known yet.
    fn tell_booted(&mut self, ctx: &mut Context<Self>) {
        let Some(booted) = self.booted.take() else {
            return;
        };
        let children = self.apps.values().filter_map(|e| e.child.as_ref());
        // An App answers once it has recovered.
        let known = children.map(|(_, child)| child.addr.send(Summarize));
        let known = tokio::time::timeout(BOOT, join_all(known));
        ctx.spawn(known.into_actor(self).map(move |known, apps, _| {
            for entry in apps.apps.values_mut() {
                entry.spec.announces = false;
            }
            if known.is_err() {
                log::warn!(
                    "not every application is known after {BOOT:?}: the others come as they are"
                );
            }
            booted.send_replace(true);
        }));
    }

    /// Finishes removals that were under way, and ends processes of apps without a document.
    fn end_orphans(
        &mut self,
        removals: BTreeMap<AppName, bool>,
        strays: &[AppName],
        ctx: &mut Context<Self>,
    ) {
        for (name, keep_storage) in removals {
            self.finish_removal(name, keep_storage, ctx);
        }
        for name in strays {
            self.end_stray(name, ctx);
        }
    }
}
