//! [`Ends`]: how tasks have ended (pure).
//!
//! A listing tells of a signal, and not whose it was. What the task has printed last tells whether the kernel ended it for
//! want of memory, and may come later: for a while its end is not told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::exit_status::{ExitRecord, ExitStatus};
use crate::swarm::seen::{SeenTask, TaskState};

/// How long what a task has printed last may take to come.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// How tasks have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Those that ended, each with when that was seen first.
    ended: Vec<(SeenTask, Instant)>,
    /// Those of which nothing is to come.
    heard: BTreeSet<String>,
    /// Those of which the kernel has ended processes for want of memory.
    out_of_memory: BTreeSet<String>,
    /// Those that the swarm itself ends.
    dismissed: BTreeSet<String>,
    /// Those that have told that they end.
    ending: BTreeSet<String>,
}

impl Ends {
    /// Takes the tasks of the last listing.
    pub(super) fn see(&mut self, tasks: &[SeenTask], now: Instant) {
        let known: BTreeMap<String, Instant> = std::mem::take(&mut self.ended)
            .into_iter()
            .map(|(task, since)| (task.id, since))
            .collect();
        let over = tasks.iter().filter(|task| task.state.is_over());
        self.ended = over
            .map(|task| (task.clone(), known.get(&task.id).copied().unwrap_or(now)))
            .collect();
        let is_there = |id: &String| tasks.iter().any(|task| task.id == *id);
        self.heard.retain(is_there);
        self.out_of_memory.retain(is_there);
        self.ending.retain(is_there);
        let dismissed = tasks.iter().filter(|task| task.is_dismissed);
        self.dismissed = dismissed.map(|task| task.id.clone()).collect();
    }

    /// Whether the swarm itself ends a task, to run it elsewhere or anew: it has not crashed.
    pub(super) fn is_dismissed(&self, task: &str) -> bool {
        self.dismissed.contains(task)
    }

    /// A task has told that it ends.
    pub(super) fn announce(&mut self, task: &str) {
        self.ending.insert(task.to_owned());
    }

    /// Whether a task has told that it ends, whatever the swarm says of it.
    pub(super) fn is_ending(&self, task: &str) -> bool {
        self.ending.contains(task)
    }

    /// A task has said how it ends, or all that it printed is read.
    pub(super) fn hear(&mut self, task: &str, is_out_of_memory: bool) {
        self.heard.insert(task.to_owned());
        if is_out_of_memory {
            self.out_of_memory.insert(task.to_owned());
        }
    }

    /// Whether it is not known yet how a task has ended.
    pub(super) fn is_open(&self, task: &str, now: Instant) -> bool {
        let Some((ended, since)) = self.ended.iter().find(|(ended, _)| ended.id == task) else {
            return false;
        };
        let is_killed = ended.state == TaskState::Ended(ExitStatus::Signal(9));
        let is_late = now.saturating_duration_since(*since) >= LAST_WORDS;
        is_killed && !is_late && !self.heard.contains(task)
    }

    /// How a task has ended, if it has.
    pub(super) fn of(&self, task: &str) -> Option<ExitRecord> {
        let (ended, _) = self.ended.iter().find(|(ended, _)| ended.id == task)?;
        let status = match ended.state {
            TaskState::Ended(status) => status,
            _ => ExitStatus::Unknown,
        };
        let is_killed = status == ExitStatus::Signal(9);
        Some(ExitRecord {
            status,
            at: ended.at,
            oom: is_killed && self.out_of_memory.contains(task),
            reason: ended.message.clone(),
        })
    }
}
