//! When the watchdog is fed, and what the log says meanwhile (pure).

use std::collections::BTreeSet;
use std::time::Duration;

/// The time between two beats, and between two looks. What hangs is seen in the log before systemd acts, and a machine
/// that is busy for seconds is no reason to.
pub(super) fn beat(period: Duration) -> Duration {
    period / 8
}

/// What the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// This one has not answered for so long.
    Hangs(String, Duration),
    Answers(String),
}

/// What was said of whom.
#[derive(Debug)]
pub(super) struct Policy {
    /// Who is silent for longer hangs.
    patience: Duration,
    hanging: BTreeSet<String>,
}

impl Policy {
    /// For a watchdog that waits for `period`.
    pub(super) fn new(period: Duration) -> Self {
        Self {
            patience: period / 2,
            hanging: BTreeSet::new(),
        }
    }

    /// Whether it is to be fed, by how long ago each gave a sign, and what is new to say.
    pub(super) fn look(&mut self, ages: &[(String, Duration)]) -> (bool, Vec<Remark>) {
        let hangs = |(_, age): &&(String, Duration)| *age > self.patience;
        let hanging = ages.iter().filter(hangs).map(|(name, _)| name.clone());
        let hanging: BTreeSet<String> = hanging.collect();
        let is_new = |(name, _): &&(String, Duration)| {
            hanging.contains(name) && !self.hanging.contains(name)
        };
        let new = ages.iter().filter(is_new);
        let mut remarks: Vec<_> = new
            .map(|(name, age)| Remark::Hangs(name.clone(), *age))
            .collect();
        let answers = self.hanging.difference(&hanging).cloned();
        remarks.extend(answers.map(Remark::Answers));
        self.hanging = hanging;
        (self.hanging.is_empty(), remarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    fn ages(seconds: [u64; 2]) -> Vec<(String, Duration)> {
        let names = ["control", "worker"].map(str::to_owned);
        names
            .into_iter()
            .zip(seconds.map(Duration::from_secs))
            .collect()
    }

    #[test]
    fn it_is_fed_only_while_all_answer_and_each_change_is_said_once() {
        let mut policy = Policy::new(PERIOD);
        assert_eq!(policy.look(&ages([1, 30])), (true, vec![]));
        let hangs = Remark::Hangs("worker".to_owned(), Duration::from_secs(31));
        assert_eq!(policy.look(&ages([1, 31])), (false, vec![hangs]));
        assert_eq!(policy.look(&ages([1, 38])), (false, vec![]));
        let answers = Remark::Answers("worker".to_owned());
        assert_eq!(policy.look(&ages([1, 0])), (true, vec![answers]));
        // One that has ended and is gone hangs no more.
        let _ = policy.look(&ages([99, 0]));
        assert!(policy.look(&ages([0, 0])[1..]).0);
    }

    #[test]
    fn the_log_says_it_before_systemd_acts() {
        // From its last feeding, which is at most a look after the last beat.
        let said = Policy::new(PERIOD).patience + 2 * beat(PERIOD);
        assert!(said < PERIOD);
    }
}
