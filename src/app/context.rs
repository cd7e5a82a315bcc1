//! [`AppContext`]: what the server lends to every application.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_rt::ArbiterHandle;

use crate::audit::AuditLog;
use crate::document::config::Rules;
use crate::drains::book::Drains;
use crate::events::Feed;
use crate::front::request_counts::RequestCounts;
use crate::logs::app_logs::AppLogs;
use crate::notices::book::Receivers;
use crate::process::ports::Ports;
use crate::process::start_permits::StartPermits;
use crate::router::held::Held;
use crate::router::router::Router;
use crate::settings::Settings;
use crate::supervision::ChildRef;
use crate::swarm::image::Images;
use crate::swarm::swarm::Swarm;

/// What the server lends to every application. Cheap to clone; owns nothing.
#[derive(Clone, Debug)]
pub struct AppContext {
    pub settings: Arc<Settings>,
    /// The pool of ports for processes.
    pub ports: Ports,
    pub router: ChildRef<Router>,
    /// The thread of all control actors.
    pub control: ArbiterHandle,
    /// The thread of all Log actors.
    pub logs: ArbiterHandle,
    /// The logs of all applications.
    pub app_logs: AppLogs,
    /// Where the logs of applications are sent.
    pub drains: Drains,
    /// Who is told of what goes wrong.
    pub receivers: Receivers,
    /// Who may start when the server starts.
    pub start_permits: StartPermits,
    /// Where it is told what happens.
    pub events: Feed,
    /// The requests that wait for their apps.
    pub held: Held,
    /// The requests that each app had.
    pub request_counts: RequestCounts,
    /// Set when the next server takes processes over as they are: then the end of an App is not theirs.
    pub hands_over: Arc<AtomicBool>,
    /// Where it is told what was changed by files.
    pub audit: AuditLog,
    /// The images of applications that run on a swarm; `None`: the settings name no swarm.
    pub images: Option<Images>,
    /// The swarm that documents may name as their engine.
    pub swarm: Option<Arc<Swarm>>,
    /// Whether processes can be given another account: the daemon is root.
    pub can_switch: bool,
}

impl AppContext {
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.hands_over.load(Ordering::SeqCst)
    }

    /// What documents may say on this server.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            allow_root_apps: self.settings.allow_root_apps,
            allow_file_repos: self.settings.allow_file_repos,
            has_swarm: self.settings.swarm.is_some(),
        }
    }
}
