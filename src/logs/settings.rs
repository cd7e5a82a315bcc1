//! [`LogSettings`]: where an app's logs are and how large they may grow.

use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// Bytes after which a segment is rotated.
    pub segment_size: u64,
    /// SegmentWriter kept per stream, the current one included.
    pub segments: usize,
}
