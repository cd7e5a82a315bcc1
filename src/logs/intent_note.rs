//! [`IntentNote`]: the write-ahead note by which no line is stored twice after a kill.
//!
//! Lines are stored first and taken out of the FIFO after. A daemon that is killed between the two leaves them in both
//! places. So before lines are stored the id of the first is noted, and the note is cleared after they were taken. A
//! new daemon that finds a note compares what was stored from that id on with what is in the FIFO, and takes out what
//! is already stored. Without a note nothing is compared: a process may well write the same line again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::Stream;

/// The note of one FIFO: eight bytes, overwritten in place.
#[derive(Debug)]
pub struct IntentNote {
    file: File,
    path: PathBuf,
}

impl IntentNote {
    /// Opens or makes the note of `process` among the logs in `directory`. Also returns the first id of lines that were
    /// stored but perhaps not consumed.
    ///
    /// # Errors
    /// When it can neither be opened nor made.
    pub fn open(
        directory: &Path,
        stream: Stream,
        process: &str,
    ) -> io::Result<(Self, Option<u64>)> {
        let process = process.replace('/', "_");
        let path = directory.join(format!("{}-{process}.taking", stream.name()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(0o640);
        let flags = rustix::fs::OFlags::NOFOLLOW;
        let file = crate::regular::open_with(&path, &mut options, flags)?;
        let mut noted = [0; 8];
        let unfinished = match file.read_exact_at(&mut noted, 0) {
            Ok(()) => Some(u64::from_le_bytes(noted)).filter(|id| *id > 0),
            Err(_) => None,
        };
        Ok((Self { file, path }, unfinished))
    }

    /// Notes that lines from `first_id` on are about to be stored and consumed. Ignores errors: they are no reason to
    /// lose lines.
    pub fn begin(&self, first_id: u64) {
        let _ = self.file.write_all_at(&first_id.to_le_bytes(), 0);
    }

    pub fn end(&self) {
        self.begin(0);
    }

    /// Removes it: the process is gone for good.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
