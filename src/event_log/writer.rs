//! [`EventLog`]: writes the events of the feed to a file that is rotated.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::thinning::Thinning;
use crate::events::Feed;
use crate::events::feed::{Follower, Item};
use crate::failpoint;
use crate::logs::restarts::Restarts;
use crate::logs::rotating_file::RotatingFile;

/// The name of the file, below the data directory.
const FILE: &str = "logs/events.log";

/// How often is looked whether there is to be told what was left out.
const LOOK: Duration = Duration::from_secs(60);

/// Where the events are that are kept, and in how many files at most.
#[derive(Clone, Debug)]
pub struct EventFiles {
    pub path: PathBuf,
    pub files: usize,
    taken: Arc<AtomicU64>,
}

impl EventFiles {
    #[must_use]
    pub fn below(data_dir: &Path, files: usize) -> Self {
        Self {
            path: data_dir.join(FILE),
            files,
            taken: Arc::default(),
        }
    }

    /// The number of the newest event that is in the files, if it is kept at all. Those behind it are in the feed.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }
}

/// Writes the events of the feed.
#[derive(Debug)]
pub struct EventLog {
    file: RotatingFile,
    thinning: Thinning,
    taken: Arc<AtomicU64>,
    is_failing: bool,
}

impl EventLog {
    /// Writes files of `size` bytes, which only root reads: reasons may tell of secrets.
    #[must_use]
    pub fn new(files: &EventFiles, size: u64) -> Self {
        Self {
            file: RotatingFile::new(files.path.clone(), size, files.files).that_is_private(),
            thinning: Thinning::default(),
            taken: Arc::clone(&files.taken),
            is_failing: false,
        }
    }

    /// Writes until `stop`, and then what has come until then. `last` is the number of the newest event that was taken.
    async fn run(&mut self, feed: &Feed, last: &mut u64, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut follower = feed.follow(Some(*last));
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                item = follower.next() => match item {
                    Some(item) => self.take(&item, last),
                    None => return,
                },
                _ = look.tick() => self.tell_left_out(false),
                () = &mut stop => break,
            }
        }
        self.take_what_waits(&mut follower, last);
        self.tell_left_out(true);
    }

    fn take_what_waits(&mut self, follower: &mut Follower, last: &mut u64) {
        while let Some(Some(item)) = follower.next().now_or_never() {
            self.take(&item, last);
        }
    }

    fn take(&mut self, item: &Item, last: &mut u64) {
        match item {
            Item::Event(event) => {
                *last = event.id;
                failpoint::reach("EventLog");
                let line = self.thinning.take(event, Instant::now());
                // Who goes on behind those that are kept finds others in the feed.
                if line.is_none_or(|line| self.write(&line)) {
                    self.taken.store(event.id, Ordering::Release);
                }
            }
            Item::Lost(count) => {
                self.write(&json!({
                    "id": last,
                    "time": jiff::Timestamp::now(),
                    "event": "events.lost",
                    "lost": count,
                }));
            }
        }
    }

    fn tell_left_out(&mut self, stops: bool) {
        for line in self.thinning.summaries(Instant::now(), stops) {
            self.write(&line);
        }
    }

    /// Whether it is kept.
    fn write(&mut self, line: &Value) -> bool {
        let written = self.file.append(format!("{line}\n").as_bytes());
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        let is_kept = written.is_ok();
        if let (Err(error), false) = (written, was_failing) {
            // The server's own log has them too.
            log::error!("events are not kept, they cannot be written: {error}");
        }
        is_kept
    }
}

/// Writes until `stop`. After a panic it goes on with a fresh log behind the event that was at work, at growing
/// intervals, which `stop` ends; the feed keeps the newest meanwhile.
pub async fn keep_writing(fresh: impl Fn() -> EventLog, feed: Feed, stop: oneshot::Receiver<()>) {
    // An error: who would stop it is gone. Others than a receiver may be asked again once it has come.
    let stop = stop.map(drop).shared();
    let (mut last, mut restarts) = (0, Restarts::new("EventLog", feed.clone()));
    loop {
        let (stops, before) = (stop.peek().is_some(), last);
        let run = async { fresh().run(&feed, &mut last, stop.clone()).await };
        let Some(delay) = restarts.run(run).await else {
            return;
        };
        if stops && last == before {
            // No event is at fault: the next one would do no better.
            return;
        }
        let _elapsed = tokio::time::timeout(delay, stop.clone()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::event_log::reader::{self, Wish};
    use crate::events::{By, Report};

    fn started(feed: &Feed, deployment: u64) {
        feed.report(Report::DeploymentStarted {
            app: "blog".into(),
            deployment,
            by: By::webhook(),
        });
    }

    #[tokio::test]
    async fn what_has_come_before_it_stops_is_written_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let files = EventFiles::below(home.path(), 3);
        for life in 0..2 {
            let feed = Feed::default();
            started(&feed, life * 2);
            let (stop, stops) = oneshot::channel();
            let of = files.clone();
            let writing = tokio::spawn(keep_writing(
                move || EventLog::new(&of, 1 << 20),
                feed.clone(),
                stops,
            ));
            started(&feed, life * 2 + 1);
            drop(stop);
            writing.await.unwrap();
        }
        let all = reader::newest(&files, &Wish::default(), |_| true).unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|e| e["deployment"].as_u64().unwrap())
            .collect();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(all[0]["by"], "webhook");
    }

    #[tokio::test]
    async fn a_stop_ends_the_delay_after_a_panic_and_what_waits_is_written() {
        let home = tempfile::tempdir().unwrap();
        let (feed, files) = (Feed::default(), EventFiles::below(home.path(), 1));
        started(&feed, 1);
        let (stop, stops) = oneshot::channel();
        let (made, stop) = (Cell::new(0), Cell::new(Some(stop)));
        let fresh = || {
            made.set(made.get() + 1);
            match made.get() {
                1 => panic!("after the first panic there is no delay"),
                2 => {
                    drop(stop.take());
                    panic!("after the second one there is");
                }
                _ => EventLog::new(&files, 1 << 20),
            }
        };
        let mut writing = pin!(keep_writing(fresh, feed, stops));
        let ended = loop {
            let ended = futures::poll!(&mut writing);
            if made.get() > 1 {
                break ended;
            }
            tokio::task::yield_now().await;
        };
        assert!(ended.is_ready(), "nothing is waited for any more");
        let all = reader::newest(&files, &Wish::default(), |_| true).unwrap();
        let names: Vec<_> = all.iter().map(|e| e["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["deployment.started", "actor.ended", "actor.ended"]);
        assert_eq!(files.taken(), all[2]["id"].as_u64().unwrap());
    }

    #[tokio::test]
    async fn a_log_that_panics_over_nothing_keeps_no_server_from_stopping() {
        let feed = Feed::default();
        let (stop, stops) = oneshot::channel();
        drop(stop);
        let made = Cell::new(0);
        let fresh = || -> EventLog {
            made.set(made.get() + 1);
            assert!(made.get() > 100, "again");
            unreachable!("it goes on for ever");
        };
        keep_writing(fresh, feed, stops).await;
        assert_eq!(made.get(), 2, "one more after the stop was seen");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_keeps_nobody() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("logs"), "in the way").unwrap();
        let (feed, files) = (Feed::default(), EventFiles::below(home.path(), 1));
        started(&feed, 1);
        let (stop, stops) = oneshot::channel();
        drop(stop);
        keep_writing(|| EventLog::new(&files, 100), feed, stops).await;
    }
}
