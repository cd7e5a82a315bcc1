//! [`Apps`]: the dynamic supervisor of all App actors, and the only writer of the config directory.

mod boot;
mod children;
mod claims;
mod configure;
mod directory;
mod error;
mod former;
mod orphans;
mod previews;
mod removals;
mod requests;
mod size;
mod turns;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::prelude::*;

use super::context::AppContext;
use super::operations::{Outcome, Ticket};
use super::supervisor::{App, AppSpec};
use crate::app_dirs::AppDirs;
use crate::document::config::AppConfig;
use crate::document::name::AppName;
use crate::supervision::restart::Supervisor;
use crate::supervision::{Child, ExitReason, Generation};

use directory::Watch;
use writes::Writes;

pub use configure::{Patch, Replace};
pub use directory::{Problems, Rescan};
pub use error::AppsError;
pub use orphans::{Orphan, Orphans, RemoveOrphan};
pub use previews::PreviewsOf;
pub use removals::Remove;
pub use requests::{AtWork, Create, Find, List, Ping};
pub use turns::{TakeTurn, Turn};

#[derive(Debug)]
pub struct Apps {
    context: AppContext,
    exit: ExitReason,
    policy: Supervisor<AppName>,
    apps: BTreeMap<AppName, Entry>,
    /// Documents that are being written, of new apps as well.
    writing: BTreeMap<AppName, Arc<AppConfig>>,
    /// Names of removed apps whose files are still going.
    finishing: BTreeSet<AppName>,
    /// Apps without a document, while what a swarm runs of them is ended.
    strays: BTreeMap<AppName, SpawnHandle>,
    writes: Writes,
    watch: Watch,
    booted: Option<tokio::sync::watch::Sender<bool>>,
    /// Set by [`Shutdown`](crate::supervision::Shutdown): the apps stop their processes.
    ending: bool,
}

#[derive(Debug)]
struct Entry {
    spec: AppSpec,
    child: Option<(Generation, Child<App>)>,
    /// Held while its document is changed: changes of one app come one after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Set while it is being removed.
    removal: Option<Removal>,
}

/// A removal that is under way.
#[derive(Debug)]
struct Removal {
    waiting: tokio::sync::watch::Sender<Option<Outcome>>,
    /// The App's own answer.
    ticket: Option<Ticket>,
    keep_storage: bool,
    /// Whether the disk says so: then it goes on, whatever happens.
    is_written: bool,
}

impl Apps {
    /// An Apps that starts every app of the config directory, then sets `booted`.
    #[must_use]
    pub fn new(
        context: AppContext,
        booted: tokio::sync::watch::Sender<bool>,
        exit: ExitReason,
    ) -> Self {
        Self {
            policy: children::policy(),
            context,
            exit,
            apps: BTreeMap::new(),
            writing: BTreeMap::new(),
            finishing: BTreeSet::new(),
            strays: BTreeMap::new(),
            writes: Writes::default(),
            watch: Watch::default(),
            booted: Some(booted),
            ending: false,
        }
    }

    fn dirs(&self, name: &AppName) -> AppDirs {
        AppDirs::new(
            &self.context.settings.data_dir,
            &self.context.settings.runtime_dir,
            name,
        )
    }

    fn spec(&self, config: Arc<AppConfig>, warnings: Vec<String>) -> AppSpec {
        AppSpec {
            dirs: self.dirs(&config.name),
            config,
            context: self.context.clone(),
            warnings,
            deploy_at_start: true,
            announces: false,
            nothing_remains: false,
        }
    }
}

/// Ends the App actors, but not their processes: a fresh Apps starts Apps that take them over.
impl Drop for Apps {
    fn drop(&mut self) {
        for (_, child) in self.apps.values().filter_map(|entry| entry.child.as_ref()) {
            child.kill();
        }
    }
}

impl Actor for Apps {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        // Watches before it reads, so that it misses no change in between.
        self.watch_directory(ctx);
        self.boot(ctx);
        self.watch_previews(ctx);
    }
}
