//! Followers: readers that stay for what comes. Each has a bounded queue; one that does not read loses lines and is
//! told how many, and nobody waits for it.

use std::cell::OnceCell;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::query::{Chunk, Query};
use super::record::{Record, WriteBatch};

/// Chunks a reader may have unread. A chunk is a turn's worth of lines (64 KiB of text).
pub const QUEUE: usize = 8;

/// Chunks that all readers of a log may have unread together. Beyond it each has three at most.
const MOST_QUEUED: usize = 64;

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
    lost: u64,
}

impl Follower {
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

    /// Tells what it lost, if there is room to.
    fn settle(&mut self) -> bool {
        if self.lost > 0 && self.offer(Chunk::Lost(self.lost)) {
            self.lost = 0;
        }
        self.lost == 0
    }
}

/// All who follow the logs of one app.
#[derive(Debug, Default)]
pub struct Followers(Vec<Follower>);

impl Followers {
    /// Adds one. It is given what is published from now on.
    pub fn add(&mut self, reader: Reader) {
        self.0.push(Follower { reader, lost: 0 });
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
        let is_full = self.0.iter().map(Follower::queued).sum::<usize>() >= MOST_QUEUED;
        let shared = OnceCell::new();
        for follower in &mut self.0 {
            if !follower.reader.query.wants_batch(batch) {
                continue;
            }
            let has_room = !is_full || follower.queued() < 2;
            let settled = has_room && follower.settle();
            let records = shared.get_or_init(|| Arc::new(batch.records(first_id, stored)));
            let records = follower.wanted(records);
            let wanted = records.len() as u64;
            if wanted > 0 {
                let offered = settled && follower.offer(Chunk::Lines(records));
                follower.lost += if offered { 0 } else { wanted };
            }
            follower.lost += unstored;
        }
    }

    /// Tells those who lost lines, where there is room by now; false when some still have to be told.
    pub fn settle(&mut self) -> bool {
        self.forget_gone();
        for follower in &mut self.0 {
            follower.settle();
        }
        !self.owe()
    }

    /// Whether somebody lost lines and has not been told.
    #[must_use]
    pub fn owe(&self) -> bool {
        self.0.iter().any(|follower| follower.lost > 0)
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
        for turn in 0..4 {
            followers.publish(&batch("web.1", 10), 1 + turn * 10, 10);
        }
        assert!(followers.owe() && !followers.settle());
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 1));
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[9].id == 20));
        assert!(followers.settle() && !followers.owe());
        assert_eq!(chunks.try_recv(), Ok(Chunk::Lost(20)));
        followers.publish(&batch("web.1", 1), 41, 1);
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 41));
    }

    #[test]
    fn only_what_is_wanted_comes_and_what_was_not_stored_counts_as_lost() {
        let mut followers = Followers::default();
        let (reader, mut chunks) = reader(Some("web"), 4);
        followers.add(reader);
        followers.publish(&batch("worker.1", 1), 1, 1);
        followers.publish(&batch("web.2", 3), 2, 1);
        followers.settle();
        assert!(matches!(chunks.try_recv(), Ok(Chunk::Lines(lines)) if lines.len() == 1));
        assert_eq!(chunks.try_recv(), Ok(Chunk::Lost(2)));
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
        let queued: usize = all.iter().map(|chunks| chunks.len()).sum();
        assert!((50..=50 + MOST_QUEUED).contains(&queued), "{queued}");
        let first = all[0].try_recv();
        assert!(matches!(&first, Ok(Chunk::Lines(lines)) if Arc::strong_count(lines) == 50));
        // Who reads is served, whatever the others do.
        while all[0].try_recv().is_ok() {}
        followers.publish(&batch("web.1", 1), 99, 1);
        assert_eq!(all[0].try_recv(), Ok(Chunk::Lost(6)));
        assert!(matches!(all[0].try_recv(), Ok(Chunk::Lines(lines)) if lines[0].id == 99));
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
