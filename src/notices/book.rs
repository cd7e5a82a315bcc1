//! [`Receivers`]: who wants to be told. Cheap to clone; it outlives all actors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::smtp::Smtp;
use crate::document::mask::Mask;
use crate::document::notify::NotifyConfig;

/// Who wants to be told.
#[derive(Clone, Debug)]
pub struct Receivers(Arc<Book>);

#[derive(Debug)]
struct Book {
    of_server: Vec<NotifyConfig>,
    smtp: Option<Smtp>,
    /// The name of this machine.
    host: String,
    apps: Mutex<BTreeMap<Arc<str>, OfApp>>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
struct OfApp {
    receivers: Vec<NotifyConfig>,
    mask: Mask,
}

impl Receivers {
    /// Those of the settings; `smtp` is how mail is sent, if it is.
    #[must_use]
    pub fn new(of_server: Vec<NotifyConfig>, smtp: Option<Smtp>, host: String) -> Self {
        Self(Arc::new(Book {
            of_server,
            smtp,
            host,
            apps: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// From now on those of its document are told of `app`, and `mask` hides its secrets from all.
    pub fn want(&self, app: &Arc<str>, receivers: &[NotifyConfig], mask: impl FnOnce() -> Mask) {
        if receivers.is_empty() && self.0.of_server.is_empty() {
            self.apps().remove(app);
            return;
        }
        let of_app = OfApp {
            receivers: receivers.to_vec(),
            mask: mask(),
        };
        self.apps().insert(Arc::clone(app), of_app);
        self.0.changed.notify_one();
    }

    /// `app` is removed.
    pub fn forget(&self, app: &str) {
        self.apps().remove(app);
    }

    /// Who is told of the server itself.
    #[must_use]
    pub fn of_server(&self) -> &[NotifyConfig] {
        &self.0.of_server
    }

    /// Who is told of `app` (`None`: of the server), and what hides its secrets.
    #[must_use]
    pub fn of(&self, app: Option<&str>) -> (Vec<NotifyConfig>, Mask) {
        let own = app
            .and_then(|app| self.apps().get(app).cloned())
            .unwrap_or_default();
        let mut all = self.0.of_server.clone();
        all.extend(own.receivers);
        (all, own.mask)
    }

    /// How mail is sent.
    #[must_use]
    pub fn smtp(&self) -> Option<&Smtp> {
        self.0.smtp.as_ref()
    }

    /// The name of this machine.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Whether anybody wants to be told of anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.of_server.is_empty() && self.apps().is_empty()
    }

    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn apps(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, OfApp>> {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
