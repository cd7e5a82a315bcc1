//! [`Day`]: the series of all applications and of the server (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::reading::{Delta, Reading};
use super::series::{Point, Series};

/// What is not read for so long is gone. While the actor that knows the applications is restarted, none is.
const GONE: Duration = Duration::from_secs(180);

/// The series of one application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfApp {
    /// Tells applications apart that have one name after the other; 0 where that is not known.
    pub created: u64,
    pub series: Arc<Series>,
    /// For how long it was in no reading; `None`: the newest one has it.
    missing: Option<Duration>,
}

/// The series of all applications and of the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    pub server: Arc<Series>,
    pub apps: BTreeMap<Arc<str>, OfApp>,
    /// The reading before, with what was read last of those that it lacks, and when it was taken (Unix time).
    last: Option<(Reading, i64)>,
}

impl OfApp {
    #[must_use]
    pub fn new(created: u64, series: Series) -> Self {
        Self {
            created,
            series: Arc::new(series),
            missing: Some(Duration::ZERO),
        }
    }
}

impl Day {
    /// Those that an earlier server has written.
    #[must_use]
    pub fn of(server: Arc<Series>, apps: BTreeMap<Arc<str>, OfApp>) -> Self {
        Self {
            server,
            apps,
            last: None,
        }
    }

    /// Takes a reading at `now` (Unix time); the one before was `took` ago. The first one is what the next is measured by.
    pub fn take(&mut self, mut reading: Reading, took: Duration, now: i64) {
        let before = self.last.take();
        let mut all = match &before {
            Some((last, then)) => reading.own.since(Some(&last.own), *then),
            None => Delta::default(),
        };
        for (app, counted) in &reading.apps {
            let of = self.apps.entry(Arc::clone(app)).or_default();
            if of.created != 0 && counted.created != 0 && of.created != counted.created {
                *of = OfApp::default();
            }
            of.created = counted.created.max(of.created);
            if let Some((last, then)) = &before {
                let delta = counted.since(last.apps.get(app), *then);
                all.add(&delta);
                Arc::make_mut(&mut of.series).add(
                    &delta,
                    took + of.missing.unwrap_or_default(),
                    now,
                );
            }
        }
        if before.is_some() {
            Arc::make_mut(&mut self.server).add(&all, took, now);
        }
        self.apps.retain(|app, of| {
            let is_there = reading.apps.contains_key(app);
            of.missing = (!is_there).then(|| of.missing.unwrap_or_default() + took);
            of.missing.is_none_or(|missing| missing < GONE)
        });
        // One that is missing is measured by what was read of it last, should it be back.
        for (app, counted) in before.into_iter().flat_map(|(last, _)| last.apps) {
            if self.apps.contains_key(&app) {
                reading.apps.entry(app).or_insert(counted);
            }
        }
        self.last = Some((reading, now));
    }

    /// All that is written down. Cheap: the series are shared.
    #[must_use]
    pub fn kept(&self) -> Self {
        Self::of(Arc::clone(&self.server), self.apps.clone())
    }

    /// The applications that the last reading has, with what they did in the newest minute or two of it.
    pub fn now(&self) -> impl Iterator<Item = (&Arc<str>, Point)> {
        let now = self.last.as_ref().map_or(0, |(_, now)| *now);
        let apps = self.apps.iter().filter(|(_, of)| of.missing.is_none());
        apps.map(move |(app, of)| (app, newest(&of.series, now)))
    }

    /// The same of the server.
    #[must_use]
    pub fn server_now(&self) -> Point {
        let now = self.last.as_ref().map_or(0, |(_, now)| *now);
        newest(&self.server, now)
    }
}

/// The newest minute and the one before as one point: the newest may have just begun.
fn newest(series: &Series, now: i64) -> Point {
    let (_, points) = series.points(now.saturating_sub(60), now);
    let Some((last, before)) = points.split_last() else {
        return Point::default();
    };
    let mut sum = *last;
    for point in before {
        if sum.p95 == 0 {
            // Nothing was timed yet in a minute that has just begun.
            (sum.p50, sum.p95, sum.p99) = (point.p50, point.p95, point.p99);
        }
        sum = Point {
            millis: sum.millis.saturating_add(point.millis),
            requests: sum.requests.saturating_add(point.requests),
            status_4xx: sum.status_4xx.saturating_add(point.status_4xx),
            status_5xx: sum.status_5xx.saturating_add(point.status_5xx),
            cpu_millis: sum.cpu_millis.saturating_add(point.cpu_millis),
            ..sum
        };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::reading::Counted;

    const MINUTE: Duration = Duration::from_secs(60);

    fn counted(created: u64, requests: u64) -> Counted {
        Counted {
            created,
            requests,
            ..Counted::default()
        }
    }

    /// No request is for no application.
    fn reading(apps: &[(&str, u64, u64)]) -> Reading {
        let of =
            |(app, created, requests): &(&str, _, _)| ((*app).into(), counted(*created, *requests));
        Reading {
            own: Counted::default(),
            apps: apps.iter().map(of).collect(),
        }
    }

    fn of_server(day: &Day) -> u64 {
        let (_, points) = day.server.points(0, 10_000);
        points.iter().map(|point| point.requests).sum()
    }

    fn requests(day: &Day, app: &str) -> Option<u64> {
        let (_, points) = day.apps.get(app)?.series.points(0, 10_000);
        Some(points.iter().map(|point| point.requests).sum())
    }

    #[test]
    fn the_first_reading_is_what_the_next_is_measured_by() {
        let mut day = Day::default();
        day.take(reading(&[("blog", 1, 1000)]), MINUTE, 60);
        assert_eq!(requests(&day, "blog"), Some(0));
        day.take(reading(&[("blog", 1, 1005)]), MINUTE, 120);
        assert_eq!(requests(&day, "blog"), Some(5));
        let now: Vec<_> = day
            .now()
            .map(|(app, point)| (&**app, point.requests))
            .collect();
        assert_eq!(now, [("blog", 5)]);
        assert_eq!(day.server_now().requests, 5);
    }

    #[test]
    fn what_is_removed_goes_and_another_of_its_name_has_no_past() {
        let mut day = Day::default();
        day.take(reading(&[("blog", 1, 0)]), MINUTE, 60);
        day.take(reading(&[("blog", 1, 5)]), MINUTE, 120);
        day.take(Reading::default(), MINUTE, 180);
        assert_eq!(requests(&day, "blog"), Some(5), "it may be back");
        assert_eq!(day.now().count(), 0);
        day.take(reading(&[("blog", 2, 3)]), MINUTE, 240);
        assert_eq!(requests(&day, "blog"), Some(3));
        for minute in 5..8 {
            day.take(Reading::default(), MINUTE, minute * 60);
        }
        assert_eq!(requests(&day, "blog"), None);
    }

    #[test]
    fn the_server_has_done_what_all_have_done_also_where_one_is_removed() {
        let mut day = Day::default();
        day.take(reading(&[("blog", 1, 1000), ("shop", 1, 5000)]), MINUTE, 60);
        day.take(
            reading(&[("blog", 1, 1002), ("shop", 1, 5003)]),
            MINUTE,
            120,
        );
        assert_eq!(of_server(&day), 5);
        day.take(reading(&[("blog", 1, 1003)]), MINUTE, 180);
        assert_eq!(of_server(&day), 6, "what shop did was counted before");
    }

    #[test]
    fn one_that_was_missing_for_a_while_is_measured_by_what_was_read_of_it_last() {
        let mut day = Day::default();
        day.take(reading(&[("blog", 1, 1000)]), MINUTE, 60);
        day.take(Reading::default(), MINUTE, 120);
        day.take(reading(&[("blog", 1, 1004)]), MINUTE, 180);
        assert_eq!((requests(&day, "blog"), of_server(&day)), (Some(4), 4));
    }

    #[test]
    fn a_minute_that_has_just_begun_shows_how_long_answers_took_before() {
        let mut day = Day::default();
        let timed = |requests: u64| {
            let mut reading = reading(&[("blog", 1, requests)]);
            let blog = reading.apps.get_mut("blog").unwrap();
            blog.durations[1] = requests;
            reading
        };
        day.take(timed(0), MINUTE, 60);
        day.take(timed(9), MINUTE, 120);
        day.take(timed(9), Duration::from_secs(5), 126);
        let (_, now) = day.now().next().unwrap();
        assert!(now.p95 > 0, "{now:?}");
        assert_eq!((day.server_now().p95, now.requests), (now.p95, 9));
    }
}
