//! How a [`Day`] is written down: a line of JSON that names the version, then a line for each series (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::day::{Day, OfApp};
use super::reading::Durations;
use super::series::{Point, Series, TIERS, Tier};

const VERSION: u32 = 1;

/// The numbers of a point, in the order of its fields.
type Row = [u64; 12];

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// `None`: the server.
    app: Option<Arc<str>>,
    created: u64,
    tiers: Vec<Written>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    seconds: u64,
    open: Durations,
    points: Vec<Row>,
}

/// Why a file is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("it is of version {0}, which this server does not know")]
    Version(u32),
    #[error("line {0} is damaged")]
    Damaged(usize),
}

/// The text of the file, at most `most` bytes of it: applications for which there is no room are left out.
#[must_use]
pub fn write(day: &Day, most: usize) -> String {
    let server = line(None, 0, &day.server);
    let apps = day.apps.iter();
    let apps = apps.map(|(app, of)| line(Some(Arc::clone(app)), of.created, &of.series));
    let mut text = json(&Head { version: VERSION });
    text.push('\n');
    for line in std::iter::once(server).chain(apps) {
        let line = json(&line);
        if text.len() + line.len() < most {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// Reads the text of a file, all or nothing.
///
/// # Errors
/// It is no such file, or is damaged.
pub fn read(text: &[u8]) -> Result<Day, FileError> {
    let mut lines = text.split(|byte| *byte == b'\n').zip(1..);
    let head = lines
        .next()
        .and_then(|(head, _)| serde_json::from_slice(head).ok());
    let Head { version } = head.ok_or(FileError::Damaged(1))?;
    if version != VERSION {
        return Err(FileError::Version(version));
    }
    let (mut server, mut apps) = (Series::default(), BTreeMap::new());
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let damaged = || FileError::Damaged(number);
        let line: Line = serde_json::from_slice(line).map_err(|_| damaged())?;
        let series = series(&line.tiers).ok_or_else(damaged)?;
        match line.app {
            None => server = series,
            Some(app) => drop(apps.insert(app, OfApp::new(line.created, series))),
        }
    }
    Ok(Day::of(Arc::new(server), apps))
}

fn json(value: &impl Serialize) -> String {
    // Numbers and names: nothing of it can fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn line(app: Option<Arc<str>>, created: u64, series: &Series) -> Line {
    let tiers = series.0.iter().zip(TIERS);
    let tiers = tiers.map(|(tier, (seconds, _))| Written {
        seconds,
        open: tier.open,
        points: tier.points().map(|point| row(&point)).collect(),
    });
    Line {
        app,
        created,
        tiers: tiers.collect(),
    }
}

/// `None` where they are not as they were written: a step twice, or more than are kept.
fn series(written: &[Written]) -> Option<Series> {
    let mut series = Series::default();
    if written.len() != TIERS.len() {
        return None;
    }
    for ((tier, (seconds, kept)), written) in series.0.iter_mut().zip(TIERS).zip(written) {
        let points: Vec<Point> = written.points.iter().map(point).collect();
        *tier = Tier::of(&points, kept, written.open).filter(|_| written.seconds == seconds)?;
    }
    Some(series)
}

fn row(point: &Point) -> Row {
    [
        point.step,
        point.millis,
        point.requests,
        point.status_4xx,
        point.status_5xx,
        point.p50,
        point.p95,
        point.p99,
        point.memory_bytes,
        point.cpu_millis,
        point.processes,
        point.restarts,
    ]
}

fn point(row: &Row) -> Point {
    let [
        step,
        millis,
        requests,
        status_4xx,
        status_5xx,
        p50,
        p95,
        p99,
        memory_bytes,
        cpu_millis,
        processes,
        restarts,
    ] = *row;
    Point {
        step,
        millis,
        requests,
        status_4xx,
        status_5xx,
        p50,
        p95,
        p99,
        memory_bytes,
        cpu_millis,
        processes,
        restarts,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::history::reading::{Counted, Reading};

    fn day(readings: &[(u64, u64)]) -> Day {
        let (mut day, mut now, mut total) = (Day::default(), 1_700_000_000, 0);
        for (passed, requests) in readings {
            now += i64::try_from(*passed).unwrap();
            total += requests;
            let counted = Counted {
                created: 7,
                requests: total,
                durations: std::array::from_fn(|at| total * (at as u64 % 3)),
                memory_bytes: *requests,
                ..Counted::default()
            };
            let apps = BTreeMap::from([("blog".into(), counted)]);
            let own = Counted::default();
            day.take(Reading { own, apps }, Duration::from_secs(*passed), now);
        }
        day
    }

    #[test]
    fn what_is_damaged_or_newer_is_not_taken() {
        let text = write(&day(&[(60, 1), (60, 2), (60, 3)]), usize::MAX);
        let newer = text.replacen("\"version\":1", "\"version\":9", 1);
        assert_eq!(read(newer.as_bytes()), Err(FileError::Version(9)));
        assert_eq!(read(b""), Err(FileError::Damaged(1)));
        let cut = &text[..text.len() - 20];
        assert_eq!(read(cut.as_bytes()), Err(FileError::Damaged(3)));
        let foreign = text.replacen("\"seconds\":60", "\"seconds\":61", 1);
        assert_eq!(read(foreign.as_bytes()), Err(FileError::Damaged(2)));
    }

    #[test]
    fn a_day_of_an_application_is_small() {
        let readings: Vec<_> = (0..1500).map(|n| (60, 10_000 + n)).collect();
        let bytes = write(&day(&readings), usize::MAX)
            .lines()
            .last()
            .unwrap()
            .len();
        assert!(bytes < 40_000, "{bytes}");
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_and_the_rest_is_read() {
        let (mut day, counted) = (Day::default(), Counted::default());
        let apps = ["a", "b", "c"].map(|app| (app.into(), counted.clone()));
        let (own, apps) = (counted, BTreeMap::from(apps));
        day.take(Reading { own, apps }, Duration::from_secs(60), 60);
        let all = write(&day, usize::MAX).len();
        let text = write(&day, all - 1);
        assert!(text.len() < all);
        assert_eq!(read(text.as_bytes()).unwrap().apps.len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            readings in proptest::collection::vec((0u64..5000, 0u64..1_000_000), 0..400),
        ) {
            let day = day(&readings);
            let back = read(write(&day, usize::MAX).as_bytes()).unwrap();
            prop_assert_eq!(&back.server, &day.server);
            let series = |day: &Day| {
                let apps = day.apps.iter();
                let of = apps.map(|(app, of)| (Arc::clone(app), of.created, Arc::clone(&of.series)));
                of.collect::<Vec<_>>()
            };
            prop_assert_eq!(series(&back), series(&day));
        }

        #[test]
        fn nothing_that_lies_there_is_a_panic(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut text = write(&day(&[(60, 1), (60, 2), (600, 3)]), usize::MAX).into_bytes();
            let index = at.index(text.len());
            text[index] = byte;
            text.truncate(cut.index(text.len()) + 1);
            if let Ok(mut day) = read(&text) {
                day.take(Reading::default(), Duration::from_secs(60), 1_700_000_000);
                day.take(Reading::default(), Duration::from_secs(60), 1_700_000_060);
            }
        }
    }
}
