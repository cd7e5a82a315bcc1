//! [`Printed`]: up to when it is known what a task has printed, so that the next server goes on from there.
//!
//! A note is written once a second at most: after a kill, lines of that time may be in the log twice, and none is lost.
//! Everything here blocks.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::image::blobs::make_directory;
use crate::durable;

/// Between two writes of a note.
const SELDOM: Duration = Duration::from_secs(1);

/// A note that nobody wrote to for so long is of a task that went while no server saw it.
const OLD: Duration = Duration::from_hours(365 * 24);

/// Where the notes of all tasks are: `DATA/swarm/printed`.
#[derive(Clone, Debug)]
pub struct Notes {
    directory: PathBuf,
}

/// The note of one task.
#[derive(Clone, Debug)]
pub struct Printed {
    file: PathBuf,
    last: Option<jiff::Timestamp>,
    written: Option<Instant>,
    /// What is written is older than what is known.
    is_owed: bool,
}

impl Notes {
    /// The notes below `directory`, without those of tasks that are long gone.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn open(directory: PathBuf) -> std::io::Result<Self> {
        make_directory(&directory)?;
        let now = SystemTime::now();
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let written = entry.metadata().and_then(|found| found.modified());
            let age = written.map(|at| now.duration_since(at).unwrap_or_default());
            if age.is_ok_and(|age| age > OLD) {
                // Nothing depends on it.
                let _stays = std::fs::remove_file(entry.path());
            }
        }
        Ok(Self { directory })
    }

    /// The note of a task. An engine names tasks with letters and digits.
    #[must_use]
    pub fn of(&self, task: &str) -> Printed {
        let file = self.file(task);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Printed {
            last: text.trim().parse().ok(),
            file,
            written: None,
            is_owed: false,
        }
    }

    /// The task is gone: nobody will ask what it printed.
    pub fn forget(&self, task: &str) {
        // It may not be there.
        let _gone = std::fs::remove_file(self.file(task));
    }

    fn file(&self, task: &str) -> PathBuf {
        let name: String = task.chars().filter(char::is_ascii_alphanumeric).collect();
        self.directory.join(name)
    }
}

impl Printed {
    /// When the last line was printed that is known.
    #[must_use]
    pub fn last(&self) -> Option<jiff::Timestamp> {
        self.last
    }

    /// Notes a line that is in the log now. True: the note should be written.
    pub fn note(&mut self, time: jiff::Timestamp, now: Instant) -> bool {
        self.last = Some(time);
        let is_due = |at: Instant| now.saturating_duration_since(at) >= SELDOM;
        let due = self.written.is_none_or(is_due);
        if due {
            self.written = Some(now);
        }
        self.is_owed = !due;
        due
    }

    /// In what time the note should be written, should nothing more be printed until then.
    #[must_use]
    pub fn owed(&self, now: Instant) -> Option<Duration> {
        let written = self.written.filter(|_| self.is_owed)?;
        Some(SELDOM.saturating_sub(now.saturating_duration_since(written)))
    }

    /// The note is written now.
    pub fn settle(&mut self, now: Instant) {
        (self.written, self.is_owed) = (Some(now), false);
    }

    pub fn write(&self) {
        let Some(last) = self.last else { return };
        if let Err(error) =
            durable::replace_until_reboot(&self.file, last.to_string().as_bytes(), 0o600)
        {
            log::debug!("{}: {error}", self.file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_server_knows_what_this_one_wrote_and_nothing_of_a_task_that_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let notes = Notes::open(home.path().join("printed")).unwrap();
        let mut note = notes.of("t1");
        assert_eq!(note.last(), None);
        let (time, now) = (jiff::Timestamp::UNIX_EPOCH, Instant::now());
        assert!(note.note(time, now));
        assert_eq!(note.owed(now), None);
        assert!(!note.note(time, now));
        // Nothing more may be printed for a long time.
        assert_eq!(note.owed(now + SELDOM / 4), Some(SELDOM / 4 * 3));
        note.settle(now + SELDOM);
        assert_eq!(note.owed(now + SELDOM), None);
        assert!(note.note(time, now + 2 * SELDOM));
        note.write();
        assert_eq!(notes.of("t1").last(), Some(time));
        notes.forget("t1");
        assert_eq!(notes.of("t1").last(), None);
        assert!(
            notes
                .of("../t1")
                .file
                .starts_with(home.path().join("printed"))
        );
    }
}
