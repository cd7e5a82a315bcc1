//! Removes releases from disk: beyond as many as the document says, and those that did not get ready.

use actix::prelude::*;

use super::App;
use crate::app::engine::elsewhere;
use crate::install::release;

impl App {
    /// Removes releases that are neither in use nor worth keeping.
    pub(super) fn tidy(&mut self, ctx: &mut Context<Self>) {
        if self.ending || self.deployer.removal.is_some() {
            return;
        }
        let newest = self.deployer.documents.newest();
        let surplus = self.deployer.surplus(newest, self.releases_in_use());
        let dirs = self.spec.dirs.clone();
        let removed = actix_rt::task::spawn_blocking(move || surplus.remove(&dirs));
        ctx.spawn(removed.into_actor(self).map(|failed, app, ctx| {
            // Only once they are gone: until then they must not count as proven.
            for id in failed.unwrap_or_default() {
                app.deployer.prove(id);
            }
            app.refresh_releases(ctx);
            app.sweep_images();
        }));
    }

    /// Removes images of releases that are gone.
    fn sweep_images(&self) {
        let name = self.spec.config.name.clone();
        actix_rt::spawn(elsewhere::sweep_images(name, self.spec.context.clone()));
    }

    pub(super) fn refresh_releases(&self, ctx: &mut Context<Self>) {
        let dirs = self.spec.dirs.clone();
        let list = actix_rt::task::spawn_blocking(move || release::list(&dirs));
        ctx.spawn(list.into_actor(self).map(|list, app, _| {
            if let Ok(list) = list {
                app.deployer.releases.records = list;
            }
        }));
    }
}
