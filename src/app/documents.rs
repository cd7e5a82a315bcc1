//! [`Documents`]: the newest document of an app, and how much of it is in effect (pure).

use std::sync::Arc;

use crate::document::change::{Work, carried, fingerprint, least_work};
use crate::document::config::{AppConfig, Strategy};

/// The newest document of an app, and how much of it is in effect.
#[derive(Clone, Debug)]
pub struct Documents {
    newest: Arc<AppConfig>,
    /// See [`Remembered::standing`](super::remembered::Remembered::standing).
    standing: Arc<AppConfig>,
    /// See [`Remembered::settled`](super::remembered::Remembered::settled).
    settled: Option<String>,
}

impl Documents {
    #[must_use]
    pub fn new(newest: Arc<AppConfig>) -> Self {
        Self {
            standing: Arc::clone(&newest),
            newest,
            settled: None,
        }
    }

    /// Takes over what the previous server noted. A document that was edited while no server ran, in scale and route
    /// only, stands as it is now.
    pub fn recover(&mut self, standing: Option<AppConfig>, settled: Option<String>) {
        self.settled = settled;
        let Some(known) = standing else { return };
        let is_new = !self.is_settled() && least_work(&known, &self.newest) <= Work::Scale;
        if !is_new {
            self.standing = Arc::new(known);
        }
    }

    #[must_use]
    pub fn newest(&self) -> &Arc<AppConfig> {
        &self.newest
    }

    /// The document whose scale and route are in effect.
    #[must_use]
    pub fn standing(&self) -> &Arc<AppConfig> {
        &self.standing
    }

    #[must_use]
    pub fn settled(&self) -> Option<&String> {
        self.settled.as_ref()
    }

    /// Whether a deploy of the newest document ends everything that runs before it does anything else.
    #[must_use]
    pub fn recreates(&self) -> bool {
        self.newest.strategy.is_all(Strategy::Recreate)
    }

    /// Takes a newer document, which will be deployed whole.
    pub fn replace(&mut self, newest: Arc<AppConfig>) {
        self.newest = newest;
    }

    /// Takes a newer document and returns what has changed. A change of scale or route stands at once; what a failed
    /// deploy or a rollback left out stays out.
    pub fn change(&mut self, newest: Arc<AppConfig>) -> Work {
        let was_settled = self.is_settled();
        let change = least_work(&self.newest, &newest);
        let before = std::mem::replace(&mut self.newest, newest);
        if change <= Work::Scale {
            let standing = carried(&self.standing, &before, &self.newest);
            self.stand(standing);
            if was_settled {
                self.settle(&Arc::clone(&self.newest));
            }
        }
        change
    }

    /// `work` without a restart or deploy that has been tried, or passed over.
    #[must_use]
    pub fn bounded(&self, work: Work) -> Work {
        match self.is_settled() {
            true => work.min(Work::Scale),
            false => work,
        }
    }

    /// Whether the newest document needs no attempt any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.as_ref() == Some(&fingerprint(&self.newest))
    }

    /// Notes that `config` was deployed, well or not, or passed over by a rollback. Returns whether that is new.
    pub fn settle(&mut self, config: &AppConfig) -> bool {
        let settled = Some(fingerprint(config));
        let is_new = self.settled != settled;
        self.settled = settled;
        is_new
    }

    /// Takes the document whose scale and route are in effect from now on. Returns whether it is another one.
    pub fn stand(&mut self, config: AppConfig) -> bool {
        let is_new = *self.standing != config;
        if is_new {
            self.standing = Arc::new(config);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::document::config::Rules;

    fn config(change: Value) -> Arc<AppConfig> {
        let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        document
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        Arc::new(AppConfig::from_document(document, &Rules::default()).unwrap())
    }

    #[test]
    fn a_change_of_scale_stands_at_once_and_one_of_the_environment_waits_for_its_deploy() {
        let mut documents = Documents::new(config(json!({})));
        let scaled = json!({"scale": {"web": 2}});
        assert_eq!(documents.change(config(scaled.clone())), Work::Scale);
        assert_eq!(documents.standing(), &config(scaled.clone()));
        let both = json!({"scale": {"web": 2}, "env": {"A": "1"}});
        assert_eq!(documents.change(config(both)), Work::Restart);
        assert_eq!(documents.standing(), &config(scaled));
    }

    #[test]
    fn what_a_failed_deploy_left_out_stays_out_when_the_scale_changes() {
        let old = config(json!({}));
        let mut documents = Documents::new(Arc::clone(&old));
        documents.change(config(json!({"env": {"A": "1"}})));
        let work = |documents: &Documents| documents.bounded(least_work(&old, documents.newest()));
        assert_eq!(work(&documents), Work::Restart);
        let failed = Arc::clone(documents.newest());
        assert!(documents.settle(&failed) && !documents.settle(&failed));
        documents.change(config(json!({"env": {"A": "1"}, "scale": {"web": 2}})));
        assert!(documents.is_settled());
        assert_eq!(work(&documents), Work::Scale);
        assert!(documents.standing().env.is_empty());
    }

    #[test]
    fn an_edit_of_the_scale_while_no_server_ran_stands_unless_it_was_settled() {
        let (old, new) = (config(json!({})), config(json!({"scale": {"web": 2}})));
        let mut documents = Documents::new(Arc::clone(&new));
        documents.recover(Some((*old).clone()), None);
        assert_eq!(documents.standing(), &new);
        documents.recover(Some((*old).clone()), Some(fingerprint(&new)));
        assert_eq!(documents.standing(), &old);
    }
}
