//! [`SpoolSpace`]: what the spools of a worker share: the directory of their files, and the memory that they take.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of bodies in a worker's memory from which on each gets less.
const MUCH: usize = 64 * 1024 * 1024;

/// The time between two log lines about files that cannot be used.
const TELL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct SpoolSpace {
    directory: Arc<Path>,
    most: u64,
    memory: Cell<usize>,
    told: Cell<Option<Instant>>,
}

impl SpoolSpace {
    /// Has files made in `directory`, each of `most` bytes at most.
    #[must_use]
    pub fn new(directory: &Path, most: u64) -> Self {
        Self {
            directory: directory.into(),
            most,
            memory: Cell::new(0),
            told: Cell::new(None),
        }
    }

    pub(super) fn directory(&self) -> Arc<Path> {
        Arc::clone(&self.directory)
    }

    /// Returns the most bytes of a file.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Whether so much is in memory that each body gets less.
    pub(super) fn is_scarce(&self) -> bool {
        self.memory.get() >= MUCH
    }

    /// Counts `now` bytes in place of the `before` bytes that were counted.
    pub(super) fn recount(&self, before: usize, now: usize) {
        self.memory.set(self.memory.get() - before + now);
    }

    /// Logs, at intervals, that a file cannot be used.
    pub(super) fn tell(&self, error: &io::Error) {
        let now = Instant::now();
        if self.told.get().is_none_or(|told| now - told >= TELL) {
            self.told.set(Some(now));
            let directory = self.directory.display();
            log::warn!(
                "{directory}: bodies cannot be kept here for slow clients ({error}): they are passed on at the client's speed"
            );
        }
    }
}

/// Counts the memory of a body that is in no spool.
#[derive(Debug)]
pub struct Held {
    room: Rc<SpoolSpace>,
    bytes: usize,
}

impl Held {
    #[must_use]
    pub fn new(room: &Rc<SpoolSpace>) -> Self {
        Self {
            room: Rc::clone(room),
            bytes: 0,
        }
    }

    /// Takes `bytes` in all, unless memory is scarce.
    pub fn more(&mut self, bytes: usize) -> bool {
        if self.room.is_scarce() {
            return false;
        }
        self.room.recount(self.bytes, bytes);
        self.bytes = bytes;
        true
    }

    /// Counts nothing any more.
    pub fn less(&mut self) {
        self.room.recount(std::mem::take(&mut self.bytes), 0);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.less();
    }
}
