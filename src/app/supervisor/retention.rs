//! Removes releases from disk: beyond as many as the document says, and those that did not get ready.

use actix::prelude::*;

use super::App;
use crate::app::lifecycle::{End, OpId};
use crate::app::operations::Operation;
use crate::document::config::AppConfig;
use crate::install::release;

impl App {
    /// Notes that `op` makes `release`. Wait for `Journal::flushed` before the release is complete: the disk must say
    /// by then that it is unproven.
    pub(super) fn makes(&mut self, op: OpId, release: u64) {
        if let Some(operation) = self.operations.get(op) {
            operation.made = Some(release);
        }
        self.unproven.insert(release);
        self.remember();
    }

    /// Notes that `release` was ready.
    pub(super) fn proves(&mut self, release: u64) {
        if self.unproven.remove(&release) {
            self.remember();
        }
    }

    /// Notes that the release of a successful operation is proven, also one without processes.
    pub(super) fn judge(&mut self, operation: &Operation, end: &End) {
        if let Some(made) = operation.made.filter(|_| *end == End::Done) {
            self.proves(made);
        }
    }

    /// Releases that did not get ready and never will.
    pub(super) fn failed_releases(&self) -> Vec<u64> {
        let (in_use, _) = self.in_use();
        let unproven = self.unproven.iter().copied();
        unproven.filter(|id| !in_use.contains(id)).collect()
    }

    /// Removes releases that are neither in use nor worth keeping.
    pub(super) fn tidy(&mut self, ctx: &mut Context<Self>) {
        if self.ending || self.removal.is_some() {
            return;
        }
        let (in_use, newest) = self.in_use();
        let failed = self.failed_releases();
        let keep = self.releases_kept(&self.spec.config);
        let dirs = self.spec.dirs.clone();
        let tidy = actix_rt::task::spawn_blocking(move || {
            for id in &failed {
                release::discard(&dirs, *id);
            }
            release::prune(&dirs, keep, &in_use, newest);
            failed
        });
        ctx.spawn(tidy.into_actor(self).map(|done, app, ctx| {
            // Only once they are gone: until then they must not count as proven.
            for id in done.unwrap_or_default() {
                app.proves(id);
            }
            app.refresh_releases(ctx);
        }));
    }

    /// How many releases stay by `config`. One in use that was never ready does not count: a proven one keeps its
    /// place.
    pub(super) fn releases_kept(&self, config: &AppConfig) -> usize {
        let (in_use, _) = self.in_use();
        let is_used = |id: &&u64| in_use.contains(*id);
        let on_trial = self.unproven.iter().filter(is_used).count();
        config.keep_releases.saturating_add(on_trial)
    }

    /// The releases of batches, survivors and open operations, the current one among them; and the current one (0:
    /// none).
    pub(super) fn in_use(&self) -> (Vec<u64>, u64) {
        let mut in_use: Vec<_> = self.batches.values().map(|b| b.runnable.id()).collect();
        in_use.extend(self.life.current());
        in_use.extend(&self.leftover);
        in_use.extend(self.operations.releases());
        (in_use, self.life.current().unwrap_or_default())
    }

    pub(super) fn refresh_releases(&self, ctx: &mut Context<Self>) {
        let dirs = self.spec.dirs.clone();
        let list = actix_rt::task::spawn_blocking(move || release::list(&dirs));
        ctx.spawn(list.into_actor(self).map(|list, app, _| {
            if let Ok(list) = list {
                app.releases = list;
            }
        }));
    }
}
