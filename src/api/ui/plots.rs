//! [`Plot`]: the last day of an application as pictures (pure): SVG paths, which need no script and no style of their own.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Deserialize;

use crate::amounts::{size, took};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 100.0;
const DAY: f64 = 86_400.0;

/// Rows of a table: one for so many seconds.
const ROW: i64 = 7200;

/// `GET /applications/A/history`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct History {
    step_seconds: f64,
    points: Vec<Point>,
}

#[derive(Debug, Deserialize)]
struct Point {
    time: Timestamp,
    requests_per_second: f64,
    /// How much of the step was seen.
    seconds: f64,
    requests: u64,
    status_4xx: u64,
    status_5xx: u64,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    memory_bytes: f64,
}

/// A picture of some lines over the last day.
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// The greatest value, which is at the top.
    pub(super) most: String,
    pub(super) lines: Vec<Line>,
}

pub(super) struct Line {
    pub(super) name: &'static str,
    /// By which the style gives it a colour.
    pub(super) kind: &'static str,
    /// As SVG has it.
    pub(super) path: String,
}

/// The same in numbers.
pub(super) struct Row {
    pub(super) time: Timestamp,
    pub(super) requests: u64,
    pub(super) status_4xx: u64,
    pub(super) status_5xx: u64,
    pub(super) p95: String,
    pub(super) memory: String,
}

type Value = fn(&Point) -> Option<f64>;

impl History {
    pub(super) fn plots(&self, now: Timestamp) -> Vec<Plot> {
        let rate = |value: f64| format!("{value:.1}/s");
        vec![
            self.plot(
                now,
                "Requests",
                rate,
                &[("requests", "first", |p| Some(p.requests_per_second))],
            ),
            self.plot(
                now,
                "Errors",
                rate,
                &[
                    ("4xx", "second", |p| per_second(p, p.status_4xx)),
                    ("5xx", "bad", |p| per_second(p, p.status_5xx)),
                ],
            ),
            self.plot(
                now,
                "Latency",
                took,
                &[
                    ("median", "first", |p| p.p50_seconds),
                    ("95 %", "second", |p| p.p95_seconds),
                ],
            ),
            self.plot(
                now,
                "Memory",
                |bytes| size(bytes as u64),
                &[("memory", "first", |p| Some(p.memory_bytes))],
            ),
        ]
    }

    fn plot(
        &self,
        now: Timestamp,
        title: &'static str,
        told: fn(f64) -> String,
        lines: &[(&'static str, &'static str, Value)],
    ) -> Plot {
        let values = lines.iter().map(|(_, _, value)| value);
        let values = values.flat_map(|value| self.points.iter().filter_map(value));
        let most = values.fold(0.0, f64::max);
        let line = |(name, kind, value): &(&'static str, &'static str, Value)| Line {
            name,
            kind,
            path: self.path(now, most, *value),
        };
        Plot {
            title,
            most: told(most),
            lines: lines.iter().map(line).collect(),
        }
    }

    /// Where steps are missing, the line is, too: no server ran, or nothing was timed.
    fn path(&self, now: Timestamp, most: f64, value: Value) -> String {
        let mut path = String::new();
        let mut last = None;
        for point in &self.points {
            let age = now.duration_since(point.time).as_secs_f64();
            let Some(value) = value(point).filter(|_| (0.0..=DAY).contains(&age)) else {
                last = None;
                continue;
            };
            let x = WIDTH * (1.0 - age / DAY);
            let part = if most > 0.0 { value / most } else { 0.0 };
            let y = HEIGHT * (1.0 - part.clamp(0.0, 1.0));
            let gap = last.map(|last: Timestamp| point.time.duration_since(last).as_secs_f64());
            match gap.is_some_and(|gap| gap <= 1.5 * self.step_seconds) {
                true => drop(write!(path, "L{x:.1} {y:.1}")),
                // A point alone is seen as a dot, since lines have round ends.
                false => drop(write!(path, "M{x:.1} {y:.1}h0")),
            }
            last = Some(point.time);
        }
        path
    }

    /// Newest first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<(i64, Vec<&Point>)> = Vec::new();
        for point in &self.points {
            let begin = point.time.as_second().div_euclid(ROW) * ROW;
            match rows.last_mut() {
                Some((last, points)) if *last == begin => points.push(point),
                _ => rows.push((begin, vec![point])),
            }
        }
        let row = |(begin, points): &(i64, Vec<&Point>)| {
            let sum = |count: fn(&Point) -> u64| points.iter().map(|p| count(p)).sum();
            let slowest = points.iter().filter_map(|p| p.p95_seconds).reduce(f64::max);
            let memory = points.iter().map(|p| p.memory_bytes).fold(0.0, f64::max);
            Row {
                time: Timestamp::from_second(*begin).unwrap_or_default(),
                requests: sum(|p| p.requests),
                status_4xx: sum(|p| p.status_4xx),
                status_5xx: sum(|p| p.status_5xx),
                p95: slowest.map(took).unwrap_or_default(),
                memory: size(memory as u64),
            }
        };
        rows.iter().rev().map(row).collect()
    }
}

fn per_second(point: &Point, count: u64) -> Option<f64> {
    (point.seconds > 0.0).then(|| count as f64 / point.seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_breaks_where_no_server_ran_and_its_greatest_value_is_at_the_top() {
        let point = |minute: i64, rate: f64| {
            let time = Timestamp::from_second(minute * 60).unwrap();
            json!({
                "time": time, "requests_per_second": rate, "seconds": 300.0, "requests": (300.0 * rate) as u64,
                "status_4xx": 0, "status_5xx": 3, "p50_seconds": null, "p95_seconds": 0.25, "memory_bytes": 1024,
            })
        };
        let history: History = serde_json::from_value(json!({
            "step_seconds": 300, "points": [point(0, 1.0), point(5, 2.0), point(60, 0.0)],
        }))
        .unwrap();
        let plots = history.plots(Timestamp::from_second(86_400).unwrap());
        let [requests, errors, latency, memory] = &plots[..] else {
            panic!("four plots");
        };
        assert_eq!(requests.lines[0].path, "M0.0 50.0h0L1.7 0.0M20.0 100.0h0");
        assert_eq!(
            (requests.most.as_str(), memory.most.as_str()),
            ("2.0/s", "1K")
        );
        assert_eq!(errors.most, "0.0/s");
        assert_eq!(latency.lines[0].path, "", "nothing was timed");
        let rows = history.rows();
        assert_eq!(
            (rows.len(), rows[0].requests, rows[0].status_5xx),
            (1, 900, 9)
        );
        assert!(
            History::default().plots(Timestamp::UNIX_EPOCH)[0].lines[0]
                .path
                .is_empty()
        );
    }
}
