//! [`Source`]: one output of one process, read from its FIFO.

use std::io;
use std::path::{Path, PathBuf};

use super::fifo::{Fifo, Window};
use super::intent_note::IntentNote;
use super::lines::{Cut, cut};
use super::record::{Stream, WriteBatch, now};
use super::store::Store;

/// Lines taken in one turn: bounds what a turn costs in memory when all of them are empty.
const TURN_LINES: usize = 2048;

/// A turn that saw fewer bytes than this saw all there was; the kernel announces what comes later.
const SURELY_ALL: usize = 4096;

#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    process: String,
    pub release: u64,
    /// Which log it goes to.
    pub stream: Stream,
    pub fifo: Fifo,
    /// None where it cannot be made: a kill may then store lines twice.
    note: Option<IntentNote>,
}

/// What happens to an unfinished line when a source is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It is stored as partial: the process has ended.
    Store,
    /// It stays in the FIFO: the process lives on, and so does the line.
    Leave,
}

/// What a source waits for after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another turn: there may be more already.
    Turn,
    /// [`Fifo::written`].
    Written,
    /// [`Fifo::written_or_full`]: the beginning of a line was left.
    WrittenOrFull,
}

impl Source {
    /// Opens the FIFO at `path`. What a daemon before this one had stored but not taken out is taken out now.
    ///
    /// # Errors
    /// When there is no FIFO at `path` that can be read.
    pub fn open(
        path: &Path,
        stream: Stream,
        process: &str,
        release: u64,
        window: &Window,
        store: &mut Store,
    ) -> io::Result<Self> {
        let fifo = Fifo::open(path)?;
        let mut note = None;
        match store.note(stream, process) {
            Ok((opened, unfinished)) => {
                if let Some(first_id) = unfinished {
                    let stored = store.written_by(stream, process, first_id)?;
                    let mut bytes = fifo.look(window)?;
                    if bytes.starts_with(&stored) {
                        fifo.take(&mut bytes[..stored.len()])?;
                    }
                    opened.end();
                }
                note = Some(opened);
            }
            Err(error) => ::log::warn!("{}: no note of what is taken: {error}", path.display()),
        }
        Ok(Self {
            path: path.to_owned(),
            process: process.to_owned(),
            release,
            stream,
            fifo,
            note,
        })
    }

    /// Whether its lines are those of `process`.
    #[must_use]
    pub fn is_of(&self, process: &str) -> bool {
        self.process == process
    }

    /// Forgets what only matters to a process that may come back.
    pub fn close(self) {
        if let Some(note) = self.note {
            note.remove();
        }
    }

    /// Hands the lines that are there to `store`, up to 64 KiB of them, then takes them out of the FIFO.
    ///
    /// # Errors
    /// When the FIFO cannot be read.
    pub fn turn(&self, window: &Window, store: &mut Store) -> io::Result<Next> {
        let bytes = self.fifo.look(window)?;
        let seen = bytes.len();
        // A small pipe may be full before a line is long enough to be cut; nothing more would ever come.
        let taken = self.hand_on(bytes, store, |fifo| fifo.is_stuck_with(seen))?;
        Ok(match seen - taken {
            _ if taken > 0 && seen >= SURELY_ALL => Next::Turn,
            0 => Next::Written,
            _ => Next::WrittenOrFull,
        })
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

    /// Stores the lines in `bytes`, then takes them out: in this order a kill between the two loses nothing. Where
    /// there is no line, and `unfinished` says so, the beginning of one is stored as partial.
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
        if lines.is_empty() {
            return Ok(0);
        }
        if let Some(note) = &self.note {
            note.begin(store.next_id(self.stream).unwrap_or(0));
        }
        store.append(&WriteBatch {
            stream: self.stream,
            time: now(),
            process: &self.process,
            release: self.release,
            lines,
        });
        self.fifo.take(&mut bytes[..taken])?;
        if let Some(note) = &self.note {
            note.end();
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::LogSettings;
    use super::*;

    struct Bench {
        root: tempfile::TempDir,
        window: Window,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&root.path().join("stdout"), mode).unwrap();
            let window = Window::new().unwrap();
            Self { root, window }
        }

        fn life(&self) -> (Source, Store) {
            let settings = LogSettings {
                directory: self.root.path().join("logs"),
                segment_size: 100_000,
                segments: 2,
                stored: Default::default(),
            };
            let mut store = Store::new(&settings);
            let path = self.root.path().join("stdout");
            let stream = Stream::Stdout;
            let source = Source::open(&path, stream, "web.1", 1, &self.window, &mut store).unwrap();
            (source, store)
        }

        fn print(&self, text: &str) {
            std::fs::write(self.root.path().join("stdout"), text).unwrap();
        }
    }

    fn written(store: &mut Store) -> String {
        let bytes = store.written_by(Stream::Stdout, "web.1", 1).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn what_was_stored_but_not_taken_is_not_stored_again() {
        let bench = Bench::new();
        // The process keeps its end of the FIFO open all the time.
        let _process = Fifo::open(&bench.root.path().join("stdout")).unwrap();
        let (source, mut store) = bench.life();
        bench.print("one\ntwo\nthr");
        let copy = source.fifo.look(&bench.window).unwrap();
        source.turn(&bench.window, &mut store).unwrap();
        // As if it had been killed before the lines were taken.
        let rest = source.fifo.unread() as usize;
        source.fifo.take(&mut vec![0; rest]).unwrap();
        bench.print(std::str::from_utf8(&copy).unwrap());
        source.note.as_ref().unwrap().begin(1);
        drop((source, store));

        let (source, mut store) = bench.life();
        bench.print("ee\n");
        source.turn(&bench.window, &mut store).unwrap();
        assert_eq!(written(&mut store), "one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn the_same_line_again_is_stored_again() {
        let bench = Bench::new();
        let _process = Fifo::open(&bench.root.path().join("stdout")).unwrap();
        let (source, mut store) = bench.life();
        bench.print("tick\n");
        source.turn(&bench.window, &mut store).unwrap();
        drop((source, store));
        bench.print("tick\n");
        let (source, mut store) = bench.life();
        source.turn(&bench.window, &mut store).unwrap();
        assert_eq!(written(&mut store), "tick\ntick\n");
    }
}
