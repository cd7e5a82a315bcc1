//! [`SegmentWriter`]: the files that a stream's lines are appended to.
//!
//! A segment is named after its stream and the id of its first line (`stdout-00000000000000000042.log`), so it is never
//! renamed, and a line is found by its id. What is there when the daemon starts is gone on with: a torn last line is
//! cut off, and ids continue. When the disk is full, lines are dropped and counted, and a line says so once there is
//! room.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::backward::Backward;
use super::lines::Cut;
use super::record::{Line, Stream, WriteBatch, encode, now};
use super::segment_files::{file_name, open, segments};
use super::settings::LogSettings;
use crate::regular;

/// Whose lines those about lost lines are.
const OURSELVES: &str = "procserver";

/// Bytes that are gathered before they are written.
const WRITE: usize = 256 * 1024;

/// The segments of one stream, as their only writer.
#[derive(Debug)]
pub struct SegmentWriter {
    settings: LogSettings,
    stream: Stream,
    current: Option<Current>,
    next_id: u64,
    dropped: Dropped,
}

/// The newest segment.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Current {
    /// Whether somebody has removed the file, or its name is another's by now: nobody finds what is written to it.
    fn is_removed(&self) -> bool {
        let same = |open: rustix::fs::Stat, found: rustix::fs::Stat| {
            (open.st_dev, open.st_ino) == (found.st_dev, found.st_ino)
        };
        match (rustix::fs::fstat(&self.file), rustix::fs::lstat(&self.path)) {
            (Ok(open), Ok(found)) => !same(open, found),
            (_, Err(error)) => error == rustix::io::Errno::NOENT,
            (Err(_), _) => false,
        }
    }
}

/// Lines that could not be stored and have not been told.
#[derive(Debug, Default)]
struct Dropped {
    lines: u64,
    reason: String,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The id of its first line.
    pub first_id: u64,
    /// How many of its lines were stored: the first ones.
    pub stored: usize,
}

impl SegmentWriter {
    /// The segments of `stream`; nothing is opened before it is needed.
    #[must_use]
    pub fn new(settings: LogSettings, stream: Stream) -> Self {
        Self {
            settings,
            stream,
            current: None,
            next_id: 1,
            dropped: Dropped::default(),
        }
    }

    /// Stores `batch`. Never fails: lines that cannot be stored are counted, told in the daemon's log, and in this one
    /// as soon as that can be written.
    pub fn append(&mut self, batch: &WriteBatch<'_>) -> Appended {
        if self.dropped.lines > 0 {
            self.tell_dropped();
        }
        let first_id = match self.next_id() {
            Ok(id) => id,
            Err(error) => {
                self.drop_lines(batch.lines.len(), &error);
                return Appended {
                    first_id: self.next_id,
                    stored: 0,
                };
            }
        };
        let stored = match self.write_lines(batch) {
            Ok(()) => batch.lines.len(),
            Err(error) => {
                let stored = usize::try_from(self.next_id.saturating_sub(first_id)).unwrap_or(0);
                self.drop_lines(batch.lines.len() - stored, &error);
                stored
            }
        };
        Appended { first_id, stored }
    }

    /// The id that the next line will get.
    ///
    /// # Errors
    /// When the newest segment cannot be read.
    pub fn next_id(&mut self) -> io::Result<u64> {
        // Once a batch: each line would be too often.
        self.current = self.current.take().filter(|current| !current.is_removed());
        self.current()?;
        Ok(self.next_id)
    }

    /// Writes all lines in as few calls as segments allow; `next_id` counts those that are on disk.
    fn write_lines(&mut self, batch: &WriteBatch<'_>) -> io::Result<()> {
        let head = batch.head();
        let (mut buffer, mut gathered) = (Vec::new(), 0);
        for line in &batch.lines {
            let before = buffer.len();
            encode(&mut buffer, self.next_id + gathered, &head, line);
            let size = self.current()?.size;
            if buffer.len() as u64 + size > self.settings.segment_size && size + before as u64 > 0 {
                let rest = buffer.split_off(before);
                self.write(&buffer, gathered)?;
                self.rotate()?;
                (buffer, gathered) = (rest, 0);
            } else if buffer.len() > WRITE {
                self.write(&buffer, gathered + 1)?;
                buffer.clear();
                gathered = 0;
                continue;
            }
            gathered += 1;
        }
        self.write(&buffer, gathered)
    }

    fn write(&mut self, bytes: &[u8], lines: u64) -> io::Result<()> {
        if lines == 0 {
            return Ok(());
        }
        let current = self.current()?;
        if let Err(error) = current.file.write_all(bytes) {
            // Half of it may be there. If that cannot be undone now it will be when the segment is opened again.
            if current.file.set_len(current.size).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        current.size += bytes.len() as u64;
        self.next_id += lines;
        Ok(())
    }

    /// Ends the newest segment and begins another; the oldest go first, which also makes room.
    fn rotate(&mut self) -> io::Result<()> {
        self.current = None;
        let existing = segments(&self.settings.directory, self.stream)?;
        let kept = self.settings.segments.max(1) - 1;
        let (gone, left) = existing.split_at(existing.len().saturating_sub(kept));
        for (_, path) in gone {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.begins_at(left);
        let path = self
            .settings
            .directory
            .join(file_name(self.stream, self.next_id));
        self.current = Some(Current {
            file: open(&path)?,
            path,
            size: 0,
        });
        Ok(())
    }

    fn current(&mut self) -> io::Result<&mut Current> {
        if self.current.is_none() {
            let (current, next_id) = self.recover()?;
            self.current = Some(current);
            // Ids never go back, whichever segments somebody has taken away.
            self.next_id = next_id.max(self.next_id);
        }
        self.current
            .as_mut()
            .ok_or_else(|| io::Error::other("no segment is open"))
    }

    /// Goes on with the newest segment, or begins the first.
    fn recover(&self) -> io::Result<(Current, u64)> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.settings.directory)?;
        let existing = segments(&self.settings.directory, self.stream)?;
        self.begins_at(&existing);
        let (first_id, path) = existing.last().cloned().unwrap_or_else(|| {
            let name = file_name(self.stream, self.next_id);
            (self.next_id, self.settings.directory.join(name))
        });
        let file = open(&path)?;
        let mut lines = Backward::new(regular::open(&path)?)?;
        let size = lines.offset();
        file.set_len(size)?;
        let mut next_id = first_id;
        while let Some((_, line)) = lines.previous()? {
            if let Some(line) = Line::parse(line) {
                next_id = line.id.saturating_add(1);
                break;
            }
        }
        Ok((Current { file, path, size }, next_id))
    }

    /// These segments are kept, and what comes.
    fn begins_at(&self, kept: &[(u64, PathBuf)]) {
        let first = kept.first().map_or(self.next_id, |(first, _)| *first);
        self.settings.stored.begins_at(self.stream, first);
    }

    fn drop_lines(&mut self, lines: usize, error: &io::Error) {
        if self.dropped.lines == 0 {
            let directory = self.settings.directory.display();
            let stream = self.stream.name();
            ::log::error!("cannot write the {stream} log in {directory}, dropping lines: {error}");
        }
        self.dropped.lines += lines as u64;
        self.dropped.reason = error.to_string();
    }

    /// Writes what was dropped into the log itself, if that can be written again.
    fn tell_dropped(&mut self) {
        let Dropped { lines, reason } = &self.dropped;
        let text = format!("{lines} lines are missing here, they could not be written: {reason}");
        let batch = WriteBatch {
            stream: self.stream,
            time: now(),
            process: OURSELVES,
            release: 0,
            lines: vec![Cut {
                text: text.as_bytes(),
                partial: false,
            }],
        };
        if self.write_lines(&batch).is_ok() {
            ::log::info!("{}: {text}", self.settings.directory.display());
            self.dropped = Dropped::default();
        }
    }
}

#[cfg(test)]
mod tests;
