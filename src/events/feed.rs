//! [`Feed`]: hands out reports in order, keeps the last of them, and bounds what a slow follower may have unread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::broadcast;

use super::counts::Counts;
use super::report::{Report, StampedReport};

/// How many reports are kept for followers that come back, and how many a follower may have unread.
const KEPT: usize = 1024;

/// What a follower is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Event(Arc<StampedReport>),
    /// The follower was too slow and missed this many.
    Lost(u64),
}

/// Where reports go. Cheap to clone; all clones are one feed.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<VecDeque<Arc<StampedReport>>>,
    counts: Mutex<Counts>,
    sender: broadcast::Sender<Arc<StampedReport>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::default(),
            counts: Mutex::default(),
            sender: broadcast::Sender::new(KEPT),
        }))
    }
}

impl Feed {
    /// Sends a report to all followers, and to the log, and counts it.
    pub fn report(&self, report: Report) {
        self.counting().count(&report, Instant::now());
        log::log!(target: "procserver::events", report.level(), "{}", report.line());
        let mut kept = self.0.kept.lock().unwrap_or_else(|e| e.into_inner());
        let time = jiff::Timestamp::now();
        let micros = u64::try_from(time.as_microsecond()).unwrap_or(0);
        let id = kept.back().map_or(micros, |last| micros.max(last.id + 1));
        let event = Arc::new(StampedReport { id, time, report });
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // Under the lock, so that a follower misses nothing and gets nothing twice. An error: nobody follows.
        let _ = self.0.sender.send(event);
    }

    /// How often what is reported has happened, since the server's start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counting().clone()
    }

    /// Forgets what was counted for an app that is removed.
    pub fn forget(&self, app: &str) {
        self.counting().forget(app);
    }

    fn counting(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Follows the feed: first the kept events with ids above `after`, then new ones.
    #[must_use]
    pub fn follow(&self, after: Option<u64>) -> Follower {
        let kept = self.0.kept.lock().unwrap_or_else(|e| e.into_inner());
        let missed = after.map(|after| kept.iter().filter(|e| e.id > after).cloned().collect());
        Follower {
            missed: missed.unwrap_or_default(),
            new: self.0.sender.subscribe(),
        }
    }
}

/// One who follows the feed.
#[derive(Debug)]
pub struct Follower {
    missed: VecDeque<Arc<StampedReport>>,
    new: broadcast::Receiver<Arc<StampedReport>>,
}

impl Follower {
    /// The next item; `None` when the feed is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        if let Some(event) = self.missed.pop_front() {
            return Some(Item::Event(event));
        }
        match self.new.recv().await {
            Ok(event) => Some(Item::Event(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Item::Lost(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::By;

    fn report(deployment: u64) -> Report {
        Report::DeploymentStarted {
            app: "echo".into(),
            deployment,
            by: By::server(),
        }
    }

    fn number(item: Option<Item>) -> u64 {
        match item {
            Some(Item::Event(event)) => match event.report {
                Report::DeploymentStarted { deployment, .. } => deployment,
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_comes_back_is_given_what_was_missed_then_what_comes() {
        let feed = Feed::default();
        (0..3).for_each(|n| feed.report(report(n)));
        let mut all = feed.follow(Some(0));
        let first = match all.next().await {
            Some(Item::Event(event)) => event,
            other => panic!("{other:?}"),
        };
        let mut rest = feed.follow(Some(first.id));
        feed.report(report(3));
        for expected in 1..=3 {
            assert_eq!(number(rest.next().await), expected);
            assert_eq!(number(all.next().await), expected);
        }
        let mut new = feed.follow(None);
        feed.report(report(4));
        assert_eq!(number(new.next().await), 4);
    }

    #[tokio::test]
    async fn a_follower_that_does_not_read_is_told_how_many_it_lost() {
        let feed = Feed::default();
        let mut slow = feed.follow(None);
        let sent = KEPT as u64 + 10;
        (0..sent).for_each(|n| feed.report(report(n)));
        assert_eq!(slow.next().await, Some(Item::Lost(10)));
        assert_eq!(number(slow.next().await), 10);
        drop(feed);
    }

    #[test]
    fn ids_grow_within_a_microsecond_too() {
        let feed = Feed::default();
        (0..100).for_each(|n| feed.report(report(n)));
        let kept = feed.0.kept.lock().expect("not poisoned");
        assert!(
            kept.iter()
                .zip(kept.iter().skip(1))
                .all(|(a, b)| a.id < b.id)
        );
    }
}
