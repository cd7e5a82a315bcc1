//! [`Releases`]: the releases of an app on disk, and which of them stay.

use std::collections::BTreeSet;

use super::runnable::config_of_before;
use crate::app_dirs::AppDirs;
use crate::document::config::{AppConfig, Rules};
use crate::install::release::{self, ReleaseRecord};

/// The releases of an app. Call the methods that block on another thread, by [`Releases::surplus`].
#[derive(Debug)]
pub struct Releases {
    /// As they are on disk, oldest first.
    pub records: Vec<ReleaseRecord>,
    /// See [`Remembered::unproven`](super::remembered::Remembered::unproven).
    pub unproven: BTreeSet<u64>,
    /// The number of the next one: numbers are not used again.
    pub next: u64,
    /// Those of processes that outlived the previous server and are being ended.
    pub leftover: Vec<u64>,
}

impl Default for Releases {
    fn default() -> Self {
        Self {
            records: vec![],
            unproven: BTreeSet::new(),
            next: 1,
            leftover: vec![],
        }
    }
}

/// What is removed from disk, decided now and carried out by a thread that may block.
#[derive(Clone, Debug)]
pub struct Surplus {
    /// Releases that did not get ready and never will.
    failed: Vec<u64>,
    /// How many releases stay.
    keep: usize,
    in_use: Vec<u64>,
    /// The current release, 0 for none: directories with a higher number belong to a deploy at work.
    newest: u64,
}

impl Releases {
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&ReleaseRecord> {
        self.records.iter().find(|record| record.id == id)
    }

    /// The document that release `id` was made with, where that is still allowed.
    #[must_use]
    pub fn config(&self, id: u64, rules: &Rules) -> Option<AppConfig> {
        config_of_before(rules, self.get(id)?.document.clone()).ok()
    }

    /// The number of a release that is about to be made. Nobody knows yet whether it gets ready.
    pub fn make(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.unproven.insert(id);
        id
    }

    /// Notes that a release was ready, or is gone. Returns whether that is new.
    pub fn prove(&mut self, id: u64) -> bool {
        self.unproven.remove(&id)
    }

    /// Those that a rollback can go to, oldest first.
    pub fn proven(&self) -> impl DoubleEndedIterator<Item = u64> {
        let ids = self.records.iter().map(|record| record.id);
        ids.filter(|id| !self.unproven.contains(id))
    }

    /// Says what may go: releases that never got ready, and the oldest beyond as many as `config` keeps. One `in_use`
    /// that was never ready does not count: a proven one keeps its place.
    #[must_use]
    pub fn surplus(&self, config: &AppConfig, in_use: Vec<u64>, current: Option<u64>) -> Surplus {
        let (on_trial, failed): (Vec<u64>, Vec<u64>) =
            self.unproven.iter().partition(|id| in_use.contains(id));
        Surplus {
            failed,
            keep: config.keep_releases.saturating_add(on_trial.len()),
            in_use,
            newest: current.unwrap_or_default(),
        }
    }
}

impl Surplus {
    /// Removes it and returns the releases that never got ready. Blocks.
    #[must_use]
    pub fn remove(self, dirs: &AppDirs) -> Vec<u64> {
        for id in &self.failed {
            release::discard(dirs, *id);
        }
        release::prune(dirs, self.keep, &self.in_use, self.newest);
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_release_on_trial_takes_no_place_and_one_that_failed_goes() {
        let document = json!({"name": "a", "repo": {"url": "https://h/a.git"}, "keep_releases": 2});
        let config = AppConfig::from_document(document, &Rules::default()).unwrap();
        let mut releases = Releases::default();
        let made = [releases.make(), releases.make(), releases.make()];
        assert_eq!(made, [1, 2, 3]);
        assert!(releases.prove(1) && !releases.prove(1));
        let surplus = releases.surplus(&config, vec![1, 3], Some(1));
        assert_eq!((surplus.failed, surplus.keep), (vec![2], 3));
    }
}
