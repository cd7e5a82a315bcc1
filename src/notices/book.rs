//! [`Receivers`]: who wants to be told. Cheap to clone; it outlives all actors.

use std::collections::{BTreeMap, BTreeSet};
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

    /// Who is told of `app` (`None`: of the server), and what hides its secrets. Nobody is told of an application that is
    /// not known, or not any more: nothing would hide its secrets.
    #[must_use]
    pub fn of(&self, app: Option<&str>) -> (Vec<NotifyConfig>, Mask) {
        let own = match app {
            None => OfApp::default(),
            Some(app) => match self.apps().get(app) {
                Some(own) => own.clone(),
                None => return (vec![], Mask::default()),
            },
        };
        let mut all = self.0.of_server.clone();
        all.extend(own.receivers);
        (all, own.mask)
    }

    /// The keys of all who are told of anything.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        let apps = self.apps();
        let of_apps = apps.values().flat_map(|of_app| &of_app.receivers);
        let all = self.0.of_server.iter().chain(of_apps);
        all.map(|receiver| receiver.to.key()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_an_application_whose_secrets_nothing_hides() {
        let ours = NotifyConfig::to("mailto:ops@example.org").unwrap();
        let theirs = NotifyConfig::to("https://h.example/x").unwrap();
        let book = Receivers::new(vec![ours.clone()], None, "h".to_owned());
        let app: Arc<str> = "blog".into();
        assert!(book.of(Some("blog")).0.is_empty());
        let mask = Mask::new(["sesame".to_owned()]);
        book.want(&app, std::slice::from_ref(&theirs), || mask.clone());
        let all = vec![ours.clone(), theirs.clone()];
        assert_eq!(book.of(Some("blog")), (all, mask));
        assert_eq!(book.keys().len(), 2);
        book.forget("blog");
        assert!(book.of(Some("blog")).0.is_empty());
        assert_eq!(book.of(None).0, std::slice::from_ref(&ours));
        assert!(!book.keys().contains(&theirs.to.key()) && book.keys().contains(&ours.to.key()));
    }
}
