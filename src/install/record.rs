//! The record of a deployment: `deployments/N.json`, and what the API shows of it.

use serde::{Deserialize, Serialize};

/// A step of a deploy, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Debian packages.
    Packages,
    /// Update the mirror.
    Fetch,
    /// Make the release's directory.
    Checkout,
    /// The document's install commands.
    Install,
    /// The Procfile's `release:` command.
    Release,
    /// Start the new processes and wait until they are ready.
    Start,
    /// Stop the old ones.
    Stop,
}

impl Step {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Fetch => "fetch",
            Self::Checkout => "checkout",
            Self::Install => "install",
            Self::Release => "release",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// Where a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Waits for the one before it.
    Waiting,
    /// At work.
    Running,
    /// Done.
    Succeeded,
    /// Over, see `failure`.
    Failed,
    /// A newer one took its place before it began.
    Superseded,
    /// By request.
    Cancelled,
    /// The daemon ended during it.
    Interrupted,
}

impl DeploymentState {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// One step of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// When it began.
    pub started: jiff::Timestamp,
    /// How long it took, once over; seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Why a deployment failed, so that a person can act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {reason}", step = step.name())]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// One sentence.
    pub reason: String,
    /// Exit code of the command that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines of output.
    pub log_tail: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// Grows by one per deployment of an app.
    pub id: u64,
    /// Where it is.
    pub state: DeploymentState,
    /// The release it makes (or made).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// Full commit id, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When it was accepted.
    pub started: jiff::Timestamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<jiff::Timestamp>,
    /// The steps so far.
    pub steps: Vec<StepRecord>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}
