//! Follows the config directory while the server runs: to edit, add or remove a file does what PATCH, POST or DELETE
//! does. Files that the server wrote itself cause nothing: it knows their contents.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
use jiff::Timestamp;
use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Apps, Remove};
use crate::app::config_dir::{self, Document};
use crate::app::supervisor::{Configure, Warn};
use crate::audit::Entry;
use crate::document::config::AppConfig;
use crate::document::name::AppName;
use crate::events::By;

/// A change of the directory is looked at after this time: editors and configuration tools write in several steps.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a file must be missing before its app is removed: some editors move the old file away first.
const MISSING: Duration = Duration::from_secs(2);

/// As [`MISSING`], in a directory that was made anew: it is filled file by file.
const MISSING_ANEW: Duration = Duration::from_secs(60);

/// Which directory it is, by device and inode.
type Identity = (u64, u64);

fn identity(directory: &Path) -> io::Result<Identity> {
    let found = std::fs::metadata(directory)?;
    Ok((found.dev(), found.ino()))
}

/// Reads the config directory again after [`SETTLE`].
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Rescan;

/// Files of the config directory that are left out, each with the reason.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<String>")]
pub struct Problems;

#[derive(Debug, Default)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Set while a [`Rescan`] of the watcher is in the mailbox or awaits its time: one at a time is enough.
    is_told: Arc<AtomicBool>,
    is_armed: bool,
    /// Problems that were logged already.
    problems: BTreeSet<String>,
    /// The directory that is watched: another one may get its name.
    watched: Option<Identity>,
    /// Set when the name of the directory went or came: what has it now may be another directory with the same inode.
    is_renewed: Arc<AtomicBool>,
    /// Whether the directory was made anew and documents are still missing.
    is_anew: bool,
    /// Apps whose file is missing, and since when.
    missing: BTreeMap<AppName, Instant>,
}

impl Watch {
    /// Whether the directory that was found is another one than is watched.
    fn is_another(&self, found: Identity) -> bool {
        self.is_renewed.swap(false, Ordering::SeqCst) || self.watched != Some(found)
    }
}

/// Whether the event tells that the directory itself went, came or was renamed, not a file in it.
fn is_renewal(event: &notify::Event, directory: &Path) -> bool {
    let is_name = matches!(
        event.kind,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    );
    is_name && event.paths.iter().any(|path| path == directory)
}

impl Apps {
    pub(super) fn watch_directory(&mut self, ctx: &mut Context<Self>) {
        let (apps, is_told) = (ctx.address(), Arc::clone(&self.watch.is_told));
        let is_renewed = Arc::clone(&self.watch.is_renewed);
        let directory = self.context.settings.config_dir.clone();
        let own = directory.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            // To read a file, as the server does, is no change; other files in the parent do not matter.
            let is_own = |path: &PathBuf| *path == own || path.parent() == Some(&own);
            let is_change = event.as_ref().map_or(true, |event| {
                !event.kind.is_access() && event.paths.iter().any(is_own)
            });
            if event.as_ref().is_ok_and(|event| is_renewal(event, &own)) {
                is_renewed.store(true, Ordering::SeqCst);
            }
            if is_change && !is_told.swap(true, Ordering::SeqCst) {
                apps.do_send(Rescan);
            }
        };
        let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(&directory, RecursiveMode::NonRecursive)?;
            // The parent tells when the directory is made anew.
            if let Some(parent) = directory.parent() {
                watcher.watch(parent, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => {
                self.watch.watched = identity(&directory).ok();
                self.watch.watcher = Some(watcher);
            }
            Err(e) => log::error!(
                "{} cannot be watched, changes in it count after a SIGHUP: {e}",
                directory.display()
            ),
        }
    }

    fn scan_after(&mut self, time: Duration, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.watch.is_armed, true) {
            ctx.run_later(time, |apps, ctx| apps.scan(ctx));
        }
    }

    fn scan(&mut self, ctx: &mut Context<Self>) {
        self.watch.is_armed = false;
        self.watch.is_told.store(false, Ordering::SeqCst);
        let before = self.writes;
        let (directory, rules) = (
            self.context.settings.config_dir.clone(),
            self.context.rules(),
        );
        let read = actix_rt::task::spawn_blocking(move || {
            let identity = identity(&directory)?;
            let documents = config_dir::look(&directory, &rules)?;
            io::Result::Ok((identity, documents, config_dir::removals(&directory)?))
        });
        ctx.spawn(
            read.into_actor(self)
                .map(move |read, apps, ctx| match read {
                    Ok(Ok(_)) if !apps.writes.none_since(before) => apps.scan_after(SETTLE, ctx),
                    Ok(Ok((identity, ..))) if apps.watch.is_another(identity) => {
                        apps.watch_anew(identity, ctx);
                    }
                    Ok(Ok((_, documents, removals))) => apps.apply(documents, &removals, ctx),
                    Ok(Err(e)) => apps.is_unreadable(&e, ctx),
                    Err(e) => log::error!("the config directory could not be read: {e}"),
                }),
        );
    }

    /// Watches the directory that has the name now, and scans it again: files may have come before the watch.
    fn watch_anew(&mut self, identity: Identity, ctx: &mut Context<Self>) {
        let directory = self.context.settings.config_dir.clone();
        log::warn!(
            "{} was made anew: what is in it counts, and an application whose document does not come back within {MISSING_ANEW:?} is removed, but for its storage",
            directory.display()
        );
        self.watch.watched = Some(identity);
        self.watch.is_anew = true;
        if let Some(watcher) = &mut self.watch.watcher {
            // The old directory is gone, and perhaps its watch.
            let _ = watcher.unwatch(&directory);
            if let Err(e) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
                log::error!("{} cannot be watched any more: {e}", directory.display());
                self.watch.watched = None;
            }
        }
        self.scan_after(SETTLE, ctx);
    }

    fn is_unreadable(&mut self, error: &io::Error, ctx: &mut Context<Self>) {
        self.note_problems(vec![format!(
            "{} cannot be read, everything stays as it is: {error}",
            self.context.settings.config_dir.display()
        )]);
        // The parent may be gone, too, and then nobody tells when both are back.
        if error.kind() == io::ErrorKind::NotFound {
            self.watch.watched = None;
            self.scan_after(MISSING, ctx);
        }
    }

    fn apply(
        &mut self,
        documents: Vec<Document>,
        removals: &BTreeMap<AppName, bool>,
        ctx: &mut Context<Self>,
    ) {
        let names: BTreeSet<_> = documents.iter().filter_map(|d| d.name.clone()).collect();
        let mut problems = Vec::new();
        let (mut is_claimed, mut is_changed) = (false, false);
        for document in documents {
            let known = document.name.filter(|name| self.apps.contains_key(name));
            let config = document
                .config
                .and_then(|config| match self.check_claims(&config) {
                    Ok(()) => Ok(Arc::new(config)),
                    Err(e) => {
                        is_claimed = true;
                        Err(format!("{}: {e}", document.path.display()))
                    }
                });
            match (known, config) {
                (Some(name), Ok(config)) => is_changed |= self.change(&name, config, ctx),
                (Some(name), Err(problem)) => {
                    let warning = config_dir::last_good_is_used(&problem);
                    self.warn(&name, vec![warning]);
                }
                // A later scan takes it, when the old files of that name are gone.
                (None, Ok(config)) if self.finishing.contains(&config.name) => {}
                (None, Ok(config)) if removals.contains_key(&config.name) => {
                    let keep_storage = removals[&config.name];
                    self.finish_removal(config.name.clone(), keep_storage, ctx);
                }
                (None, Ok(config)) => {
                    log::info!(
                        "{}: its document has come to the config directory",
                        config.name
                    );
                    self.audit(&config.name, "added");
                    let spec = self.spec(config, vec![]);
                    self.add(spec, ctx);
                }
                (None, Err(problem)) => problems.push(problem),
            }
        }
        // What one had may be free now: names move from one document to another in one go.
        if is_claimed && is_changed {
            self.scan_after(SETTLE, ctx);
        }
        self.note_problems(problems);
        self.remove_missing(&names, ctx);
    }

    /// Takes a sound file of a known app, if it says something new.
    fn change(&mut self, name: &AppName, config: Arc<AppConfig>, ctx: &mut Context<Self>) -> bool {
        self.warn(name, vec![]);
        let Some(entry) = self.apps.get_mut(name) else {
            return false;
        };
        if entry.removal.is_some() || entry.spec.config.document == config.document {
            return false;
        }
        log::info!("{name}: its document was edited");
        let changed = Entry::of_file(name.as_str(), "changed", Timestamp::now());
        self.context.audit.tell(changed);
        entry.spec.config = config;
        // An App that is being restarted finds the document in its specification.
        if let Some((_, child)) = &entry.child {
            let (app, config) = (child.addr.clone(), Arc::clone(&entry.spec.config));
            let told = async move {
                if let Ok(Err(e)) = app
                    .send(Configure::LeastWork(config, By::config_directory()))
                    .await
                {
                    log::warn!("an edited document is not taken: {e}");
                }
            };
            ctx.spawn(told.into_actor(self));
        }
        true
    }

    fn audit(&self, name: &AppName, what: &'static str) {
        let entry = Entry::of_file(name.as_str(), what, Timestamp::now());
        self.context.audit.tell(entry);
    }

    pub(super) fn warn(&mut self, name: &AppName, warnings: Vec<String>) {
        let Some(entry) = self.apps.get_mut(name) else {
            return;
        };
        if entry.spec.warnings != warnings {
            for warning in &warnings {
                log::error!("{warning}");
            }
            entry.spec.warnings = warnings.clone();
            if let Some((_, child)) = &entry.child {
                child.addr.do_send(Warn(warnings));
            }
        }
    }

    /// Remembers what is wrong, and logs what is new of it.
    pub(super) fn note_problems(&mut self, problems: Vec<String>) {
        let problems: BTreeSet<_> = problems.into_iter().collect();
        for problem in problems.difference(&self.watch.problems) {
            log::error!("left out: {problem}");
        }
        self.watch.problems = problems;
    }

    /// Removes apps whose file has been missing long enough. Their storage is kept: a file is lost more easily than a
    /// DELETE is sent.
    fn remove_missing(&mut self, found: &BTreeSet<AppName>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let is_missing = |(name, entry): &(&AppName, &super::Entry)| {
            entry.removal.is_none() && !found.contains(*name)
        };
        let missing = self.apps.iter().filter(is_missing);
        let since = |name: &AppName| self.watch.missing.get(name).copied().unwrap_or(now);
        let missing: BTreeMap<_, _> = missing.map(|(n, _)| (n.clone(), since(n))).collect();
        self.watch.is_anew &= !missing.is_empty();
        let limit = match self.watch.is_anew {
            true => MISSING_ANEW,
            false => MISSING,
        };
        for (name, since) in &missing {
            if now.duration_since(*since) >= limit {
                log::info!(
                    "{name}: its document was removed; so is the application, but for its storage"
                );
                self.audit(name, "removed");
                ctx.notify(Remove {
                    name: name.to_string(),
                    base: None,
                    keep_storage: true,
                    by: By::config_directory(),
                });
            }
        }
        if !missing.is_empty() {
            self.scan_after(MISSING, ctx);
        }
        self.watch.missing = missing;
    }
}

impl Handler<Problems> for Apps {
    type Result = MessageResult<Problems>;

    fn handle(&mut self, _: Problems, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.watch.problems.iter().cloned().collect())
    }
}

impl Handler<Rescan> for Apps {
    type Result = ();

    fn handle(&mut self, _: Rescan, ctx: &mut Self::Context) {
        self.scan_after(SETTLE, ctx);
    }
}
