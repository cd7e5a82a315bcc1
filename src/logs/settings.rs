//! [`LogSettings`]: where an app's logs are and how large they may grow.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// Bytes after which a segment is rotated.
    pub segment_size: u64,
    /// SegmentWriter kept per stream, the current one included.
    pub segments: usize,
    /// Counts the bytes of the lines that are stored. It outlives the actor.
    pub stored: Arc<AtomicU64>,
}
