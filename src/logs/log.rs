//! [`Log`]: the actor that owns an application's logs.
//!
//! It runs on the arbiter of the logs, where appends in small batches may block for a moment. Stored lines, which may
//! take long to read, are read on blocking threads and come through a bounded channel. The FIFOs take turns.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::FutureExt;
use tokio::sync::mpsc;

use super::fifo::Window;
use super::follow::{QUEUE, Reader};
use super::lines::{Cut, cut};
pub use super::query::{Chunk, Query};
use super::reader::{CaughtUp, LogReader};
use super::record::{Stream, WriteBatch, now};
use super::settings::LogSettings;
use super::source::{Next, Source, Unfinished};
use super::store::Store;
use crate::supervision::{Exit, ExitReason, Shutdown};

/// Readers that one app's log serves at a time. Each may hold about a mebibyte.
const MOST_READERS: usize = 64;

/// Passes over stored lines after which a reader gets new lines as they come, whether or not it has caught up.
const MOST_PASSES: u32 = 3;

/// How long a follower who lost lines waits to be told when no new line comes.
const SETTLE: Duration = Duration::from_millis(100);

/// Pause after a FIFO could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Lines of the server's own that are stored at once.
const APPEND_LINES: usize = 1024;

/// The actor that owns an application's logs.
#[derive(Debug)]
pub struct Log {
    settings: LogSettings,
    exit: ExitReason,
    store: Store,
    sources: BTreeMap<u64, (Source, SpawnHandle)>,
    next_source: u64,
    window: Option<Rc<Window>>,
    readers: Arc<()>,
    settling: bool,
}

impl Log {
    /// A Log writing below `settings.directory`.
    #[must_use]
    pub fn new(settings: LogSettings, exit: ExitReason) -> Self {
        Self {
            store: Store::new(&settings),
            settings,
            exit,
            sources: BTreeMap::new(),
            next_source: 0,
            window: None,
            readers: Arc::default(),
            settling: false,
        }
    }

    fn attach(
        &mut self,
        attach: &Attach,
        stream: Stream,
        ctx: &mut Context<Self>,
    ) -> Result<(), LogError> {
        let path = attach.directory.join(stream.name());
        let mut sources = self.sources.iter_mut();
        let attached = sources.find(|(_, (source, _))| source.path == path);
        if let Some((key, (source, _))) = attached {
            if source.is_of(&attach.process) && source.fifo.is_at(&path) {
                source.release = attach.release;
                return Ok(());
            }
            let key = *key;
            self.close(key, Unfinished::Store, ctx);
        }
        let (process, release) = (&attach.process, attach.release);
        let window = self.window().map_err(LogError::io(&path))?;
        let source = Source::open(&path, stream, process, release, &window, &mut self.store)
            .map_err(LogError::io(path))?;
        let key = self.next_source;
        self.next_source += 1;
        self.sources.insert(key, (source, turn_soon(key, ctx)));
        Ok(())
    }

    fn window(&mut self) -> io::Result<Rc<Window>> {
        let window = match self.window.take() {
            Some(window) => window,
            None => Rc::new(Window::new()?),
        };
        Ok(Rc::clone(self.window.insert(window)))
    }

    /// One turn for a source, and what follows from it: another one soon, or a wait for the process to write.
    fn turn(&mut self, key: u64, ctx: &mut Context<Self>) {
        let (Some((source, next)), Some(window)) = (self.sources.get_mut(&key), &self.window)
        else {
            return;
        };
        match source.turn(window, &mut self.store) {
            Ok(Next::Turn) => *next = turn_soon(key, ctx),
            Ok(Next::Written) => *next = turn_after(key, source.fifo.written(), ctx),
            Ok(Next::WrittenOrFull) => {
                *next = turn_after(key, source.fifo.written_or_full(), ctx);
            }
            Err(error) => {
                ::log::error!("{}: cannot be read: {error}", source.path.display());
                // What is written meanwhile stays in the FIFO.
                let retry = tokio::time::sleep(RETRY).map(Ok);
                *next = turn_after(key, retry, ctx);
            }
        }
        self.settle_later(ctx);
    }

    fn detach(&mut self, directory: &Path, ctx: &mut Context<Self>) {
        let keys: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, (source, _))| source.path.parent() == Some(directory))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.close(key, Unfinished::Store, ctx);
        }
    }

    fn close(&mut self, key: u64, unfinished: Unfinished, ctx: &mut Context<Self>) {
        let Some((source, handle)) = self.sources.remove(&key) else {
            return;
        };
        ctx.cancel_future(handle);
        let Some(window) = &self.window else { return };
        if let Err(error) = source.drain(window, unfinished, &mut self.store) {
            ::log::error!("{}: cannot be read: {error}", source.path.display());
        }
        if unfinished == Unfinished::Store {
            source.close();
        }
        self.settle_later(ctx);
    }

    /// Stores what is in the FIFOs, so that a reader finds the last lines of a process that has ended.
    fn catch_up(&mut self, stream: Stream) {
        let Some(window) = &self.window else { return };
        for (source, _) in self.sources.values().filter(|(s, _)| s.stream == stream) {
            if let Err(error) = source.drain(window, Unfinished::Leave, &mut self.store) {
                ::log::error!("{}: cannot be read: {error}", source.path.display());
            }
        }
    }

    /// Tells followers what they lost, also when no new line comes.
    fn settle_later(&mut self, ctx: &mut Context<Self>) {
        if self.settling || !self.store.followers.owe() {
            return;
        }
        self.settling = true;
        ctx.run_later(SETTLE, |log, ctx| {
            log.settling = false;
            log.store.followers.settle();
            log.settle_later(ctx);
        });
    }

    /// Begins to give a reader what is stored up to now. A reader that was served too often without reaching the end of
    /// a busy log is given new lines from now on too, as many as it can hold.
    fn serve(&mut self, mut reader: Reader, passes: u32, ctx: &Context<Self>) -> io::Result<()> {
        // An id that was never given is one of logs that were deleted since: for their reader all is new.
        let ends = self.store.ends(&reader.query)?;
        for wanted in &mut reader.query.streams {
            let next = ends.iter().find(|(stream, _)| *stream == wanted.stream);
            let next = next.map_or(0, |(_, next)| *next);
            wanted.after = wanted.after.filter(|after| *after < next);
        }
        let (stored, ends) = self.store.stored(&reader.query)?;
        let delivery = LogReader {
            stored,
            ends,
            passes,
            live: (passes >= MOST_PASSES).then(|| self.store.followers.add_waiting(&reader)),
            reader,
        };
        actix_rt::spawn(delivery.run(ctx.address().downgrade().recipient()));
        Ok(())
    }
}

impl Actor for Log {
    type Context = Context<Self>;
}

/// Yields to the other sources first.
fn turn_soon(key: u64, ctx: &mut Context<Log>) -> SpawnHandle {
    let others = fut::wrap_future::<_, Log>(tokio::task::yield_now());
    ctx.spawn(others.map(move |(), log, ctx| log.turn(key, ctx)))
}

/// Waits for `event`, then takes a turn.
fn turn_after(
    key: u64,
    event: impl Future<Output = io::Result<()>> + 'static,
    ctx: &mut Context<Log>,
) -> SpawnHandle {
    let event = fut::wrap_future::<_, Log>(event);
    ctx.spawn(event.map(move |result, log, ctx| match result {
        Ok(()) => log.turn(key, ctx),
        Err(error) => ::log::error!("cannot wait for a FIFO: {error}"),
    }))
}

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// Too many read this log at the same time.
    #[error("{0} readers have this log open, which is the most: close one and try again")]
    TooManyReaders(usize),
}

impl LogError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Begins to read a process' FIFOs; both are opened read-write, so they never report an end. Idempotent per directory.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), LogError>")]
pub struct Attach {
    /// `web.1`.
    pub process: String,
    pub release: u64,
    /// The directory with the FIFOs `stdout` and `stderr`.
    pub directory: PathBuf,
}

impl Handler<Attach> for Log {
    type Result = Result<(), LogError>;

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) -> Self::Result {
        [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .try_for_each(|stream| self.attach(&attach, stream, ctx))
    }
}

/// Reads what is left in a process' FIFOs and closes them; answered when that is done.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Detach {
    /// As in [`Attach`].
    pub directory: PathBuf,
}

impl Handler<Detach> for Log {
    type Result = ();

    fn handle(&mut self, Detach { directory }: Detach, ctx: &mut Self::Context) {
        self.detach(&directory, ctx);
    }
}

/// Appends lines of the server's own making: the install log, remarks about a process.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Append {
    pub stream: Stream,
    pub process: String,
    pub release: u64,
    /// Lines, each with its newline.
    pub text: Vec<u8>,
}

impl Handler<Append> for Log {
    type Result = ();

    fn handle(&mut self, append: Append, ctx: &mut Self::Context) {
        let mut cuts = cut(&append.text);
        loop {
            let lines: Vec<Cut<'_>> = cuts.by_ref().take(APPEND_LINES).collect();
            if lines.is_empty() {
                break;
            }
            self.store.append(&WriteBatch {
                stream: append.stream,
                time: now(),
                process: &append.process,
                release: append.release,
                lines,
            });
        }
        self.settle_later(ctx);
    }
}

/// Reads a log. The stored lines come first, then, when followed, new ones as they are written.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<mpsc::Receiver<Chunk>, LogError>")]
pub struct Read(pub Query);

impl Handler<Read> for Log {
    type Result = Result<mpsc::Receiver<Chunk>, LogError>;

    fn handle(&mut self, Read(query): Read, ctx: &mut Self::Context) -> Self::Result {
        self.store.followers.forget_gone();
        let counted = match query.is_of_server {
            true => Arc::default(),
            false => Arc::clone(&self.readers),
        };
        // Of this one, and of the log itself.
        if Arc::strong_count(&counted) > MOST_READERS + 1 {
            return Err(LogError::TooManyReaders(MOST_READERS));
        }
        for wanted in &query.streams {
            self.catch_up(wanted.stream);
        }
        let (chunks, receiver) = mpsc::channel(QUEUE);
        let reader = Reader {
            query,
            chunks,
            counted,
        };
        self.serve(reader, 0, ctx)
            .map_err(LogError::io(&self.settings.directory))?;
        Ok(receiver)
    }
}

impl Handler<CaughtUp> for Log {
    type Result = ();

    fn handle(&mut self, caught_up: CaughtUp, ctx: &mut Self::Context) {
        let CaughtUp {
            reader,
            ends,
            passes,
        } = caught_up;
        let next = self.store.ends(&reader.query);
        // Nothing is appended between this look and the next message, so there is neither gap nor overlap.
        if next.is_ok_and(|next| next == ends) {
            self.store.followers.add(reader);
        } else if let Err(error) = self.serve(reader, passes + 1, ctx) {
            ::log::error!("{}: {error}", self.settings.directory.display());
        }
    }
}

impl Handler<Shutdown> for Log {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        let keys: Vec<u64> = self.sources.keys().copied().collect();
        for key in keys {
            self.close(key, Unfinished::Leave, ctx);
        }
        self.store.followers.settle();
        self.exit.set(Exit::Shutdown);
        ctx.stop();
    }
}

#[cfg(test)]
mod tests;
