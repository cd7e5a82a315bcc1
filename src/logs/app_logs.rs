//! [`AppLogs`]: the logs of all applications by name, for what the server itself has to tell in them, and how much was
//! written to each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use actix::Addr;

use super::log::Log;
use super::record::Stream;
use super::settings::Stored;
use crate::supervision::ChildRef;

/// The logs of all applications. Each App enters its own; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AppLogs(Arc<Mutex<HashMap<Box<str>, AppLog>>>);

#[derive(Clone, Debug, Default)]
struct AppLog {
    log: ChildRef<Log>,
    stored: Arc<Stored>,
}

impl AppLogs {
    /// Enters the log of `app`, in the place of an older one.
    pub fn enter(&self, app: &str, log: ChildRef<Log>) {
        self.all().entry(app.into()).or_default().log = log;
    }

    /// What counts what is stored for `app`.
    #[must_use]
    pub fn counter(&self, app: &str) -> Arc<Stored> {
        let mut all = self.all();
        Arc::clone(&all.entry(app.into()).or_default().stored)
    }

    /// The bytes of lines that were stored for each app, since the server's start.
    #[must_use]
    pub fn stored(&self) -> Vec<(Box<str>, u64)> {
        let all = self.all();
        let bytes = |of: &AppLog| of.stored.bytes();
        all.iter()
            .map(|(app, of)| (app.clone(), bytes(of)))
            .collect()
    }

    /// The id of the last line of a log of `app`; 0 while it is not known.
    #[must_use]
    pub fn last(&self, app: &str, stream: Stream) -> u64 {
        self.all().get(app).map_or(0, |of| of.stored.last(stream))
    }

    /// The id of the first line of a log of `app` that is kept; 0 while it is not known.
    #[must_use]
    pub fn first(&self, app: &str, stream: Stream) -> u64 {
        self.all().get(app).map_or(0, |of| of.stored.first(stream))
    }

    /// Forgets `app`, which is removed.
    pub fn forget(&self, app: &str) {
        self.all().remove(app);
    }

    /// The log of `app`; `None` when there is none, or while it is being restarted.
    #[must_use]
    pub fn get(&self, app: &str) -> Option<Addr<Log>> {
        self.all().get(app)?.log.get()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Box<str>, AppLog>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}
