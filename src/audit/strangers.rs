//! [`Strangers`]: how many lines the audit log gets of callers that nobody knows (pure).
//!
//! Anybody can make the server refuse a call. Without a bound, one who wants to hide what a stolen token did would only
//! have to be refused until the log has been rotated away. So a thousand refusals have a line each, and after these one a
//! minute; the others are counted.

use std::time::{Duration, Instant};

const MOST: u32 = 1000;
const EVERY: Duration = Duration::from_secs(60);

/// A bucket of lines, which fills again by and by.
#[derive(Debug)]
pub struct Strangers {
    left: u32,
    filled: Option<Instant>,
    left_out: u64,
}

impl Default for Strangers {
    fn default() -> Self {
        Self {
            left: MOST,
            filled: None,
            left_out: 0,
        }
    }
}

impl Strangers {
    /// Whether a refusal gets a line, and how many before it got none.
    pub fn tell(&mut self, now: Instant) -> Option<u64> {
        let filled = *self.filled.get_or_insert(now);
        let passed = now.saturating_duration_since(filled).as_secs() / EVERY.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed > 0 {
            self.left = self.left.saturating_add(passed).min(MOST);
            self.filled = Some(filled + EVERY.saturating_mul(passed));
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_does_not_fill_the_log() {
        let (mut strangers, begin) = (Strangers::default(), Instant::now());
        let told = (0..5000)
            .filter(|_| strangers.tell(begin) == Some(0))
            .count();
        assert_eq!(told, 1000);
        assert_eq!(strangers.tell(begin + EVERY), Some(4000));
        assert_eq!(strangers.tell(begin + EVERY), None);
        let day = begin + Duration::from_hours(24);
        let told = (0..5000).filter(|_| strangers.tell(day).is_some()).count();
        assert_eq!(told, 1000, "it fills again");
    }
}
