//! [`Reload`]: who replaces the server, and [`ReloadStatus`]: how far that is.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

/// How far the newest reload is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadStatus {
    /// Counts the reloads of this process; 0: there was none.
    pub reload: u64,
    pub state: Stage,
    /// What is in flight, while that is waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// Why the server goes on as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Where a reload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// There was none.
    #[default]
    None,
    /// The program that is installed shows whether it could serve.
    Trying,
    /// This server serves until what is in flight is over.
    Waiting,
    /// This one serves since.
    Done,
    /// The former server serves on.
    Failed,
}

/// What is answered: the number of the reload, or why there is none.
pub type Answer = oneshot::Sender<Result<u64, String>>;

/// Reaches whoever replaces the server.
#[derive(Clone, Debug)]
pub struct Reload {
    pub requests: mpsc::Sender<Answer>,
    pub status: watch::Receiver<ReloadStatus>,
}

impl Reload {
    /// Nobody does.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            requests: mpsc::channel(1).0,
            status: watch::channel(ReloadStatus::default()).1,
        }
    }

    /// Why the last one failed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let status = self.status.borrow();
        let reason = status.reason.clone();
        reason.filter(|_| status.state == Stage::Failed)
    }
}
