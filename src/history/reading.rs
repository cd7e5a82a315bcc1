//! [`Reading`]: what is counted and used at one moment, and what came since the one before (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::process::usage::Run;

/// Upper bounds of the durations that are counted together, microseconds: those by which the front end counts.
pub const BOUNDS: [u64; 13] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// How many answers took how long, by [`BOUNDS`], and one more for what took longer.
pub type Durations = [u64; BOUNDS.len() + 1];

/// What is counted and used at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What belongs to no application: requests to none and to the API, and what the server itself uses.
    pub own: Counted,
    pub apps: BTreeMap<Arc<str>, Counted>,
}

/// What is counted of one application since the server's start, and what it uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Tells applications apart that have one name after the other; 0 where that is not known.
    pub created: u64,
    pub requests: u64,
    pub status_4xx: u64,
    pub status_5xx: u64,
    pub durations: Durations,
    pub restarts: u64,
    pub memory_bytes: u64,
    pub processes: Vec<Process>,
}

/// A process and all that it has started.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub run: Run,
    /// Unix time, seconds.
    pub started: i64,
    pub cpu_seconds: f64,
}

/// What came between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    pub requests: u64,
    pub status_4xx: u64,
    pub status_5xx: u64,
    pub durations: Durations,
    pub restarts: u64,
    pub cpu_seconds: f64,
    /// At the end.
    pub memory_bytes: u64,
    pub processes: u64,
}

impl Counted {
    /// What came since `before`, which was read at `then` (Unix time). Counters that have gone back began anew.
    #[must_use]
    pub fn since(&self, before: Option<&Self>, then: i64) -> Delta {
        let nothing = Self::default();
        let before = before.filter(|before| !self.is_another(before));
        let old = before.unwrap_or(&nothing);
        let began_anew = self.requests < old.requests;
        let counted = |now: u64, old: u64| match began_anew {
            true => now,
            false => now.saturating_sub(old),
        };
        let durations = self.durations.iter().zip(old.durations);
        let durations: Vec<u64> = durations.map(|(now, old)| counted(*now, old)).collect();
        Delta {
            requests: counted(self.requests, old.requests),
            status_4xx: counted(self.status_4xx, old.status_4xx),
            status_5xx: counted(self.status_5xx, old.status_5xx),
            durations: durations.try_into().unwrap_or_default(),
            restarts: self.restarts.saturating_sub(old.restarts),
            cpu_seconds: self.cpu_since(old, then),
            memory_bytes: self.memory_bytes,
            processes: self.processes.len() as u64,
        }
    }

    /// Whether it is of another application that had the name before, or has it since.
    #[must_use]
    pub fn is_another(&self, other: &Self) -> bool {
        self.created != 0 && other.created != 0 && self.created != other.created
    }

    /// What a process has used before it was seen counts only where it began after the last reading: one that an earlier
    /// server started has a past. What one used after it was seen last, and ended, is not known.
    fn cpu_since(&self, old: &Self, then: i64) -> f64 {
        let used = self.processes.iter().map(|process| {
            let seen = old.processes.iter().find(|seen| seen.run == process.run);
            match seen.filter(|seen| seen.cpu_seconds <= process.cpu_seconds) {
                Some(seen) => process.cpu_seconds - seen.cpu_seconds,
                None if process.started >= then => process.cpu_seconds,
                None => 0.0,
            }
        });
        used.sum()
    }
}

impl Delta {
    /// Adds what came of another in the same time.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.status_4xx += other.status_4xx;
        self.status_5xx += other.status_5xx;
        let durations = self.durations.iter_mut().zip(other.durations);
        durations.for_each(|(sum, number)| *sum += number);
        self.restarts += other.restarts;
        self.cpu_seconds += other.cpu_seconds;
        self.memory_bytes += other.memory_bytes;
        self.processes += other.processes;
    }
}

/// The duration that this part of the answers stayed below (`part` is 0.95 for p95), microseconds: within a bucket they
/// count as spread evenly. `None` where nothing was timed.
#[must_use]
pub fn quantile(durations: &Durations, part: f64) -> Option<u64> {
    // What a file says may be any number.
    let add = |sum: u64, number: &u64| sum.saturating_add(*number);
    let count = durations.iter().fold(0, add);
    if count == 0 {
        return None;
    }
    let rank = part * count as f64;
    let (mut below, mut lower) = (0, 0);
    for (number, bound) in durations.iter().zip(BOUNDS) {
        if *number > 0 && add(below, number) as f64 >= rank {
            let within = (rank - below as f64) / *number as f64;
            return Some(lower + ((bound - lower) as f64 * within).round() as u64);
        }
        below = add(below, number);
        lower = bound;
    }
    // Longer than the last bound: nobody knows how long.
    Some(lower)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn process(pid: u32, started: i64, cpu_seconds: f64) -> Process {
        Process {
            run: Run::Pid(pid),
            started,
            cpu_seconds,
        }
    }

    #[test]
    fn cpu_is_of_this_time_and_not_of_the_past_of_a_process_that_was_found() {
        let before = Counted {
            processes: vec![process(1, 0, 10.0), process(2, 0, 5.0), process(4, 0, 7.0)],
            ..Counted::default()
        };
        let now = Counted {
            // The second has gone, another has its pid; the third was there and is seen for the first time.
            processes: vec![
                process(1, 0, 11.5),
                process(2, 101, 0.5),
                process(3, 50, 1000.0),
            ],
            ..Counted::default()
        };
        let used = now.since(Some(&before), 100).cpu_seconds;
        assert!((used - 2.0).abs() < 1e-9, "{used}");
    }

    #[test]
    fn another_application_of_the_name_begins_at_nothing() {
        let counted = |created, requests| Counted {
            created,
            requests,
            ..Counted::default()
        };
        let since = |now: Counted, before| now.since(Some(&before), 0).requests;
        assert_eq!(since(counted(1, 7), counted(1, 5)), 2);
        assert_eq!(since(counted(2, 7), counted(1, 5)), 7);
        assert_eq!(
            since(counted(1, 3), counted(1, 5)),
            3,
            "a counter went back"
        );
        assert_eq!(since(counted(0, 7), counted(1, 5)), 2, "it is not known");
    }

    #[test]
    fn quantiles_lie_within_the_bucket_that_has_them() {
        let mut durations = Durations::default();
        assert_eq!(quantile(&durations, 0.5), None);
        durations[1] = 100;
        assert_eq!(quantile(&durations, 0.5), Some(3_000));
        durations[BOUNDS.len()] = 100;
        assert_eq!(quantile(&durations, 0.99), Some(30_000_000));
    }

    proptest! {
        #[test]
        fn quantiles_grow_and_are_bounded(durations in any::<[u32; BOUNDS.len() + 1]>()) {
            let durations = durations.map(u64::from);
            let all: Vec<_> = [0.01, 0.5, 0.95, 0.99, 1.0].iter().map(|p| quantile(&durations, *p)).collect();
            prop_assert!(all.is_sorted(), "{all:?}");
            prop_assert!(all.iter().flatten().all(|micros| *micros <= 30_000_000));
        }
    }
}
