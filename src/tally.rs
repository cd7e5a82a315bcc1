//! [`Tally`]: counts what happens often and says when to tell of it: at once, and then once a minute (pure).

use std::time::{Duration, Instant};

/// How often it is told.
pub const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Tally {
    told: Option<Instant>,
    untold: u64,
}

impl Tally {
    /// Counts one more; how many there are to tell of, if it is time.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        self.due(now)
    }

    /// How many there are to tell of, if there are any and it is time.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        let waits = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < PERIOD);
        if self.untold == 0 || waits {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_minute() {
        let (mut tally, begin) = (Tally::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(tally.due(at(0)), None);
        assert_eq!(tally.count(at(0)), Some(1));
        assert_eq!(tally.count(at(1)), None);
        assert_eq!(tally.count(at(59)), None);
        assert_eq!(tally.due(at(60)), Some(2));
        assert_eq!(tally.due(at(300)), None);
        assert_eq!(tally.count(at(300)), Some(1));
    }
}
