//! Deployments and releases, as far as pages show them.

use jiff::Timestamp;
use serde::Deserialize;

use super::lines;
use crate::amounts::took;
use crate::api::ui::words::{plain, short};

/// A record of `GET /applications/A/deployments`.
#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Deployment {
    pub(in crate::api::ui) id: u64,
    pub(in crate::api::ui) state: String,
    pub(in crate::api::ui) release: Option<u64>,
    commit: Option<String>,
    by: Option<String>,
    pub(in crate::api::ui) started: Timestamp,
    pub(in crate::api::ui) finished: Option<Timestamp>,
    pub(in crate::api::ui) steps: Vec<Step>,
    pub(in crate::api::ui) failure: Option<Failure>,
}

impl Deployment {
    pub(in crate::api::ui) fn commit(&self) -> &str {
        short(self.commit.as_ref())
    }

    pub(in crate::api::ui) fn by(&self) -> String {
        plain(self.by.as_deref().unwrap_or_default())
    }

    pub(in crate::api::ui) fn is_over(&self) -> bool {
        self.finished.is_some()
    }

    pub(in crate::api::ui) fn took(&self) -> String {
        let finished = self.finished.map(|end| end.duration_since(self.started));
        finished
            .map(|took_| took(took_.as_secs_f64()))
            .unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Step {
    pub(in crate::api::ui) step: String,
    pub(in crate::api::ui) seconds: Option<f64>,
}

impl Step {
    pub(in crate::api::ui) fn took(&self) -> String {
        self.seconds.map(took).unwrap_or_default()
    }
}

/// Why a deployment failed.
#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Failure {
    pub(in crate::api::ui) step: String,
    reason: String,
    #[serde(default)]
    log_tail: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    pub(in crate::api::ui) fn reason(&self) -> String {
        plain(&self.reason)
    }

    pub(in crate::api::ui) fn hint(&self) -> String {
        plain(self.hint.as_deref().unwrap_or_default())
    }

    pub(in crate::api::ui) fn tail(&self) -> String {
        lines(&self.log_tail)
    }
}

/// A line of `GET /applications/A/releases`.
#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Release {
    pub(in crate::api::ui) id: u64,
    commit: String,
    pub(in crate::api::ui) created: Timestamp,
    pub(in crate::api::ui) current: bool,
}

impl Release {
    pub(in crate::api::ui) fn commit(&self) -> &str {
        short(Some(&self.commit))
    }
}
