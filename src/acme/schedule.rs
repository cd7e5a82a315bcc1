//! When a name's certificate is asked for: first, again after a failure, and before it ends (pure). The rules are those
//! of CertMagic, whose users have met every limit that a CA has.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Pauses after failures; the last is for all that follow.
const PAUSES: [Duration; 9] = [
    Duration::from_secs(60),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(3 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
];

/// How long a name is tried before only a person asks again: it leads elsewhere now.
pub const GIVES_UP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Orders in a period, over all names: a CA takes a thousand names that come at once for an attack.
const ORDERS: usize = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// The time between which a CA wants a certificate to be renewed (ACME Renewal Information, RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// When a certificate is renewed: at a point of the CA's window, which `chance` (0 to 1) chooses so that not everybody
/// comes at once, or after two thirds of its lifetime where the CA names none. A CA that names a window too late does
/// not decide alone: a twentieth of the lifetime is left in any case.
#[must_use]
pub fn renewal(
    not_before: Timestamp,
    not_after: Timestamp,
    window: Option<Window>,
    chance: f64,
) -> Timestamp {
    let lifetime = not_after
        .duration_since(not_before)
        .max(SignedDuration::ZERO);
    let usual = not_before
        .saturating_add(lifetime / 3 * 2)
        .unwrap_or(not_before);
    let wanted = window.map_or(usual, |window| {
        let length = window
            .end
            .duration_since(window.start)
            .max(SignedDuration::ZERO);
        let into = length.mul_f64(chance.clamp(0.0, 1.0));
        window.start.saturating_add(into).unwrap_or(window.start)
    });
    wanted.min(last_call(not_before, not_after))
}

/// When a twentieth of the lifetime is left: whoever renews a certificate has done so by then.
#[must_use]
pub fn last_call(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let lifetime = not_after
        .duration_since(not_before)
        .max(SignedDuration::ZERO);
    not_before
        .saturating_add(lifetime / 20 * 19)
        .unwrap_or(not_before)
}

/// The pause after so many failures in a row (1 for the first).
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES[at.min(PAUSES.len() - 1)]
}

/// What is known of the attempts for one name. It is kept over restarts, so that a server that crashes does not use up
/// the CA's limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempts {
    /// In a row.
    pub failures: u32,
    pub first_failure: Option<Timestamp>,
    pub last_failure: Option<Timestamp>,
    /// Why, in a sentence for users.
    pub error: Option<String>,
}

impl Attempts {
    pub fn failed(&mut self, now: Timestamp, error: String) {
        self.failures = self.failures.saturating_add(1);
        self.first_failure.get_or_insert(now);
        self.last_failure = Some(now);
        self.error = Some(error);
    }

    /// When the next attempt may begin; `None` when the name has failed for [`GIVES_UP`].
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let (Some(first), Some(last)) = (self.first_failure, self.last_failure) else {
            return Some(now);
        };
        let tried = last.duration_since(first);
        if tried.unsigned_abs() >= GIVES_UP {
            return None;
        }
        Some(
            last.saturating_add(pause(self.failures))
                .unwrap_or(Timestamp::MAX),
        )
    }
}

/// Counts orders over all names: at most [`ORDERS`] begin in any [`PERIOD`].
#[derive(Clone, Debug, Default)]
pub struct OrderRate {
    begun: VecDeque<Timestamp>,
}

impl OrderRate {
    /// Counts an order that begins now. `Err` says from when there may be one more; then nothing is counted.
    ///
    /// # Errors
    /// Too many orders have begun.
    pub fn begin(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let period = SignedDuration::try_from(PERIOD).unwrap_or(SignedDuration::MAX);
        self.begun
            .retain(|begun| now.duration_since(*begun) < period);
        if let Some(oldest) = self.begun.front()
            && self.begun.len() >= ORDERS
        {
            return Err(oldest.saturating_add(period).unwrap_or(Timestamp::MAX));
        }
        self.begun.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn two_thirds_of_the_lifetime_where_the_ca_names_no_window() {
        const DAY: i64 = 86_400;
        for days in [6, 45, 90] {
            let renewal = renewal(at(0), at(days * DAY), None, 0.5);
            assert_eq!(renewal, at(days * DAY / 3 * 2));
        }
        assert_eq!(
            renewal(at(100), at(100), None, 0.5),
            at(100),
            "no lifetime at all"
        );
    }

    #[test]
    fn a_window_is_kept_to_but_never_up_to_the_end() {
        let window = |start, end| {
            Some(Window {
                start: at(start),
                end: at(end),
            })
        };
        assert_eq!(
            renewal(at(0), at(1000), window(100, 200), 0.0),
            at(100),
            "the CA revokes"
        );
        assert_eq!(renewal(at(0), at(1000), window(700, 800), 0.5), at(750));
        assert_eq!(renewal(at(0), at(1000), window(5000, 6000), 0.5), at(950));
    }

    #[test]
    fn pauses_grow_up_to_six_hours_and_end_after_thirty_days() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.next(at(0)), Some(at(0)));
        let (mut now, mut pauses) = (at(0), Vec::new());
        while let Some(next) = attempts.next(now) {
            pauses.push(next.duration_since(now).as_secs());
            now = next;
            attempts.failed(now, "no address".to_owned());
        }
        assert_eq!(pauses[..5], [0, 60, 120, 300, 600]);
        assert_eq!(pauses.last(), Some(&21_600));
        assert!(pauses.is_sorted());
        let tried = now.duration_since(at(0)).as_hours();
        assert!((30 * 24..30 * 24 + 6).contains(&tried), "{tried} hours");
    }

    proptest! {
        #[test]
        fn a_renewal_is_within_the_lifetime_or_the_window(
            lifetime in 1i64..100_000_000,
            start in -1_000_000i64..200_000_000,
            length in 0i64..10_000_000,
            chance in 0.0..=1.0f64,
        ) {
            let window = Window { start: at(start), end: at(start + length) };
            let renewal = renewal(at(0), at(lifetime), Some(window), chance);
            prop_assert!(renewal <= at(lifetime));
            prop_assert!(renewal >= window.start || renewal >= at(lifetime / 20 * 19));
            prop_assert!(renewal <= window.end);
        }

        #[test]
        fn no_period_has_more_than_ten_orders(gaps in prop::collection::vec(0i64..5_000, 1..200)) {
            let (mut rate, mut now, mut begun) = (OrderRate::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                let moment = Timestamp::from_millisecond(now).unwrap();
                match rate.begin(moment) {
                    Ok(()) => begun.push(now),
                    Err(next) => prop_assert!(next > moment),
                }
            }
            for (at, first) in begun.iter().enumerate() {
                let within = begun[at..].iter().filter(|begun| *begun - first < 10_000).count();
                prop_assert!(within <= 10);
            }
        }
    }
}
