//! [`DrainStatus`]: what is shown of a drain.

use jiff::{SignedDuration, Timestamp};
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
    pub last_sent: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_dropped: Option<Timestamp>,
    /// Since when it fails, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// For so long a person should hear of lines that were dropped.
const NEWS: SignedDuration = SignedDuration::from_hours(24);

impl DrainStatus {
    /// What a person should look at, if there is anything.
    #[must_use]
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let Self {
            url,
            waiting,
            dropped,
            ..
        } = self;
        if let (Some(since), Some(error)) = (self.failing_since, &self.error) {
            let lost = match dropped {
                0 => String::new(),
                _ => format!(", {dropped} were dropped"),
            };
            return Some(format!(
                "drain {url}: it has taken nothing since {since:.0} ({error}); {waiting} lines wait in the log{lost}"
            ));
        }
        let last = self.last_dropped?;
        if now.duration_since(last) > NEWS {
            return None;
        }
        Some(format!(
            "drain {url}: {dropped} lines were dropped, the last ones at {last:.0}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_dropped_are_news_for_a_day() {
        let mut status = DrainStatus {
            url: "https://h".to_owned(),
            key: String::new(),
            of_server: false,
            state: DrainState::Sending,
            sent: 5,
            dropped: 7,
            waiting: 0,
            last_sent: None,
            last_dropped: Some(Timestamp::UNIX_EPOCH),
            failing_since: None,
            error: None,
        };
        let later = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let told = status.warning(later(23)).unwrap();
        assert!(told.contains("7 lines were dropped"), "{told}");
        assert_eq!(status.warning(later(25)), None);
        (status.failing_since, status.error) = (Some(later(25)), Some("no".to_owned()));
        let told = status.warning(later(25)).unwrap();
        assert!(
            told.contains("(no)") && told.contains("7 were dropped"),
            "{told}"
        );
    }
}
