//! [`Health`]: how long to wait after something failed, and when a receiver counts as well again (pure).

use std::time::{Duration, Instant};

use crate::supervision::backoff::Backoff;

/// A receiver is well again when lines went out and nothing failed for so long. Of what is sent by syslog nothing says
/// at once that it was in vain.
const STEADY: Duration = Duration::from_secs(10);

/// What a receiver has done with the last batches. It is for more than one of them: by syslog each new connection seems
/// to be a good one.
#[derive(Debug, Default)]
pub(super) struct Health {
    backoff: Backoff,
    /// When it is well again, unless something fails.
    well_at: Option<Instant>,
}

impl Health {
    /// Something failed; answers how long to wait. A receiver may ask for more time, not for less.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        asked: Option<Duration>,
        random: f64,
    ) -> Duration {
        self.well_at = None;
        let delay = self.backoff.crashed(now, random);
        delay.max(asked.unwrap_or_default())
    }

    /// Lines went out; `is_confirmed`: the receiver has said that it has them.
    pub(super) fn sent(&mut self, now: Instant, is_confirmed: bool) {
        if is_confirmed {
            self.backoff.reset();
        }
        self.well_at.get_or_insert(now + STEADY);
    }

    /// When to ask whether it [is well](Self::is_well).
    pub(super) fn well_at(&self) -> Option<Instant> {
        self.well_at
    }

    /// Whether it has become well by now; true once.
    pub(super) fn is_well(&mut self, now: Instant) -> bool {
        let is_well = self.well_at.take_if(|at| *at <= now).is_some();
        if is_well {
            self.backoff.reset();
        }
        is_well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_JITTER: f64 = 0.5;

    #[test]
    fn who_takes_a_batch_now_and_then_is_not_well_and_is_tried_ever_more_rarely() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..6 {
            delays.push(health.failed(now, None, NO_JITTER).as_secs());
            now += Duration::from_secs(1);
            health.sent(now, false);
            now += STEADY / 2;
            assert!(!health.is_well(now));
        }
        assert_eq!(delays, [0, 1, 2, 4, 8, 16]);
        let well_at = health.well_at().unwrap();
        assert!(health.is_well(well_at) && !health.is_well(well_at));
        assert_eq!(health.failed(now, None, NO_JITTER), Duration::ZERO);
    }

    #[test]
    fn who_says_that_it_has_a_batch_is_tried_soon_the_next_time() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..5 {
            health.failed(now, None, NO_JITTER);
        }
        health.sent(now, true);
        assert_eq!(health.failed(now, None, NO_JITTER), Duration::ZERO);
        assert!(!health.is_well(now + STEADY));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_not_for_less() {
        let (mut health, now) = (Health::default(), Instant::now());
        let mut failed = |asked: u64| {
            let asked = Some(Duration::from_secs(asked));
            health.failed(now, asked, NO_JITTER).as_secs()
        };
        assert_eq!([0, 0, 0, 0].map(&mut failed), [0, 1, 2, 4]);
        assert_eq!([300, 0].map(failed), [300, 16]);
    }
}
