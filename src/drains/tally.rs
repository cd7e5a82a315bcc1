//! [`Tally`]: what became of a drain's lines. It outlives the drain's task.

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
    pub(super) last_sent: Option<Timestamp>,
    pub(super) last_dropped: Option<Timestamp>,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) error: Option<String>,
}

impl Tally {
    /// A copy of it.
    pub(super) fn look(&self) -> Tallied {
        self.lock().clone()
    }

    /// The receiver has the logs up to `taken`.
    pub(super) fn is_at(&self, taken: &Accounts) {
        self.lock().taken = taken.clone();
    }

    /// Lines were taken. Answers whether it failed before.
    pub(super) fn sent(&self, lines: u64, now: Timestamp) -> bool {
        let mut tallied = self.lock();
        tallied.sent += lines;
        tallied.last_sent = Some(now);
        tallied.error = None;
        tallied.failing_since = None;
        std::mem::replace(&mut tallied.state, DrainState::Sending) == DrainState::Failing
    }

    /// Lines went out before a connection broke.
    pub(super) fn out(&self, lines: u64) {
        self.lock().sent += lines;
    }

    /// Nothing was taken. Answers whether that is new.
    pub(super) fn failed(&self, why: String, now: Timestamp) -> bool {
        let mut tallied = self.lock();
        tallied.error = Some(why);
        tallied.failing_since.get_or_insert(now);
        std::mem::replace(&mut tallied.state, DrainState::Failing) != DrainState::Failing
    }

    pub(super) fn dropped(&self, lines: u64, now: Timestamp) {
        let mut tallied = self.lock();
        tallied.dropped += lines;
        tallied.last_dropped = Some(now);
    }

    fn lock(&self) -> MutexGuard<'_, Tallied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
