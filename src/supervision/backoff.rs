//! Back-off: the delay before a crashed OS process is started again (pure).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After a spawn error: the machine is in trouble, and trying harder does not help it.
pub const AFTER_SPAWN_ERROR: Duration = Duration::from_secs(5);

/// A process that was ready for so long has proved itself: its next crash counts as the first.
pub const PROVED: Duration = Duration::from_secs(60);

const LONGEST: Duration = Duration::from_secs(60);
/// The part of a delay by which it may be longer or shorter, so that processes that crashed together do not all come
/// back together.
const JITTER: f64 = 0.2;
const LOOP_CRASHES: usize = 5;
const LOOP_WINDOW: Duration = Duration::from_secs(5 * 60);

/// The crashes of one process so far. It never gives up.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    /// Crashes since the last reset.
    crashes: u32,
    /// The latest of them, [`LOOP_CRASHES`] at most.
    recent: VecDeque<Instant>,
    crashlooping: bool,
}

impl Backoff {
    /// Notes a crash and says how long to wait: nothing after the first, then 1, 2, 4 … 60 s, each ±20 %.
    /// `random` is uniform in `0.0..1.0`.
    pub fn crashed(&mut self, now: Instant, random: f64) -> Duration {
        self.recent.push_back(now);
        if self.recent.len() > LOOP_CRASHES {
            self.recent.pop_front();
        }
        // It stays set until the process has proved itself: with delays of a minute, five crashes take longer than
        // the window, and the state would flicker.
        self.crashlooping |= self.recent.len() == LOOP_CRASHES
            && self
                .recent
                .front()
                .is_some_and(|first| now.duration_since(*first) <= LOOP_WINDOW);
        let doublings = self.crashes.checked_sub(1);
        self.crashes = self.crashes.saturating_add(1);
        let Some(doublings) = doublings else {
            return Duration::ZERO;
        };
        let base = Duration::from_secs(1 << doublings.min(6)).min(LONGEST);
        base.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
    }

    /// Whether it crashed five times within five minutes and has not proved itself since.
    #[must_use]
    pub fn is_crashlooping(&self) -> bool {
        self.crashlooping
    }

    /// Forgets all crashes: it was ready for [`PROVED`].
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_JITTER: f64 = 0.5;

    #[test]
    fn the_first_restart_is_at_once_then_delays_double_up_to_a_minute() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let delays: Vec<u64> = (0..10)
            .map(|_| backoff.crashed(now, NO_JITTER).as_secs())
            .collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn after_a_reset_the_next_crash_is_the_first() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..7 {
            backoff.crashed(now, NO_JITTER);
        }
        assert!(backoff.is_crashlooping());
        backoff.reset();
        assert!(!backoff.is_crashlooping());
        assert_eq!(backoff.crashed(now, NO_JITTER), Duration::ZERO);
    }

    #[test]
    fn five_crashes_in_five_minutes_are_a_loop_and_four_are_not() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        for minute in 0..4 {
            backoff.crashed(start + Duration::from_secs(60 * minute), NO_JITTER);
            assert!(!backoff.is_crashlooping());
        }
        backoff.crashed(start + Duration::from_secs(300), NO_JITTER);
        assert!(backoff.is_crashlooping());
    }

    #[test]
    fn rare_crashes_are_no_loop() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        for crash in 0..50 {
            backoff.crashed(start + Duration::from_secs(76 * crash), NO_JITTER);
        }
        assert!(!backoff.is_crashlooping());
    }

    proptest! {
        #[test]
        fn no_delay_leaves_its_bounds(crashes in 1_usize..200, random in 0.0..1.0_f64) {
            let (mut backoff, now) = (Backoff::default(), Instant::now());
            let mut last = Duration::ZERO;
            for _ in 0..crashes {
                last = backoff.crashed(now, random);
            }
            prop_assert!(last <= Duration::from_secs(72));
            prop_assert!(crashes == 1 || last >= Duration::from_millis(800));
        }
    }
}
