//! Previews: how many there are, and that they go by themselves, some time after their last deployment and with the
//! application that they are of.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;
use jiff::Timestamp;

use super::requests::summary;
use super::{Apps, AppsError, Remove};
use crate::app::status::{AppState, Summary};
use crate::audit::Entry;
use crate::document::config::AppConfig;
use crate::document::name::AppName;
use crate::document::preview::MOST;
use crate::events::{By, Report};

const GONE: &str = "its application is removed";

/// The time between two looks at previews.
const LOOK: Duration = Duration::from_secs(10);

/// Lists the previews of an app by name, but for those that are being removed.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Vec<Summary>")]
pub struct PreviewsOf(pub AppName);

impl Apps {
    /// Looks from now on whether a preview has expired.
    pub(super) fn watch_previews(&self, ctx: &mut Context<Self>) {
        ctx.run_interval(LOOK, |apps, ctx| apps.look_at_previews(ctx));
    }

    /// Refuses one more preview of an app that has as many as it may, or is being removed.
    pub(super) fn check_previews(&self, config: &AppConfig) -> Result<(), AppsError> {
        let Some(preview) = &config.preview else {
            return Ok(());
        };
        let app = &preview.app;
        match self.apps.get(app) {
            Some(entry) if entry.removal.is_none() => {}
            Some(_) => return Err(AppsError::BeingRemoved(app.clone())),
            // It was removed while its repository was asked for the branch.
            None => return Err(AppsError::NoSuchApp(app.to_string())),
        }
        let known = self.previews_of(app).map(|entry| &entry.spec.config);
        let written = self.writing.values().filter(|config| is_of(config, app));
        let present: BTreeSet<&AppName> = known.chain(written).map(|of| &of.name).collect();
        match present.len() < MOST {
            true => Ok(()),
            false => Err(AppsError::TooManyPreviews {
                app: app.clone(),
                previews: present.into_iter().cloned().collect(),
            }),
        }
    }

    /// Has a preview that was just added removed where its app has gone while it was written.
    pub(super) fn remove_if_orphaned(&self, config: &AppConfig, ctx: &mut Context<Self>) {
        let of = config.preview.as_ref().map(|preview| &preview.app);
        let is_there = |app: &AppName| {
            let entry = self.apps.get(app);
            entry.is_some_and(|entry| entry.removal.is_none())
        };
        if of.is_some_and(|app| !is_there(app)) {
            self.remove_preview(config.name.to_string(), GONE, ctx);
        }
    }

    fn previews(&self) -> impl Iterator<Item = &super::Entry> {
        let all = self.apps.values().filter(|entry| entry.removal.is_none());
        all.filter(|entry| entry.spec.config.preview.is_some())
    }

    fn previews_of(&self, app: &AppName) -> impl Iterator<Item = &super::Entry> {
        self.previews()
            .filter(move |entry| is_of(&entry.spec.config, app))
    }

    fn look_at_previews(&self, ctx: &mut Context<Self>) {
        let asked: Vec<_> = self.previews().map(summary).collect();
        if asked.is_empty() {
            return;
        }
        let asked = join_all(asked).into_actor(self);
        ctx.spawn(asked.map(|answers, apps, ctx| {
            let now = Timestamp::now();
            let expired = answers.into_iter().filter(|one| has_expired(one, now));
            for summary in expired {
                apps.remove_preview(summary.name, "its time is over", ctx);
            }
        }));
    }

    /// Removes the previews of an application that is removed.
    pub(super) fn remove_previews_of(&self, app: &AppName, ctx: &mut Context<Self>) {
        let of_app = self.previews_of(app).map(|entry| &entry.spec.config.name);
        let names: Vec<String> = of_app.map(ToString::to_string).collect();
        for name in names {
            self.remove_preview(name, GONE, ctx);
        }
    }

    /// Removes a preview, and tells of it once that is written down.
    fn remove_preview(&self, name: String, why: &'static str, ctx: &mut Context<Self>) {
        let remove = Remove {
            name: name.clone(),
            base: None,
            keep_storage: false,
            by: By::server(),
        };
        let begun = ctx.address().send(remove).into_actor(self);
        ctx.spawn(begun.map(move |begun, apps, _| match begun {
            Ok(Ok(_)) => {
                let entry = Entry::of_preview(&name, Timestamp::now());
                apps.context.audit.tell(entry);
                apps.context.events.report(Report::PreviewRemoved {
                    app: name.as_str().into(),
                    why,
                });
            }
            // Somebody else has had it removed, or the server ends.
            Ok(Err(AppsError::BeingRemoved(_) | AppsError::NoSuchApp(_))) | Err(_) => {}
            Ok(Err(error)) => log::warn!("{name} stays, though {why}: {error}"),
        }));
    }
}

fn is_of(config: &AppConfig, app: &AppName) -> bool {
    config
        .preview
        .as_ref()
        .is_some_and(|preview| preview.app == *app)
}

fn has_expired(summary: &Summary, now: Timestamp) -> bool {
    let preview = summary.preview.as_ref();
    let expires_at = preview.and_then(|preview| preview.expires_at);
    summary.state != AppState::Deploying && expires_at.is_some_and(|at| at <= now)
}

impl Handler<PreviewsOf> for Apps {
    type Result = ResponseFuture<Vec<Summary>>;

    fn handle(&mut self, PreviewsOf(app): PreviewsOf, _: &mut Self::Context) -> Self::Result {
        let asked: Vec<_> = self.previews_of(&app).map(summary).collect();
        Box::pin(join_all(asked))
    }
}
