//! [`Log`]: the actor that owns an application's logs.

use std::path::PathBuf;

use actix::prelude::*;
use tokio::sync::mpsc;

use super::record::{Record, Stream};
use crate::supervision::{ExitReason, Shutdown};

/// Where an app's logs are and how large they may grow.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// Bytes after which a segment is rotated.
    pub segment_size: u64,
    /// Segments kept per stream, the current one included.
    pub segments: usize,
}

/// The actor that owns an application's logs.
#[derive(Debug)]
pub struct Log {
    #[allow(dead_code)]
    settings: LogSettings,
}

impl Log {
    /// A Log writing below `settings.directory`.
    #[must_use]
    pub fn new(settings: LogSettings, exit: ExitReason) -> Self {
        let _ = exit;
        Self { settings }
    }
}

impl Actor for Log {
    type Context = Context<Self>;
}

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or FIFO.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Begins to read a process' FIFOs; both are opened read-write, so they never report an end. Idempotent per directory.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), LogError>")]
pub struct Attach {
    /// `web.1`.
    pub process: String,
    /// Its release.
    pub release: u64,
    /// The directory with the FIFOs `stdout` and `stderr`.
    pub directory: PathBuf,
}

/// Reads what is left in a process' FIFOs and closes them; answered when that is done.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Detach {
    /// As in [`Attach`].
    pub directory: PathBuf,
}

/// Appends lines of the server's own making: the install log, remarks about a process.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Append {
    /// Which log.
    pub stream: Stream,
    /// Process or step.
    pub process: String,
    /// Release or deployment.
    pub release: u64,
    /// Lines without newlines.
    pub lines: Vec<Vec<u8>>,
}

/// Which lines of a stream are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which log.
    pub stream: Stream,
    /// At most so many of the last matching ones; `None`: all.
    pub tail: Option<usize>,
    /// Only of this process or process type.
    pub process: Option<String>,
    /// Only of this release (deployment, for the install log).
    pub release: Option<u64>,
    /// Only from this time on.
    pub since: Option<jiff::Timestamp>,
    /// Only with a larger id.
    pub after: Option<u64>,
    /// Stay for what comes.
    pub follow: bool,
}

/// Reads a log. The stored lines come first, then, when followed, new ones as they are written.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<mpsc::Receiver<Chunk>, LogError>")]
pub struct Read(pub Query);

/// What a reader receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Lines, in order.
    Lines(Vec<Record>),
    /// The reader was too slow: so many lines were left out here.
    Lost(u64),
}

impl Handler<Attach> for Log {
    type Result = ResponseActFuture<Self, Result<(), LogError>>;

    fn handle(&mut self, _: Attach, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Detach> for Log {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Detach, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Append> for Log {
    type Result = ();

    fn handle(&mut self, _: Append, _: &mut Self::Context) {
        todo!()
    }
}

impl Handler<Read> for Log {
    type Result = Result<mpsc::Receiver<Chunk>, LogError>;

    fn handle(&mut self, _: Read, _: &mut Self::Context) -> Self::Result {
        todo!()
    }
}

impl Handler<Shutdown> for Log {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        todo!()
    }
}
