//! How much a client may do that asks for nothing (pure).

use std::time::Duration;

/// Bytes of frames for each byte of payload at most, and those that are free: nginx's rule. It counts what SETTINGS,
/// PING, WINDOW_UPDATE, PRIORITY and empty or tiny frames cost, whatever they are.
const OVERHEAD: u64 = 8;
const FREE: u64 = 1024 * 1024;

/// Requests that a client may give up at once, and how many more each second. Who leaves a page gives up all that it
/// had asked for; who does it again and again is after what requests cost (CVE-2023-44487).
const AT_ONCE: f64 = 200.0;
const EACH_SECOND: f64 = 10.0;

/// Whether a connection carries next to nothing in `frames` bytes of frames, both ways.
pub(super) fn is_empty_talk(frames: u64, payload: u64) -> bool {
    frames / OVERHEAD > payload.saturating_add(FREE)
}

/// Counts the requests that a client gave up.
#[derive(Debug)]
pub(super) struct Resets {
    left: f64,
    /// When it was counted last, since the connection began.
    at: Duration,
}

impl Resets {
    pub(super) fn new() -> Self {
        Self {
            left: AT_ONCE,
            at: Duration::ZERO,
        }
    }

    /// Counts one at `now`, since the connection began. Returns whether that is too many.
    pub(super) fn count(&mut self, now: Duration) -> bool {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + since * EACH_SECOND).min(AT_ONCE) - 1.0;
        self.left < 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_carry_nothing_are_counted_and_those_that_carry_are_not() {
        // A PING each second for a day, and its answers.
        assert!(!is_empty_talk(86_400 * 2 * 17, 0));
        assert!(is_empty_talk(9 * FREE, 0));
        // Downloads: a WINDOW_UPDATE for each frame of 16 KiB.
        assert!(!is_empty_talk(1 << 40, 1 << 40));
        // Bodies of one byte a frame.
        assert!(is_empty_talk(10 * (100 << 20), 100 << 20));
        assert!(!is_empty_talk(u64::MAX, u64::MAX));
    }

    #[test]
    fn leaving_a_page_is_no_flood_and_leaving_without_end_is() {
        let mut resets = Resets::new();
        assert!((0..200).all(|_| !resets.count(Duration::ZERO)));
        assert!(resets.count(Duration::ZERO));
        let mut resets = Resets::new();
        let slow = |n: u64| Duration::from_millis(100 * n);
        assert!((0..10_000).all(|n| !resets.count(slow(n))), "ten a second");
        let mut resets = Resets::new();
        let quick = |n: u64| Duration::from_millis(20 * n);
        assert!((0..1000).any(|n| resets.count(quick(n))), "fifty a second");
    }
}
