//! Followers: readers that stay for what comes. Each has a bounded queue; one that does not read loses lines and is
//! told how many, and nobody waits for it. The newest lines are kept for it: once it reads, it ends where the log does.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::query::{Chunk, Query};
use super::record::{Record, WriteBatch};

/// Chunks a reader may have unread. A chunk is a turn's worth of lines (64 KiB of text).
pub const QUEUE: usize = 8;

/// Chunks that all readers of a log may have unread together. Beyond it each has four at most.
const MOST_QUEUED: usize = 64;

/// Chunks that wait for room in the queue of a reader: the newest.
const NEWEST: usize = 2;

/// A reader, whether it is still given stored lines or already follows.
#[derive(Debug)]
pub struct Reader {
    pub query: Query,
    /// Where it is given them.
    pub chunks: mpsc::Sender<Chunk>,
    /// Counts it among the readers of its log for as long as it is here.
    pub counted: Arc<()>,
}

#[derive(Debug)]
struct Follower {
    reader: Reader,
    /// What came when its queue was full.
    newest: VecDeque<Waiting>,
    /// Lines that are left out after those.
    lost: u64,
}

/// Lines for which there was no room.
#[derive(Debug)]
struct Waiting {
    /// Lines that are left out before these.
    lost: u64,
    lines: Arc<Vec<Record>>,
}

impl Follower {
    fn new(reader: Reader) -> Self {
        Self {
            reader,
            newest: VecDeque::new(),
            lost: 0,
        }
    }

    /// Chunks that it has not read.
    fn queued(&self) -> usize {
        self.reader.chunks.max_capacity() - self.reader.chunks.capacity()
    }

    /// Those of the records that it wants.
    fn wanted(&self, records: &Arc<Vec<Record>>) -> Arc<Vec<Record>> {
        let query = &self.reader.query;
        if query.grep.is_none() {
            return Arc::clone(records);
        }
        let wanted = records
            .iter()
            .filter(|record| query.wants_text(&record.text));
        Arc::new(wanted.cloned().collect())
    }

    /// Queues `chunk`; false when there was no room.
    fn offer(&self, chunk: Chunk) -> bool {
        !matches!(
            self.reader.chunks.try_send(chunk),
            Err(TrySendError::Full(_))
        )
    }

    /// Tells it that `lost` lines are left out; returns how many still have to be told when there was no room.
    fn tell(&self, lost: u64) -> u64 {
        let told = lost == 0 || self.offer(Chunk::Lost(lost));
        if told { 0 } else { lost }
    }

    /// Lets `lines` wait; the oldest of those that wait are left out for them.
    fn keep(&mut self, lines: Arc<Vec<Record>>) {
        let lost = std::mem::take(&mut self.lost);
        self.newest.push_back(Waiting { lost, lines });
        while self.newest.len() > NEWEST {
            let Some(oldest) = self.newest.pop_front() else {
                return;
            };
            let left_out = oldest.lost + oldest.lines.len() as u64;
            match self.newest.front_mut() {
                Some(next) => next.lost += left_out,
                None => self.lost += left_out,
            }
        }
    }

    /// Gives it what waits, and tells what it lost, as far as there is room.
    fn settle(&mut self) {
        while let Some(mut oldest) = self.newest.pop_front() {
            oldest.lost = self.tell(oldest.lost);
            if oldest.lost > 0 || !self.offer(Chunk::Lines(Arc::clone(&oldest.lines))) {
                return self.newest.push_front(oldest);
            }
        }
        self.lost = self.tell(self.lost);
    }

    /// Whether it has to be given or told something.
    fn is_owed(&self) -> bool {
        self.lost > 0 || !self.newest.is_empty()
    }
}

/// All who follow the logs of one app.
#[derive(Debug, Default)]
pub struct Followers(Vec<Follower>);

impl Followers {
    /// Adds one. It is given what is published from now on.
    pub fn add(&mut self, reader: Reader) {
        self.0.push(Follower::new(reader));
    }

    /// Adds one that cannot be given new lines yet: they wait in the queue that is returned.
    pub fn add_waiting(&mut self, reader: &Reader) -> mpsc::Receiver<Chunk> {
        let (chunks, waiting) = mpsc::channel(QUEUE);
        self.add(Reader {
            query: reader.query.clone(),
            chunks,
            // Its other half is the one that counts.
            counted: Arc::default(),
        });
        waiting
    }

    /// Gives the first `stored` lines of `batch` to the followers that want them and counts the rest as lost.
    pub fn publish(&mut self, batch: &WriteBatch<'_>, first_id: u64, stored: usize) {
        self.forget_gone();
        let unstored = batch.lines.len().saturating_sub(stored) as u64;
        let is_full = self.is_full();
        let shared = OnceCell::new();
        for follower in &mut self.0 {
            if !follower.reader.query.wants_batch(batch) {
                continue;
            }
            let has_room = !is_full || follower.queued() < 2;
            let records = shared.get_or_init(|| Arc::new(batch.records(first_id, stored)));
            let records = follower.wanted(records);
            // What waits goes first, or it would make room for these.
            if has_room {
                follower.settle();
            }
            if !records.is_empty() {
                follower.keep(records);
            }
            follower.lost += unstored;
            if has_room {
                follower.settle();
            }
        }
    }

    /// Gives those who were too slow what waits for them, where there is room by now; false when some still have to
    /// wait.
    pub fn settle(&mut self) -> bool {
        self.forget_gone();
        let is_full = self.is_full();
        for follower in &mut self.0 {
            if !is_full || follower.queued() < 2 {
                follower.settle();
            }
        }
        !self.owe()
    }

    /// Whether something waits for somebody.
    #[must_use]
    pub fn owe(&self) -> bool {
        self.0.iter().any(Follower::is_owed)
    }

    fn is_full(&self) -> bool {
        self.0.iter().map(Follower::queued).sum::<usize>() >= MOST_QUEUED
    }

    /// Removes followers that went away.
    pub fn forget_gone(&mut self) {
        self.0
            .retain(|follower| !follower.reader.chunks.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Cut;
    use super::super::record::{Stream, now};
    use super::*;

    fn reader(process: Option<&str>, room: usize) -> (Reader, mpsc::Receiver<Chunk>) {
        let (chunks, receiver) = mpsc::channel(room);
        let query = Query {
            process: process.map(str::to_owned),
            follow: true,
            ..Query::all(&[Stream::Stdout])
        };
        let counted = Arc::default();
        (
            Reader {
                query,
                chunks,
                counted,
            },
            receiver,
        )
    }

    fn batch(process: &str, lines: usize) -> WriteBatch<'_> {
        let line = Cut {
            text: b"x",
            partial: false,
        };
        WriteBatch {
            stream: Stream::Stdout,
            time: now(),
            process,
            release: 1,
            lines: vec![line; lines],
        }
    }

    #[test]
    fn who_does_not_read_is_told_how_many_lines_it_lost() {
        let mut followers = Followers::default();
        let (reader, mut chunks) = reader(None, 2);
        followers.add(reader);
        for turn in 0..6 {
            followers.publish(&batch("web.1", 10), 1 + turn * 10, 10);
        }
        assert!(followers.owe() && !followers.settle());
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 1));
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[9].id == 20));
        // The newest come after the gap, as far as there is room.
        assert!(!followers.settle() && followers.owe());
        assert_eq!(chunks.try_recv(), Ok(Chunk::Lost(20)));
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 41));
        followers.publish(&batch("web.1", 1), 61, 1);
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[9].id == 60));
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 61));
        assert!(!followers.owe() && chunks.try_recv().is_err());
    }

    #[test]
    fn only_what_is_wanted_comes_and_what_was_not_stored_counts_as_lost() {
        let mut followers = Followers::default();
        let (reader, mut chunks) = reader(Some("web"), 4);
        followers.add(reader);
        followers.publish(&batch("worker.1", 1), 1, 1);
        followers.publish(&batch("web.2", 3), 2, 1);
        followers.publish(&batch("web.2", 1), 3, 1);
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines.len() == 1));
        assert_eq!(chunks.try_recv(), Ok(Chunk::Lost(2)));
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 3));
    }

    #[test]
    fn those_who_do_not_read_share_what_they_hold_and_hold_little_together() {
        let mut followers = Followers::default();
        let mut all = Vec::new();
        for _ in 0..50 {
            let (reader, chunks) = reader(None, QUEUE);
            followers.add(reader);
            all.push(chunks);
        }
        for turn in 0..QUEUE as u64 {
            followers.publish(&batch("web.1", 1), 1 + turn, 1);
        }
        followers.settle();
        let queued: usize = all.iter().map(|chunks| chunks.len()).sum();
        assert!((50..=50 + MOST_QUEUED).contains(&queued), "{queued}");
        let first = all[0].try_recv();
        assert!(matches!(&first, Ok(Chunk::Lines(lines)) if Arc::strong_count(lines) == 50));
        // Who reads is served, whatever the others do.
        while all[0].try_recv().is_ok() {}
        followers.publish(&batch("web.1", 1), 99, 1);
        assert_eq!(all[0].try_recv(), Ok(Chunk::Lost(4)));
        for id in [7, 8, 99] {
            assert!(matches!(all[0].try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == id));
        }
    }

    #[test]
    fn who_went_away_is_forgotten() {
        let mut followers = Followers::default();
        let (reader, chunks) = reader(None, 1);
        let counted = Arc::clone(&reader.counted);
        followers.add(reader);
        drop(chunks);
        followers.publish(&batch("web.1", 1), 1, 1);
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}
