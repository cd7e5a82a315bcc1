//! What the API is given to reach the rest of the tree.

use std::sync::Arc;

use tokio::sync::watch;

use super::Given;
use crate::api::about::About;
use crate::api::backup_turn::Backups;
use crate::api::metrics::shared::Metrics;
use crate::api::state::{ApiState, Routing};
use crate::api::ui::sessions::Sessions;
use crate::api::ui::watchers::Watchers;
use crate::api::upload_turn::Uploads;
use crate::app::context::AppContext;
use crate::backup::carry::Carrier;
use crate::event_log::writer::EventFiles;
use crate::front::listener::Closed;
use crate::hooks::store::Hooks;
use crate::router::table::Table;
use crate::supervision::ChildRef;
use crate::swarm::image::Images;

/// What others tell the API.
pub(super) struct Told {
    pub(super) table: watch::Receiver<Arc<Table>>,
    /// Turns true when the server is being stopped.
    pub(super) closing: watch::Receiver<bool>,
    pub(super) closed_ports: watch::Receiver<Closed>,
    pub(super) about: About,
    /// This machine's.
    pub(super) host_name: Arc<str>,
}

/// The state of the API. Its references to actors that are not started yet are empty.
pub(super) fn state(context: &AppContext, given: &Given, told: Told) -> ApiState {
    let settings = &context.settings;
    let apps = ChildRef::default();
    let backups = Backups::new(Carrier {
        apps: apps.clone(),
        settings: Arc::clone(settings),
        rules: context.rules(),
    });
    ApiState {
        apps,
        routing: Routing {
            table: told.table,
            reach: Arc::clone(&settings.front.reach),
        },
        config_dir: settings.config_dir.as_path().into(),
        rules: context.rules(),
        default_user: settings.default_user.clone(),
        can_switch: context.can_switch,
        events: context.events.clone(),
        closing: told.closing,
        closed_ports: told.closed_ports,
        certificates: Arc::clone(&given.published),
        acme: ChildRef::default(),
        acme_results: Arc::default(),
        backups: Some(backups),
        about: Arc::new(told.about),
        audit: context.audit.clone(),
        host_name: told.host_name,
        drains: context.drains.clone(),
        receivers: context.receivers.clone(),
        tokens: given.tokens.clone(),
        ssh_keys: given.ssh_keys.clone(),
        reload: given.reload.clone(),
        failed_logins: Arc::default(),
        failed_hooks: Arc::default(),
        failed_pulls: Arc::default(),
        images: context.images.clone().filter(Images::are_given_out),
        meters: context
            .swarm
            .as_ref()
            .map(|swarm| swarm.meters.clone())
            .unwrap_or_default(),
        hooks: Hooks::default(),
        uploads: Uploads::default(),
        sessions: Sessions::open(&settings.data_dir),
        watchers: Watchers::default(),
        history: ChildRef::default(),
        event_files: EventFiles::below(&settings.data_dir, settings.log_files),
        metrics: Arc::new(Metrics::with(
            context.app_logs.clone(),
            context.request_counts.clone(),
        )),
        spans: None,
    }
}
