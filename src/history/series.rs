//! [`Series`]: what came of one application, in steps of time: the last hour by the minute, the last day by five (pure).
//!
//! A step in which no server ran has no point. The clock may be set: what lies ahead of it is given up, and what lies
//! behind stays, as far as there is room.

use std::collections::VecDeque;
use std::time::Duration;

use super::reading::{Delta, Durations, quantile};

/// The steps of time, seconds each, and how many are kept.
pub const TIERS: [(u64, usize); 2] = [(60, 60), (300, 288)];

/// What came in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// The number of the step since 1970.
    pub step: u64,
    /// How much of the step was seen, milliseconds.
    pub millis: u64,
    pub requests: u64,
    pub status_4xx: u64,
    pub status_5xx: u64,
    /// Microseconds; 0: nothing was timed.
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    /// The most that was seen.
    pub memory_bytes: u64,
    pub cpu_millis: u64,
    /// At the end.
    pub processes: u64,
    pub restarts: u64,
}

/// A point as it is kept: half as large. What does not fit is the most that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    memory_bytes: u64,
    step: u32,
    millis: u32,
    requests: u32,
    status_4xx: u32,
    status_5xx: u32,
    p50: u32,
    p95: u32,
    p99: u32,
    cpu_millis: u32,
    processes: u16,
    restarts: u16,
}

/// Points of one length of step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    /// Oldest first; no step twice.
    points: VecDeque<Packed>,
    /// How long the answers of the newest point took, to which more may come.
    pub(super) open: Durations,
}

/// What came of one application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series(pub(super) [Tier; TIERS.len()]);

impl Series {
    /// Adds what came in the time `took` before `now` (Unix time, seconds).
    pub fn add(&mut self, delta: &Delta, took: Duration, now: i64) {
        // It counts where the middle of it lies.
        let middle = now.saturating_sub_unsigned(took.as_secs() / 2);
        let middle = u64::try_from(middle).unwrap_or(0);
        for (tier, (seconds, kept)) in self.0.iter_mut().zip(TIERS) {
            tier.add(middle / seconds, kept, delta, took);
        }
    }

    /// The points since `since` up to `now`, oldest first, with the seconds of a step: the finest that reach so far back.
    #[must_use]
    pub fn points(&self, since: i64, now: i64) -> (u64, Vec<Point>) {
        let back = now.saturating_sub(since).max(0).unsigned_abs();
        // A step more: whoever asks for an hour is answered some seconds later.
        let reaches = |(seconds, kept): &(u64, usize)| back <= seconds * (*kept as u64 + 1);
        let at = TIERS.iter().position(reaches).unwrap_or(TIERS.len() - 1);
        let (seconds, kept) = TIERS[at];
        let oldest = now
            .saturating_sub_unsigned(seconds * kept as u64)
            .max(since);
        let begin = u64::try_from(oldest).unwrap_or(0) / seconds;
        let end = u64::try_from(now).unwrap_or(0) / seconds;
        let points = self.0[at].points();
        let wanted = points.filter(|point| (begin..=end).contains(&point.step));
        (seconds, wanted.collect())
    }
}

impl From<Point> for Packed {
    fn from(point: Point) -> Self {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            memory_bytes: point.memory_bytes,
            step: number(point.step),
            millis: number(point.millis),
            requests: number(point.requests),
            status_4xx: number(point.status_4xx),
            status_5xx: number(point.status_5xx),
            p50: number(point.p50),
            p95: number(point.p95),
            p99: number(point.p99),
            cpu_millis: number(point.cpu_millis),
            processes: small(point.processes),
            restarts: small(point.restarts),
        }
    }
}

impl From<Packed> for Point {
    fn from(packed: Packed) -> Self {
        Self {
            step: packed.step.into(),
            millis: packed.millis.into(),
            requests: packed.requests.into(),
            status_4xx: packed.status_4xx.into(),
            status_5xx: packed.status_5xx.into(),
            p50: packed.p50.into(),
            p95: packed.p95.into(),
            p99: packed.p99.into(),
            memory_bytes: packed.memory_bytes,
            cpu_millis: packed.cpu_millis.into(),
            processes: packed.processes.into(),
            restarts: packed.restarts.into(),
        }
    }
}

impl Tier {
    /// Those that were written down; `None` where they are not as they were: a step twice, or more than are kept.
    pub(super) fn of(points: &[Point], kept: usize, open: Durations) -> Option<Self> {
        let mut all = VecDeque::with_capacity(kept);
        all.extend(points.iter().map(|point| Packed::from(*point)));
        let points = all;
        let is_ordered = points.iter().is_sorted_by(|a, b| a.step < b.step);
        (points.len() <= kept && is_ordered).then_some(Self { points, open })
    }

    /// Oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = Point> {
        self.points.iter().map(|packed| Point::from(*packed))
    }

    fn add(&mut self, step: u64, kept: usize, delta: &Delta, took: Duration) {
        while self
            .points
            .back()
            .is_some_and(|last| u64::from(last.step) > step)
        {
            self.points.pop_back();
            self.open = Durations::default();
        }
        let newest = self.points.pop_back_if(|last| u64::from(last.step) == step);
        let mut point = newest.map(Point::from).unwrap_or_else(|| {
            self.open = Durations::default();
            Point {
                step,
                ..Point::default()
            }
        });
        for (number, more) in self.open.iter_mut().zip(delta.durations) {
            *number = number.saturating_add(more);
        }
        let below = |part| quantile(&self.open, part).unwrap_or(0);
        let (p50, p95, p99) = (below(0.5), below(0.95), below(0.99));
        point.add(delta, took);
        (point.p50, point.p95, point.p99) = (p50, p95, p99);
        if self.points.len() >= kept {
            self.points.pop_front();
        }
        if self.points.is_empty() {
            // Doubled as it grows, it would be half as large again.
            self.points.reserve_exact(kept);
        }
        self.points.push_back(point.into());
    }
}

impl Point {
    fn add(&mut self, delta: &Delta, took: Duration) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(
            &mut self.millis,
            took.as_millis().try_into().unwrap_or(u64::MAX),
        );
        add(&mut self.requests, delta.requests);
        add(&mut self.status_4xx, delta.status_4xx);
        add(&mut self.status_5xx, delta.status_5xx);
        add(&mut self.restarts, delta.restarts);
        add(
            &mut self.cpu_millis,
            (delta.cpu_seconds.max(0.0) * 1e3).round() as u64,
        );
        self.memory_bytes = self.memory_bytes.max(delta.memory_bytes);
        self.processes = delta.processes;
    }

    /// Requests in each second that was seen.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.a_second(self.requests)
    }

    /// How many CPUs were in use.
    #[must_use]
    pub fn cpus(&self) -> f64 {
        self.a_second(self.cpu_millis) / 1e3
    }

    fn a_second(&self, number: u64) -> f64 {
        match self.millis {
            0 => 0.0,
            millis => number as f64 * 1e3 / millis as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn requests(requests: u64) -> Delta {
        Delta {
            requests,
            memory_bytes: requests * 10,
            durations: std::array::from_fn(|at| if at == 1 { requests } else { 0 }),
            ..Delta::default()
        }
    }

    fn sum(points: &[Point]) -> u64 {
        points.iter().map(|point| point.requests).sum()
    }

    #[test]
    fn an_hour_is_told_by_the_minute_and_a_day_by_five() {
        let mut series = Series::default();
        let day = 24 * 60;
        for minute in 1..=day + 30 {
            series.add(&requests(1), MINUTE, minute * 60);
        }
        let now = (day + 30) * 60;
        let (step, hour) = series.points(now - 3600, now);
        assert_eq!((step, hour.len(), sum(&hour)), (60, 60, 60));
        let (step, hour) = series.points(now - 3607, now);
        assert_eq!((step, hour.len()), (60, 60), "it took a while to answer");
        let (step, all) = series.points(0, now);
        assert_eq!((step, all.len()), (300, 288));
        assert_eq!(sum(&all), 1440);
        let (_, some) = series.points(now - 7200, now);
        assert_eq!(some.len(), 24);
        assert!((some[0].requests_per_second() - 1.0 / 60.0).abs() < 1e-9);
    }

    #[test]
    fn a_time_without_a_server_is_a_gap() {
        let mut series = Series::default();
        series.add(&requests(3), MINUTE, 600);
        series.add(&requests(4), MINUTE, 6000);
        let (_, points) = series.points(0, 6000);
        let seen: Vec<_> = points.iter().map(|p| (p.step, p.requests)).collect();
        assert_eq!(seen, [(1, 3), (19, 4)]);
    }

    #[test]
    fn a_clock_that_ran_ahead_and_is_set_back_costs_only_what_it_told_meanwhile() {
        let mut series = Series::default();
        series.add(&requests(1), MINUTE, 10_000);
        let year = 365 * 86_400;
        series.add(&requests(2), MINUTE, 10_000 + year);
        assert_eq!(
            sum(&series.points(0, 10_000).1),
            1,
            "what lies ahead is not told"
        );
        series.add(&requests(4), MINUTE, 10_120);
        assert_eq!(sum(&series.points(0, 10_000 + year).1), 0);
        assert_eq!(sum(&series.points(0, 10_120).1), 5);
    }

    #[test]
    fn quantiles_of_a_step_are_of_all_its_readings() {
        let mut series = Series::default();
        let took = |bucket: usize| Delta {
            requests: 1,
            durations: std::array::from_fn(|at| u64::from(at == bucket)),
            ..Delta::default()
        };
        series.add(&took(0), Duration::from_secs(1), 1000);
        series.add(&took(5), Duration::from_secs(1), 1001);
        let point = series.points(0, 1001).1[0];
        assert_eq!((point.p50, point.p99), (1_000, 99_000));
    }

    proptest! {
        #[test]
        fn it_is_ordered_bounded_and_loses_nothing_of_a_day(
            readings in proptest::collection::vec((-4000i64..40_000, 0u64..1000, 1u64..4000), 0..600),
        ) {
            let (mut series, mut now) = (Series::default(), 1_700_000_000);
            for (passed, number, took) in readings {
                now += passed;
                series.add(&requests(number), Duration::from_secs(took), now);
                for (tier, (_, kept)) in series.0.iter().zip(TIERS) {
                    prop_assert!(tier.points.len() <= kept);
                    prop_assert!(tier.points.iter().zip(tier.points.iter().skip(1)).all(|(a, b)| a.step < b.step));
                }
                let (seconds, points) = series.points(now - 86_400, now);
                prop_assert_eq!(seconds, 300);
                prop_assert!(points.iter().all(|point| point.p50 <= point.p95 && point.p95 <= point.p99));
            }
        }

        #[test]
        fn a_day_of_readings_at_any_distance_is_told_in_whole(
            readings in proptest::collection::vec((1u64..600, 0u64..1000), 1..140),
        ) {
            let (mut series, mut now) = (Series::default(), 1_700_000_000);
            for (passed, number) in &readings {
                now += i64::try_from(*passed).unwrap();
                series.add(&requests(*number), Duration::from_secs(*passed), now);
            }
            let all: u64 = readings.iter().map(|(_, number)| number).sum();
            prop_assert_eq!(sum(&series.points(now - 86_400, now).1), all);
        }
    }
}
