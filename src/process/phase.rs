//! [`Phase`]: how far a process is.

use serde::Serialize;

/// Where one process is in its life, as the API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Spawned, not ready yet.
    Starting,
    /// Serving (or alive, when it is not routed).
    Ready,
    /// Ended; waits for its back-off.
    Backoff,
    /// Ended, and is not started again: its `restart` says so.
    Finished,
    Stopping,
    Stopped,
}

impl Phase {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Backoff => "backoff",
            Self::Finished => "finished",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}
