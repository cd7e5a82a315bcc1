//! [`LogSettings`]: where an app's logs are and how large they may grow.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::record::Stream;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// Bytes after which a segment is rotated.
    pub segment_size: u64,
    /// SegmentWriter kept per stream, the current one included.
    pub segments: usize,
    /// Counts what is stored. It outlives the actor.
    pub stored: Arc<Stored>,
}

/// What is stored of an app's logs.
#[derive(Debug, Default)]
pub struct Stored {
    bytes: AtomicU64,
    first: [AtomicU64; Stream::ALL.len()],
    last: [AtomicU64; Stream::ALL.len()],
}

impl Stored {
    /// So many bytes of lines more.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of lines since the server's start.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The first line of `stream` that is kept has this id.
    pub fn begins_at(&self, stream: Stream, id: u64) {
        self.first[stream.index()].store(id, Ordering::Relaxed);
    }

    /// The id of the first line of `stream` that is kept; 0 while it is not known.
    #[must_use]
    pub fn first(&self, stream: Stream) -> u64 {
        self.first[stream.index()].load(Ordering::Relaxed)
    }

    /// The last line of `stream` has this id.
    pub fn is_at(&self, stream: Stream, id: u64) {
        self.last[stream.index()].store(id, Ordering::Relaxed);
    }

    /// The id of the last line of `stream`; 0 while it is not known.
    #[must_use]
    pub fn last(&self, stream: Stream) -> u64 {
        self.last[stream.index()].load(Ordering::Relaxed)
    }
}
