//! [`Pace`]: whether a client sends a body fast enough.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes a second that a client must send of a body on average (Apache's default).
const LEAST: u64 = 500;

/// Adds up the time that a client was waited for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time before bytes count.
    grace: Duration,
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    /// Begins with a time of `grace` in which bytes do not count.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            waited: Duration::ZERO,
            since: None,
        }
    }

    /// Whether the client is waited for now.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// Waits for the client from `now` on, or for somebody else.
    pub fn wait(&mut self, waits: bool, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.since = waits.then_some(now);
    }

    /// Returns the time that the client still has to send more than the `sent` bytes, or `None` if it is too slow.
    #[must_use]
    pub fn left(&self, sent: u64) -> Option<Duration> {
        // The bytes buy the time that they take at the least speed, on top of the grace.
        let may = self.grace + Duration::from_millis(sent.saturating_mul(1000) / LEAST);
        may.checked_sub(self.waited).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn from_the_tenth_second_so_many_bytes_a_second_are_asked_for() {
        let start = Instant::now();
        let mut pace = Pace::new(10 * S);
        assert_eq!(pace.left(0), Some(10 * S));
        pace.wait(true, start);
        pace.wait(true, start + 9 * S);
        assert_eq!(pace.left(0), Some(S));
        assert_eq!(pace.left(5000), Some(11 * S));
        pace.wait(true, start + 10 * S);
        assert_eq!(pace.left(0), None);
        assert_eq!(pace.left(499).map(|left| left < S), Some(true));
        pace.wait(true, start + 110 * S);
        assert_eq!(pace.left(50_000), None);
        assert_eq!(pace.left(50_500), Some(S));
        assert!(pace.left(u64::MAX).is_some(), "no overflow");
    }

    #[tokio::test]
    async fn who_does_not_take_what_was_sent_is_not_counted_against_the_sender() {
        let start = Instant::now();
        let mut pace = Pace::new(10 * S);
        pace.wait(true, start);
        pace.wait(false, start + S);
        pace.wait(true, start + 100 * S);
        pace.wait(true, start + 101 * S);
        assert_eq!(pace.left(0), Some(8 * S));
    }
}
