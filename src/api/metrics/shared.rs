//! [`Metrics`]: what all who ask for metrics share.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use actix_web::web::Bytes;

use super::exposition::{Families, Format};
use crate::front::access::recorder::Lost;
use crate::front::request_counts::RequestCounts;
use crate::logs::app_logs::AppLogs;
use crate::process::usage::Run;

/// Where numbers are that nobody can be asked for, and what was gathered last.
#[derive(Default)]
pub struct Metrics {
    pub requests: RequestCounts,
    pub app_logs: AppLogs,
    pub lost_lines: Lost,
    pub(super) page: tokio::sync::Mutex<Page>,
    pub(super) remembered: Remembered,
}

impl Metrics {
    /// Nothing was counted yet but what `app_logs` and `requests` have.
    #[must_use]
    pub fn with(app_logs: AppLogs, requests: RequestCounts) -> Self {
        Self {
            app_logs,
            requests,
            ..Self::default()
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What was gathered last, and its texts as far as somebody asked for them.
#[derive(Default)]
pub(super) struct Page {
    pub(super) made: Option<Instant>,
    pub(super) families: Families,
    pub(super) texts: [Option<Bytes>; Format::ALL.len()],
}

/// What is kept from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) disk: Arc<Mutex<Disk>>,
    /// By application, process and pid.
    pub(super) cpu_seconds: Mutex<HashMap<(String, String, Run), f64>>,
}

/// What applications had on disk when somebody looked last.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) bytes: BTreeMap<String, u64>,
    /// Lives as long as somebody looks at it.
    pub(super) look: Weak<()>,
}
