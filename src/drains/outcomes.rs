//! [`Outcomes`]: notes what becomes of a drain's lines, and reports what is new of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::book::Wanted;
use crate::events::{Feed, Report};
use crate::logs::app_logs::AppLogs;

/// Lines that are dropped are reported so often at most, all since the last time.
const REPORTS: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Outcomes {
    wanted: Wanted,
    events: Feed,
    /// Dropped lines that were not reported, and when some were.
    unreported: u64,
    reported: Option<Instant>,
    /// Lines that count as dropped before the drain finds them missing.
    foreseen: u64,
}

impl Outcomes {
    pub(super) fn new(wanted: Wanted, events: Feed) -> Self {
        Self {
            wanted,
            events,
            unreported: 0,
            reported: None,
            foreseen: 0,
        }
    }

    /// The receiver has the logs up to `taken`, by lines that are not for it, or that are not counted.
    pub(super) fn is_at(&self, taken: &Accounts) {
        self.wanted.tally.is_at(taken);
    }

    /// Lines were taken.
    pub(super) fn sent(&self, lines: u64, taken: &Accounts) {
        let now = jiff::Timestamp::now();
        self.wanted.tally.sent(lines, taken, now);
    }

    /// Lines went out before a connection broke.
    pub(super) fn out(&self, lines: u64, taken: &Accounts) {
        self.wanted.tally.out(lines, taken);
    }

    /// The log was read up to `accounts`; `dropped` lines are missing in it.
    pub(super) fn gathered(&mut self, accounts: &Accounts, dropped: u64) {
        let now = jiff::Timestamp::now();
        self.wanted.tally.gathered(accounts, dropped, now);
        let known = dropped.min(self.foreseen);
        self.foreseen -= known;
        self.unreported += dropped - known;
    }

    /// The log was read to its end: what is missing has been found.
    pub(super) fn is_current(&mut self) {
        self.foreseen = 0;
    }

    /// While nothing is read: the log may go on over lines.
    pub(super) fn foresee(&mut self, logs: &AppLogs) {
        let lost = self.wanted.lost(logs, &self.wanted.tally.look().gathered);
        let new = lost.saturating_sub(self.foreseen);
        self.foreseen += new;
        self.unreported += new;
        self.report_dropped();
    }

    /// Lines were refused for good.
    pub(super) fn refused(&mut self, why: &str, lines: u64, taken: &Accounts) {
        let Wanted { app, config, .. } = &self.wanted;
        let url = config.url.shown();
        log::warn!("{app}: {url} refuses {lines} lines: {why}");
        let now = jiff::Timestamp::now();
        self.wanted.tally.refused(lines, taken, now);
        self.unreported += lines;
    }

    /// Something failed.
    pub(super) fn failed(&self, reason: String) {
        let now = jiff::Timestamp::now();
        if self.wanted.tally.failed(reason.clone(), now) {
            let (app, drain) = self.who();
            self.events
                .report(Report::DrainFailing { app, drain, reason });
        }
    }

    /// The log can be read again.
    pub(super) fn is_readable(&self) {
        self.wanted.tally.is_readable();
    }

    /// The receiver is well, and has been for a while.
    pub(super) fn is_well(&self) {
        if self.wanted.tally.is_well() {
            let (app, drain) = self.who();
            self.events.report(Report::DrainRecovered { app, drain });
        }
    }

    pub(super) fn report_dropped(&mut self) {
        let is_soon = self.reported.is_some_and(|at| at.elapsed() < REPORTS);
        if self.unreported == 0 || is_soon {
            return;
        }
        self.reported = Some(Instant::now());
        let lines = std::mem::take(&mut self.unreported);
        let (app, drain) = self.who();
        self.events
            .report(Report::DrainDropped { app, drain, lines });
    }

    fn who(&self) -> (Arc<str>, String) {
        let Wanted { app, config, .. } = &self.wanted;
        (Arc::clone(app), config.url.shown())
    }
}
