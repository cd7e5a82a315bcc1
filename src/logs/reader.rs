//! [`LogReader`]: gives one reader its lines at the reader's own pace: first the stored lines, then new ones.

use std::io;

use actix::{Message, WeakRecipient};
use tokio::sync::mpsc;

use super::follow::Reader;
use super::merged::{Merged, Positions};
use super::query::Chunk;

/// One pass over what is stored, for one reader.
#[derive(Debug)]
pub struct LogReader {
    pub stored: Merged,
    /// The ids at which `stored` ends.
    pub ends: Positions,
    /// How many passes were before this one.
    pub passes: u32,
    /// The lines from `ends` on, if they are already kept for this reader.
    pub live: Option<mpsc::Receiver<Chunk>>,
    pub reader: Reader,
}

/// A reader has been given all lines with ids less than those of `ends` and wants what comes.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct CaughtUp {
    pub reader: Reader,
    pub ends: Positions,
    /// How many passes it took.
    pub passes: u32,
}

impl LogReader {
    /// Delivers until the reader goes away, or has all that is stored and does not follow, or goes back to the Log.
    pub async fn run(mut self, log: WeakRecipient<CaughtUp>) {
        loop {
            let (rest, chunk) = match self.next_stored().await {
                Some(next) => next,
                None => return,
            };
            self = rest;
            match chunk {
                // It was told so in the first pass.
                Ok(Some(Chunk::Begins(_))) if self.passes > 0 => {}
                Ok(Some(chunk)) => {
                    if self.reader.chunks.send(chunk).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => return ::log::error!("cannot read a stored log: {error}"),
            }
        }
        if !self.reader.query.follow {
            return;
        }
        let last = |(stream, end): &(_, u64)| (*stream, end.saturating_sub(1));
        let current = Chunk::Current(self.ends.iter().map(last).collect());
        if self.reader.chunks.send(current).await.is_err() {
            return;
        }
        match self.live.take() {
            Some(live) => self.forward(live).await,
            None => self.hand_back(&log),
        }
    }

    /// Reads on a blocking thread; `None` when the runtime ends.
    async fn next_stored(mut self) -> Option<(Self, io::Result<Option<Chunk>>)> {
        tokio::task::spawn_blocking(move || {
            let chunk = self.stored.next_chunk();
            (self, chunk)
        })
        .await
        .ok()
    }

    async fn forward(self, mut live: mpsc::Receiver<Chunk>) {
        loop {
            let chunk = tokio::select! {
                chunk = live.recv() => chunk,
                () = self.reader.chunks.closed() => return,
            };
            let Some(chunk) = chunk else { return };
            if self.reader.chunks.send(chunk).await.is_err() {
                return;
            }
        }
    }

    fn hand_back(mut self, log: &WeakRecipient<CaughtUp>) {
        let query = &mut self.reader.query;
        for (stream, end) in &self.ends {
            query.go_on_after(*stream, end.saturating_sub(1));
        }
        query.tail = None;
        // What comes now is newer, whatever a clock that was set back says.
        query.since = None;
        if let Some(log) = log.upgrade() {
            log.do_send(CaughtUp {
                reader: self.reader,
                ends: self.ends,
                passes: self.passes,
            });
        }
    }
}
