//! [`DrainStatus`]: what is shown of a drain.

use serde::Serialize;

/// How a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainState {
    /// Nothing has been sent since the server's start.
    #[default]
    Idle,
    /// The last batch was taken.
    Sending,
    /// The receiver does not take what is sent; it is tried again.
    Failing,
}

/// One drain of an application.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrainStatus {
    /// Without what may be secret in it.
    pub url: String,
    /// Tells drains apart whose URLs are shown alike.
    pub key: String,
    /// Whether the server's settings name it, not the document.
    pub of_server: bool,
    pub state: DrainState,
    /// Lines that were sent, and that were dropped, since the server's start.
    pub sent: u64,
    pub dropped: u64,
    /// Lines of the log that were not sent yet.
    pub waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_dropped: Option<jiff::Timestamp>,
    /// Since when it fails, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl DrainStatus {
    /// What a person should look at, if there is anything.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self { url, waiting, .. } = self;
        if let (Some(since), Some(error)) = (self.failing_since, &self.error) {
            return Some(format!(
                "drain {url}: it has taken nothing since {since:.0} ({error}); {waiting} lines wait in the log"
            ));
        }
        let last = self.last_dropped?;
        let dropped = self.dropped;
        Some(format!(
            "drain {url}: {dropped} lines were dropped, the last ones at {last:.0}"
        ))
    }
}
