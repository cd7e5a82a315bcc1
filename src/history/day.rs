//! [`Day`]: the series of all applications and of the server (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::reading::Reading;
use super::series::{Point, Series};

/// What is not read for so long is gone. While the actor that knows the applications is restarted, none is.
const GONE: Duration = Duration::from_secs(180);

/// The series of one application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfApp {
    /// Tells applications apart that have one name after the other; 0 where that is not known.
    pub created: u64,
    pub series: Series,
    /// For how long it was in no reading.
    missing: Duration,
}

/// The series of all applications and of the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    pub server: Series,
    pub apps: BTreeMap<Arc<str>, OfApp>,
    /// The reading before, and when it was taken (Unix time).
    last: Option<(Reading, i64)>,
}

impl OfApp {
    #[must_use]
    pub fn new(created: u64, series: Series) -> Self {
        Self {
            created,
            series,
            missing: Duration::ZERO,
        }
    }
}

impl Day {
    /// Those that an earlier server has written.
    #[must_use]
    pub fn of(server: Series, apps: BTreeMap<Arc<str>, OfApp>) -> Self {
        Self {
            server,
            apps,
            last: None,
        }
    }

    /// Takes a reading at `now` (Unix time); the one before was `took` ago. The first one is what the next is measured by.
    pub fn take(&mut self, reading: Reading, took: Duration, now: i64) {
        if let Some((last, then)) = self.last.take() {
            let delta = reading.server.since(Some(&last.server), then);
            self.server.add(&delta, took, now);
            for (app, counted) in &reading.apps {
                let of = self.apps.entry(Arc::clone(app)).or_default();
                if of.created != 0 && counted.created != 0 && of.created != counted.created {
                    *of = OfApp::default();
                }
                of.created = counted.created.max(of.created);
                let delta = counted.since(last.apps.get(app), then);
                of.series.add(&delta, took, now);
            }
        }
        self.apps.retain(|app, of| {
            of.missing = match reading.apps.contains_key(app) {
                true => Duration::ZERO,
                false => of.missing + took,
            };
            of.missing < GONE
        });
        self.last = Some((reading, now));
    }

    /// The applications that the last reading has, with what they did in the newest minute or two of it.
    pub fn now(&self) -> impl Iterator<Item = (&Arc<str>, Point)> {
        let last = self.last.as_ref();
        let seen = move |app: &Arc<str>| last.is_some_and(|(read, _)| read.apps.contains_key(app));
        let now = last.map_or(0, |(_, now)| *now);
        let apps = self.apps.iter().filter(move |(app, _)| seen(app));
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
    before.iter().fold(*last, |sum, point| Point {
        millis: sum.millis.saturating_add(point.millis),
        requests: sum.requests.saturating_add(point.requests),
        status_4xx: sum.status_4xx.saturating_add(point.status_4xx),
        status_5xx: sum.status_5xx.saturating_add(point.status_5xx),
        cpu_millis: sum.cpu_millis.saturating_add(point.cpu_millis),
        ..sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::reading::Counted;

    const MINUTE: Duration = Duration::from_secs(60);

    fn reading(app: &str, created: u64, requests: u64) -> Reading {
        let counted = Counted {
            created,
            requests,
            ..Counted::default()
        };
        Reading {
            server: counted.clone(),
            apps: BTreeMap::from([(app.into(), counted)]),
        }
    }

    fn requests(day: &Day, app: &str) -> Option<u64> {
        let (_, points) = day.apps.get(app)?.series.points(0, 10_000);
        Some(points.iter().map(|point| point.requests).sum())
    }

    #[test]
    fn the_first_reading_is_what_the_next_is_measured_by() {
        let mut day = Day::default();
        day.take(reading("blog", 1, 1000), MINUTE, 60);
        assert_eq!(requests(&day, "blog"), None);
        day.take(reading("blog", 1, 1005), MINUTE, 120);
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
        day.take(reading("blog", 1, 0), MINUTE, 60);
        day.take(reading("blog", 1, 5), MINUTE, 120);
        day.take(Reading::default(), MINUTE, 180);
        assert_eq!(requests(&day, "blog"), Some(5), "it may be back");
        assert_eq!(day.now().count(), 0);
        day.take(reading("blog", 2, 3), MINUTE, 240);
        assert_eq!(requests(&day, "blog"), Some(3));
        for minute in 5..8 {
            day.take(Reading::default(), MINUTE, minute * 60);
        }
        assert_eq!(requests(&day, "blog"), None);
    }
}
