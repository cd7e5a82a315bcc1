//! [`Checks`]: when a routed process is checked, and what its checks mean (pure).
//!
//! Before a process is ready, the pauses between checks grow from milliseconds to the interval. Afterwards there is a
//! check in each interval. Three failures in a row, of checks or of the proxy's connections, make the process
//! unhealthy; one success makes it healthy again. Another program on its port gets no request at all, from the first
//! failure on.

use std::fmt;
use std::time::Duration;

use crate::document::config::HealthCheck;

/// The first pause between two checks; it doubles up to the configured interval, so that what boots in milliseconds
/// does not wait a second for its first request.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// How many failures in a row make a process unhealthy.
pub(crate) const FAILURES: u32 = 3;

/// Why a check did not go well. The text is what the process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    NotListening,
    /// Another program accepts its connections; the text says which.
    Foreign(String),
    /// No answer in time, or none at all.
    Silent,
    /// An answer that is not HTTP.
    NotHttp,
    /// An answer with another status than `health_check.status`.
    Status(u16),
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening => f.write_str("nobody accepts connections in its place"),
            Self::Foreign(who) => write!(f, "{who} answers on its port"),
            Self::Silent => f.write_str("the health check was not answered in time"),
            Self::NotHttp => f.write_str("the health check was answered with no HTTP"),
            Self::Status(status) => write!(f, "the health check was answered with {status}"),
        }
    }
}

/// What is wrong with a process that was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words, e.g. `it did not answer GET /up in time`.
    pub why: String,
    /// Another program answers in its place: then it gets no request even where it is the only process.
    pub is_foreign: bool,
}

/// The checks of one OS process.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    interval: Duration,
    pause: Duration,
    failures: u32,
    is_ready: bool,
    trouble: Option<Trouble>,
}

impl Checks {
    pub(crate) fn new(health: &HealthCheck) -> Self {
        Self {
            interval: health.interval,
            pause: FIRST_PAUSE,
            failures: 0,
            is_ready: false,
            trouble: None,
        }
    }

    /// Whether a check has gone well.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What is wrong, if anything is.
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// How long to wait before the next check.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.pause.min(self.interval);
        if !self.is_ready {
            self.pause = self.pause.saturating_mul(2).min(self.interval);
        }
        pause
    }

    pub(crate) fn passed(&mut self) {
        self.is_ready = true;
        self.pause = self.interval;
        self.failures = 0;
        self.trouble = None;
    }

    /// A check failed.
    pub(crate) fn failed(&mut self, why: &Unready) {
        if let Unready::Foreign(_) = why {
            self.trouble = Some(Trouble {
                why: why.to_string(),
                is_foreign: true,
            });
        }
        if self.is_ready {
            self.count(why);
        }
    }

    /// The proxy could not connect.
    pub(crate) fn refused(&mut self) {
        if self.is_ready {
            self.count(&Unready::NotListening);
        }
    }

    fn count(&mut self, why: &Unready) {
        self.failures = self.failures.saturating_add(1);
        let is_foreign = self.trouble.as_ref().is_some_and(|t| t.is_foreign);
        if self.failures >= FAILURES && !is_foreign {
            self.trouble = Some(Trouble {
                why: why.to_string(),
                is_foreign: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checks() -> Checks {
        Checks::new(&HealthCheck::default())
    }

    fn foreign() -> Unready {
        Unready::Foreign("pid 7 (nc) of user nobody".to_owned())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Passed,
        Failed,
        Refused,
        Foreign,
    }

    fn take(checks: &mut Checks, step: &Step) {
        match step {
            Step::Passed => checks.passed(),
            Step::Failed => checks.failed(&Unready::Silent),
            Step::Refused => checks.refused(),
            Step::Foreign => checks.failed(&foreign()),
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Passed),
            Just(Step::Failed),
            Just(Step::Refused),
            Just(Step::Foreign)
        ];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn it_is_unhealthy_after_three_failures_in_a_row_and_healthy_after_one_success(steps in steps()) {
            let mut checks = checks();
            for (at, step) in steps.iter().enumerate() {
                take(&mut checks, step);
                let since: Vec<_> = steps[..=at].iter().rev().take_while(|s| !matches!(s, Step::Passed)).collect();
                let was_ready = since.len() <= at;
                let foreign = since.iter().any(|s| matches!(s, Step::Foreign));
                prop_assert_eq!(checks.is_ready(), was_ready);
                let expected = foreign || was_ready && since.len() >= 3;
                prop_assert_eq!(checks.trouble().is_some(), expected);
                prop_assert_eq!(checks.trouble().is_some_and(|t| t.is_foreign), foreign);
            }
        }

        #[test]
        fn no_pause_is_longer_than_the_interval_and_ready_ones_are_the_interval(steps in steps(), millis in 1u64..5000) {
            let interval = Duration::from_millis(millis);
            let mut checks = Checks::new(&HealthCheck { interval, ..HealthCheck::default() });
            for step in &steps {
                take(&mut checks, step);
                let pause = checks.pause();
                prop_assert!(pause <= interval && !pause.is_zero());
                prop_assert!(!checks.is_ready() || pause == interval);
            }
        }
    }

    #[test]
    fn before_it_is_ready_pauses_grow_up_to_the_interval() {
        let mut checks = checks();
        let pauses: Vec<_> = (0..11).map(|_| checks.pause().as_millis()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000]);
    }
}
