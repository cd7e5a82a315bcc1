//! [`Drowsiness`]: says when an app that nobody asks for anything may sleep (pure).
//!
//! The front end only counts requests; when the last one came is found out by looking again and again. So an app sleeps
//! at its time at the earliest, and at most one look later.

use std::time::{Duration, Instant};

/// What is seen of an app at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The requests that have ended so far, but for those that the document's policies refused.
    pub requests: u64,
    /// A request or a tunnel is in flight, or held.
    pub is_asked: bool,
    /// A deploy is at work, somebody is attached to a run, or it is paused.
    pub is_at_work: bool,
}

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sleep,
    LookAgain(Duration),
}

/// How long an app has been quiet.
#[derive(Clone, Copy, Debug)]
pub struct Drowsiness {
    quiet_since: Instant,
    requests: u64,
}

impl Drowsiness {
    /// It is awake now.
    #[must_use]
    pub fn new(now: Instant, requests: u64) -> Self {
        Self {
            quiet_since: now,
            requests,
        }
    }

    /// Looks at an app that sleeps `after` so long a time without requests.
    pub fn look(&mut self, after: Duration, now: Instant, signs: Signs) -> Verdict {
        if signs.is_asked || signs.is_at_work || signs.requests != self.requests {
            *self = Self::new(now, signs.requests);
        }
        let left = after.saturating_sub(now.saturating_duration_since(self.quiet_since));
        match left.is_zero() {
            true => Verdict::Sleep,
            false => Verdict::LookAgain(left.min(pace(after))),
        }
    }
}

/// The time between two looks.
fn pace(after: Duration) -> Duration {
    (after / 10).clamp(Duration::from_millis(500), Duration::from_mins(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_in_flight_and_work_keep_it_awake() {
        let (start, after) = (Instant::now(), Duration::from_secs(60));
        for signs in [
            Signs {
                requests: 1,
                ..Signs::default()
            },
            Signs {
                is_asked: true,
                ..Signs::default()
            },
            Signs {
                is_at_work: true,
                ..Signs::default()
            },
        ] {
            let mut drowsiness = Drowsiness::new(start, 0);
            let verdict = drowsiness.look(after, start + after, signs);
            assert_eq!(
                verdict,
                Verdict::LookAgain(Duration::from_secs(6)),
                "{signs:?}"
            );
        }
        let verdict = Drowsiness::new(start, 7).look(
            after,
            start + after,
            Signs {
                requests: 7,
                ..Signs::default()
            },
        );
        assert_eq!(verdict, Verdict::Sleep);
    }

    proptest! {
        /// Requests come at any times. It never sleeps before its time since the last, and not much later.
        #[test]
        fn it_sleeps_at_its_time_after_the_last_request(
            after in 10u64..100_000,
            mut gaps in prop::collection::vec(0u64..200_000, 0..20),
        ) {
            let after = Duration::from_secs(after);
            let start = Instant::now();
            let mut last = start;
            let mut pending: Vec<Instant> = Vec::new();
            for gap in gaps.drain(..) {
                last += Duration::from_secs(gap);
                pending.push(last);
            }
            let mut drowsiness = Drowsiness::new(start, 0);
            let mut now = start;
            loop {
                let requests = pending.iter().filter(|at| **at <= now).count() as u64;
                match drowsiness.look(after, now, Signs { requests, ..Signs::default() }) {
                    Verdict::LookAgain(wait) => {
                        prop_assert!(!wait.is_zero());
                        now += wait;
                    }
                    Verdict::Sleep => break,
                }
            }
            let before = pending.iter().filter(|at| **at <= now).max().copied();
            let quiet = now - before.unwrap_or(start);
            prop_assert!(quiet >= after, "slept after {quiet:?}");
            prop_assert!(quiet <= after + pace(after), "slept after {quiet:?}");
        }
    }
}
