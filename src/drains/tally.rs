//! [`Tally`]: what became of a drain's lines. It outlives the drain's task.
//!
//! Who looks at it sees no half of a change: what was sent, and up to where the receiver has the logs then, change
//! together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::accounts::Accounts;
use super::status::DrainState;

#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Tallied>);

#[derive(Clone, Debug, Default)]
pub(super) struct Tallied {
    pub(super) state: DrainState,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    /// Up to where the receiver has the logs.
    pub(super) taken: Accounts,
    /// Up to where they were read: lines up to there are sent, or counted as dropped.
    pub(super) gathered: Accounts,
    /// Of the lines between the two, those that are counted as dropped.
    pub(super) missing: u64,
    /// Of the lines that are not taken, those that a task before has counted as dropped: they are found again.
    again: u64,
    pub(super) last_sent: Option<Timestamp>,
    pub(super) last_dropped: Option<Timestamp>,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) error: Option<String>,
    /// That it fails was reported, and not that it is well again.
    is_reported: bool,
}

impl Tally {
    /// A copy of it.
    pub(super) fn look(&self) -> Tallied {
        self.lock().clone()
    }

    /// A drain begins there.
    pub(super) fn begins_at(&self, taken: &Accounts) {
        let mut tallied = self.lock();
        tallied.taken = taken.clone();
        tallied.gathered = taken.clone();
        tallied.again += std::mem::take(&mut tallied.missing);
    }

    /// The receiver has the logs up to `taken`.
    pub(super) fn is_at(&self, taken: &Accounts) {
        self.lock().come_to(taken);
    }

    /// The log was read up to `accounts`, where `dropped` lines are missing.
    pub(super) fn gathered(&self, accounts: &Accounts, dropped: u64, now: Timestamp) {
        let mut tallied = self.lock();
        tallied.gathered = accounts.clone();
        tallied.missing += dropped;
        let again = dropped.min(tallied.again);
        tallied.again -= again;
        tallied.drop_lines(dropped - again, now);
    }

    /// Lines were taken.
    pub(super) fn sent(&self, lines: u64, taken: &Accounts, now: Timestamp) {
        let mut tallied = self.lock();
        tallied.sent += lines;
        tallied.come_to(taken);
        tallied.last_sent = Some(now);
        tallied.works();
    }

    /// Lines went out before a connection broke.
    pub(super) fn out(&self, lines: u64, taken: &Accounts) {
        let mut tallied = self.lock();
        tallied.sent += lines;
        tallied.come_to(taken);
    }

    /// Lines were refused for good.
    pub(super) fn refused(&self, lines: u64, taken: &Accounts, now: Timestamp) {
        let mut tallied = self.lock();
        tallied.come_to(taken);
        tallied.drop_lines(lines, now);
    }

    /// Nothing was taken. Answers whether that is to be reported.
    pub(super) fn failed(&self, why: String, now: Timestamp) -> bool {
        let mut tallied = self.lock();
        tallied.error = Some(why);
        tallied.failing_since.get_or_insert(now);
        tallied.state = DrainState::Failing;
        !std::mem::replace(&mut tallied.is_reported, true)
    }

    /// The log can be read again, which was what had failed.
    pub(super) fn is_readable(&self) {
        self.lock().works();
    }

    /// It is well. Answers whether that is to be reported.
    pub(super) fn is_well(&self) -> bool {
        std::mem::take(&mut self.lock().is_reported)
    }

    fn lock(&self) -> MutexGuard<'_, Tallied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tallied {
    fn come_to(&mut self, taken: &Accounts) {
        self.taken = taken.clone();
        if self.taken == self.gathered {
            (self.missing, self.again) = (0, 0);
        }
    }

    fn drop_lines(&mut self, lines: u64, now: Timestamp) {
        if lines > 0 {
            self.dropped += lines;
            self.last_dropped = Some(now);
        }
    }

    fn works(&mut self) {
        self.error = None;
        self.failing_since = None;
        self.state = match self.last_sent {
            Some(_) => DrainState::Sending,
            None => DrainState::Idle,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_drain_which_begins_anew_finds_missing_again_count_once() {
        let (tally, at, now) = (Tally::default(), Accounts::default(), Timestamp::UNIX_EPOCH);
        for more in [0, 0, 10] {
            tally.begins_at(&at);
            tally.gathered(&at, 100, now);
            tally.gathered(&at, 50 + more, now);
        }
        let tallied = tally.look();
        assert_eq!((tallied.dropped, tallied.missing), (160, 160));
    }
}
