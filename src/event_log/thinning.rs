//! [`Thinning`]: keeps an application that crashes again and again from pushing all else out of the log (pure).
//!
//! What people do, and what becomes of it, is always written, but for processes that run once, as jobs do. Of what happens
//! by itself each application may write a hundred lines, and one more every five minutes; what is beyond that is counted,
//! and told in one line every ten minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::events::report::{RAN, Report, StampedReport};

/// Lines that an application may write at once.
const AT_ONCE: u32 = 100;

/// How long it takes until it may write one more.
const PER_LINE: Duration = Duration::from_secs(300);

/// How often is told what was not written.
const SUMMARY: Duration = Duration::from_secs(600);

/// Whose lines are counted: each application's, and those of none.
type Whose = Option<Arc<str>>;

/// What one application has written.
#[derive(Debug)]
struct Budget {
    lines: u32,
    /// When it was last given some.
    since: Instant,
    left_out: Option<LeftOut>,
}

/// What was not written since the last summary.
#[derive(Debug)]
struct LeftOut {
    from: Instant,
    /// By the names of events.
    counts: BTreeMap<String, u64>,
    first: jiff::Timestamp,
    last: jiff::Timestamp,
    /// The number of the newest.
    id: u64,
}

/// Says what is written.
#[derive(Debug, Default)]
pub struct Thinning(BTreeMap<Whose, Budget>);

impl Thinning {
    /// The line of an event, if it has one now.
    pub fn take(&mut self, event: &StampedReport, now: Instant) -> Option<Value> {
        let value = serde_json::to_value(event).ok()?;
        match &event.report {
            // Told by what follows, or by what is found when somebody asks.
            Report::DeploymentStep { .. } | Report::RouteChanged { .. } => return None,
            Report::ApplicationChanged { change, .. } if *change == RAN => {}
            Report::ApplicationChanged { .. }
            | Report::DeploymentStarted { .. }
            | Report::DeploymentFinished { .. }
            | Report::CertificateIssued { .. } => return Some(value),
            _ => {}
        }
        let whose = event.report.app().map(Arc::from);
        let budget = self.0.entry(whose).or_insert(Budget {
            lines: AT_ONCE,
            since: now,
            left_out: None,
        });
        budget.earn(now);
        if budget.lines > 0 && budget.left_out.is_none() {
            budget.lines -= 1;
            return Some(value);
        }
        let left_out = budget.left_out.get_or_insert(LeftOut {
            from: now,
            counts: BTreeMap::new(),
            first: event.time,
            last: event.time,
            id: event.id,
        });
        let name = value["event"].as_str().unwrap_or_default().to_owned();
        *left_out.counts.entry(name).or_default() += 1;
        (left_out.last, left_out.id) = (event.time, event.id);
        None
    }

    /// The lines that tell what was left out, as far as they are due; all of them where the server stops.
    pub fn summaries(&mut self, now: Instant, stops: bool) -> Vec<Value> {
        let mut lines = Vec::new();
        for (app, budget) in &mut self.0 {
            let is_due = |left_out: &LeftOut| {
                stops || now.saturating_duration_since(left_out.from) >= SUMMARY
            };
            if let Some(left_out) = budget.left_out.take_if(|left_out| is_due(left_out)) {
                lines.push(left_out.line(app.as_deref()));
            }
        }
        // One that could write everything anew has nothing to be remembered for.
        self.0.retain(|_, budget| {
            budget.earn(now);
            budget.lines < AT_ONCE || budget.left_out.is_some()
        });
        lines
    }
}

impl Budget {
    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.since).as_secs() / PER_LINE.as_secs();
        let earned = u32::try_from(earned).unwrap_or(AT_ONCE).min(AT_ONCE);
        if earned > 0 {
            self.lines = (self.lines + earned).min(AT_ONCE);
            self.since = match self.lines {
                AT_ONCE => now,
                _ => self.since + PER_LINE * earned,
            };
        }
    }
}

impl LeftOut {
    fn line(&self, app: Option<&str>) -> Value {
        let mut line = json!({
            "id": self.id,
            "time": self.last,
            "event": "events.left_out",
            "since": self.first,
            "counts": self.counts,
        });
        if let Some(app) = app {
            line["app"] = app.into();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::By;
    use crate::events::report::Offender;

    fn event(id: u64, report: Report) -> StampedReport {
        StampedReport {
            id,
            time: jiff::Timestamp::UNIX_EPOCH,
            report,
        }
    }

    fn crash(app: &str, id: u64) -> StampedReport {
        let who = Offender {
            app: app.into(),
            process: "web.1".to_owned(),
            release: 1,
            batch: 1,
            pid: None,
        };
        event(id, Report::ProcessStopped { who })
    }

    #[test]
    fn a_day_of_crashes_leaves_room_for_others_and_is_counted() {
        let (mut thinning, begin) = (Thinning::default(), Instant::now());
        let (mut lines, mut told, mut id) = (0, 0, 0);
        let day = 24 * 3600;
        for second in 0..day {
            let now = begin + Duration::from_secs(second);
            id += 1;
            if thinning.take(&crash("bad", id), now).is_some() {
                (lines, told) = (lines + 1, told + 1);
            }
            if second % 600 == 0 {
                id += 1;
                assert!(thinning.take(&crash("good", id), now).is_some(), "{second}");
            }
            if second % 60 != 59 {
                continue;
            }
            for summary in thinning.summaries(now, second == day - 1) {
                assert_eq!(summary["app"], "bad");
                lines += 1;
                told += summary["counts"]["process.stopped"].as_u64().unwrap();
            }
        }
        assert!(lines < 600, "{lines}");
        assert_eq!(told, day, "each is told, or counted");
    }

    #[test]
    fn what_people_do_is_always_written() {
        let (mut thinning, now) = (Thinning::default(), Instant::now());
        for id in 0..1000 {
            let report = Report::DeploymentStarted {
                app: "blog".into(),
                deployment: id,
                by: By::account(0),
            };
            let line = thinning.take(&event(id, report), now).unwrap();
            assert_eq!(line["by"], "uid 0");
        }
        assert!(thinning.summaries(now, true).is_empty());
    }

    #[test]
    fn what_is_quiet_is_forgotten() {
        let (mut thinning, begin) = (Thinning::default(), Instant::now());
        for id in 0..50 {
            thinning.take(&crash(&format!("app{id}"), id), begin);
        }
        assert_eq!(thinning.0.len(), 50);
        thinning.summaries(begin + PER_LINE, false);
        assert!(thinning.0.is_empty());
    }
}
