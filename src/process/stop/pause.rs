//! [`Paused`]: everything of an app, stopped (SIGSTOP) for a moment.
//!
//! A note in the app's runtime directory is written before: a server that is killed meanwhile leaves the app stopped, and
//! the next one lets it go on ([`go_on`]).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::super::cgroup::Cgroup;
use super::super::identity;
use super::super::rlimit_mark::RlimitMark;
use super::super::users::Users;
use super::{MARKER, Target, Unique, freeze, signal};
use crate::app_dirs::AppDirs;
use crate::{durable, failpoint};

const NOTE: &str = "paused";

/// All processes of an app, which go on when this is dropped.
#[derive(Debug)]
pub struct Paused {
    targets: Vec<Target>,
    note: PathBuf,
}

impl Paused {
    /// Stops the processes of these instances. Blocks.
    ///
    /// # Errors
    /// The note cannot be written: then nothing is stopped.
    pub fn of(dirs: &AppDirs, instances: &[String]) -> io::Result<Self> {
        let note = dirs.runtime().join(NOTE);
        if dirs.runtime().is_dir() {
            durable::replace_until_reboot(&note, b"", 0o600)?;
        }
        let mut paused = Self {
            targets: targets(dirs, instances),
            note,
        };
        for target in &mut paused.targets {
            freeze(|each| target.find(each));
        }
        failpoint::reach("while an app is paused");
        Ok(paused)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.targets.iter_mut().for_each(resume);
        remove(&self.note);
    }
}

/// Lets the processes go on that an earlier server has left stopped, if it has. Blocks.
pub fn go_on(dirs: &AppDirs, instances: &dyn Fn() -> Vec<String>) {
    let note = dirs.runtime().join(NOTE);
    if !note.exists() {
        return;
    }
    log::info!(
        "{}: what was paused for a backup goes on",
        dirs.root().display()
    );
    targets(dirs, &instances()).iter_mut().for_each(resume);
    remove(&note);
}

fn resume(target: &mut Target) {
    let before = target.known.clone();
    target.find(|process| signal(process, Signal::CONT));
    let missed = before.difference(&target.known);
    missed.for_each(|process| signal(*process, Signal::CONT));
}

fn remove(note: &Path) {
    match std::fs::remove_file(note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("cannot remove {}: {error}", note.display());
        }
        _ => {}
    }
}

fn targets(dirs: &AppDirs, instances: &[String]) -> Vec<Target> {
    let users = Users::of_app(dirs);
    let target = |instance: &String| {
        let identity = identity::read(Path::new(instance)).filter(|identity| identity.is_alive());
        let users = users
            .clone()
            .and(identity.as_ref().and_then(|identity| identity.uid));
        Target {
            leader: identity.map(|identity| Unique {
                pid: identity.pid,
                start_time: identity.start_time,
            }),
            marker: format!("{MARKER}={instance}"),
            rlimit_mark: RlimitMark::of(instance),
            users,
            cgroup: Cgroup::left_by(instance),
            is_confined: false,
            known: BTreeSet::new(),
        }
    };
    instances.iter().map(target).collect()
}
