//! [`AppLogs`]: the logs of all applications by name, for what the server itself has to tell in them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use actix::Addr;

use super::log::Log;
use crate::supervision::ChildRef;

/// The logs of all applications. Each App enters its own; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AppLogs(Arc<Mutex<HashMap<Box<str>, ChildRef<Log>>>>);

impl AppLogs {
    /// Enters the log of `app`, in the place of an older one.
    pub fn enter(&self, app: &str, log: ChildRef<Log>) {
        self.all().insert(app.into(), log);
    }

    /// Forgets `app`, which is removed.
    pub fn forget(&self, app: &str) {
        self.all().remove(app);
    }

    /// The log of `app`; `None` when there is none, or while it is being restarted.
    #[must_use]
    pub fn get(&self, app: &str) -> Option<Addr<Log>> {
        self.all().get(app)?.get()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Box<str>, ChildRef<Log>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}
