//! Previews go by themselves: some time after their last deployment, and with the application that they are of.

use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;
use jiff::Timestamp;

use super::{Apps, Remove};
use crate::app::status::{AppState, Summary};
use crate::app::supervisor::Summarize;
use crate::audit::Entry;
use crate::document::name::AppName;
use crate::events::{By, Report};

/// The time between two looks at previews.
const LOOK: Duration = Duration::from_secs(10);

impl Apps {
    /// Looks from now on whether a preview has expired.
    pub(super) fn watch_previews(&self, ctx: &mut Context<Self>) {
        ctx.run_interval(LOOK, |apps, ctx| apps.look_at_previews(ctx));
    }

    fn previews(&self) -> impl Iterator<Item = (&AppName, &super::Entry)> {
        let all = self
            .apps
            .iter()
            .filter(|(_, entry)| entry.removal.is_none());
        all.filter(|(_, entry)| entry.spec.config.preview.is_some())
    }

    fn look_at_previews(&self, ctx: &mut Context<Self>) {
        let children = self
            .previews()
            .filter_map(|(_, entry)| entry.child.as_ref());
        let asked: Vec<_> = children
            .map(|(_, child)| child.addr.send(Summarize))
            .collect();
        if asked.is_empty() {
            return;
        }
        let asked = join_all(asked).into_actor(self);
        ctx.spawn(asked.map(|answers, apps, ctx| {
            let now = Timestamp::now();
            let expired = answers
                .into_iter()
                .flatten()
                .filter(|one| has_expired(one, now));
            for summary in expired {
                apps.remove_preview(summary.name, "its time is over", ctx);
            }
        }));
    }

    /// Removes the previews of an application that is removed.
    pub(super) fn remove_previews_of(&self, app: &AppName, ctx: &mut Context<Self>) {
        let is_of_app = |entry: &super::Entry| {
            let preview = entry.spec.config.preview.as_ref();
            preview.is_some_and(|preview| preview.app == *app)
        };
        let of_app = self.previews().filter(|(_, entry)| is_of_app(entry));
        let names: Vec<String> = of_app.map(|(name, _)| name.to_string()).collect();
        for name in names {
            self.remove_preview(name, "its application is removed", ctx);
        }
    }

    fn remove_preview(&self, name: String, why: &'static str, ctx: &mut Context<Self>) {
        let entry = Entry::of_preview(&name, Timestamp::now());
        self.context.audit.tell(entry);
        self.context.events.report(Report::PreviewRemoved {
            app: name.as_str().into(),
            why,
        });
        let remove = Remove {
            name,
            base: None,
            keep_storage: false,
            by: By::server(),
        };
        ctx.notify(remove);
    }
}

fn has_expired(summary: &Summary, now: Timestamp) -> bool {
    let preview = summary.preview.as_ref();
    let expires_at = preview.and_then(|preview| preview.expires_at);
    summary.state != AppState::Deploying && expires_at.is_some_and(|at| at <= now)
}
