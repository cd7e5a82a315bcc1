//! One output of one process: its FIFO, and whose lines come out of it.

use std::io;
use std::path::PathBuf;

use super::fifo::{Fifo, Window};
use super::lines::{Cut, cut};
use super::record::{Batch, Stream, now};
use super::store::Store;

/// Lines taken in one turn: bounds what a turn costs in memory when all of them are empty.
const TURN_LINES: usize = 2048;

/// When a turn saw fewer bytes than this it saw all there was; what came later is announced again.
const SURELY_ALL: usize = 4096;

/// An attached FIFO.
#[derive(Debug)]
pub struct Source {
    /// The FIFO's own path.
    pub path: PathBuf,
    /// `web.1`.
    pub process: String,
    /// Its release.
    pub release: u64,
    /// Which log it goes to.
    pub stream: Stream,
    /// Where it comes from.
    pub fifo: Fifo,
}

/// What becomes of a line whose end is not there when a source is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It is stored as partial: the process has ended.
    Store,
    /// It stays in the FIFO: the process lives on, and so does the line.
    Leave,
}

impl Source {
    /// Hands the lines that are there to `store`, up to 64 KiB of them, then takes them out of the FIFO. True when there
    /// may be more already.
    ///
    /// # Errors
    /// When the FIFO cannot be read.
    pub fn turn(&self, window: &Window, store: &mut Store) -> io::Result<bool> {
        let bytes = self.fifo.look(window)?;
        let seen = bytes.len();
        // A small pipe may be full before a line is long enough to be cut; nothing more would ever come.
        let taken = self.hand_on(bytes, store, |fifo| fifo.is_full())?;
        Ok(taken > 0 && seen >= SURELY_ALL)
    }

    /// Hands on all that is there at this moment. What a process writes meanwhile may stay: it could write for ever.
    ///
    /// # Errors
    /// When the FIFO cannot be read.
    pub fn drain(
        &self,
        window: &Window,
        unfinished: Unfinished,
        store: &mut Store,
    ) -> io::Result<()> {
        let mut left = self.fifo.unread();
        while left > 0 {
            let bytes = self.fifo.look(window)?;
            let taken = self.hand_on(bytes, store, |_| unfinished == Unfinished::Store)?;
            if taken == 0 {
                break;
            }
            left = left.saturating_sub(taken as u64);
        }
        Ok(())
    }

    /// Stores the lines in `bytes`, then takes them out: in this order a kill between the two loses nothing. Where there
    /// is no line, and `unfinished` says so, the beginning of one is stored as partial.
    fn hand_on(
        &self,
        mut bytes: Vec<u8>,
        store: &mut Store,
        unfinished: impl FnOnce(&Fifo) -> bool,
    ) -> io::Result<usize> {
        let mut cuts = cut(&bytes);
        let mut lines: Vec<_> = cuts.by_ref().take(TURN_LINES).collect();
        let mut taken = cuts.consumed();
        if lines.is_empty() && !bytes.is_empty() && unfinished(&self.fifo) {
            taken = bytes.len();
            lines.push(Cut {
                text: &bytes,
                partial: true,
            });
        }
        if !lines.is_empty() {
            store.append(&Batch {
                stream: self.stream,
                time: now(),
                process: &self.process,
                release: self.release,
                lines,
            });
            self.fifo.take(&mut bytes[..taken])?;
        }
        Ok(taken)
    }
}
