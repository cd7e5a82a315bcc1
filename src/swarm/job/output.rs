//! What a task prints that runs once, on its way to who waits for it, or to a log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::task::spawn_blocking;
use bollard::container::LogOutput;
use bollard::errors::Error;
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::install::install_log::InstallLog;
use crate::install::lines::{Splitter, Tail};
use crate::logs::log::Log;
use crate::logs::record::Stream as Source;
use crate::supervision::ChildRef;
use crate::swarm::client::Client;
use crate::swarm::logs::{hand_on, line};
use crate::swarm::observer::Observer;
use crate::swarm::printed::{Notes, Printed};

/// Pause after a stream has ended that should not have.
const RETRY: Duration = Duration::from_secs(1);

/// How long what was printed last may take to come once the task has ended.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Where it goes.
#[derive(Debug)]
pub enum Sink {
    /// The log of an app, as the lines of this process, which the next server reads on.
    Log {
        log: ChildRef<Log>,
        notes: Notes,
        process: String,
        release: u64,
    },
    /// Somebody who reads as fast as they like.
    Pipes(Pipes),
    /// The log of a deploy.
    Install(Box<Install>),
}

/// The ends that are written to.
#[derive(Debug)]
pub struct Pipes {
    pub stdout: pipe::Sender,
    pub stderr: pipe::Sender,
}

/// The log of a deploy, and the last lines that went there.
#[derive(Debug)]
pub struct Install {
    pub log: InstallLog,
    splitters: [Splitter; 2],
    tail: Tail,
}

impl Install {
    #[must_use]
    pub fn new(log: InstallLog) -> Self {
        Self {
            log,
            splitters: [Splitter::default(), Splitter::default()],
            tail: Tail::default(),
        }
    }

    async fn take(&mut self, source: Source, text: &[u8]) {
        let splitter = &mut self.splitters[usize::from(source == Source::Stderr)];
        let lines = splitter.push(text);
        self.write(lines).await;
    }

    async fn write(&mut self, lines: Vec<Vec<u8>>) {
        let mask = self.log.mask();
        let lines: Vec<_> = lines.into_iter().map(|line| mask.apply(line)).collect();
        for line in &lines {
            self.tail.push(line);
        }
        self.log.write(lines).await;
    }

    /// Writes what has no end of a line, and returns the last lines.
    pub async fn finish(mut self) -> Vec<String> {
        let rest = self.splitters.iter_mut().filter_map(Splitter::finish);
        let rest = rest.collect();
        self.write(rest).await;
        self.tail.into_lines()
    }
}

/// Reads what `task` prints until it `is_over` and all of it was handed on. Where a stream ends, there may be something to
/// see, and `observer` looks.
pub(super) async fn read(
    client: Arc<Client>,
    observer: Observer,
    task: String,
    sink: &mut Sink,
    mut is_over: watch::Receiver<bool>,
) {
    let mut known = match sink {
        Sink::Log { notes, .. } => {
            let (notes, task) = (notes.clone(), task.clone());
            spawn_blocking(move || notes.of(&task)).await.ok()
        }
        Sink::Pipes(_) | Sink::Install(_) => None,
    };
    let mut last = known.as_ref().and_then(Printed::last);
    loop {
        let was_over = *is_over.borrow();
        let end = match client.logs(&task, last).await {
            Ok(lines) => {
                let reading = Reading {
                    resumed: last,
                    last: &mut last,
                    known: known.as_mut(),
                    sink: &mut *sink,
                };
                reading.to_end(lines, &mut is_over.clone()).await
            }
            Err(_) => End::Torn,
        };
        if let Some(known) = &known {
            write(known).await;
        }
        if end == End::Gone || was_over && end != End::Torn {
            break;
        }
        if was_over {
            // No manager, or no machine: what is not here by now is lost.
            break;
        }
        let _listing = observer.look();
        // Dropped by who does not want to know any more.
        let _over = tokio::time::timeout(RETRY, is_over.wait_for(|over| *over)).await;
    }
    if known.is_some()
        && let Sink::Log { notes, .. } = sink
    {
        let notes = notes.clone();
        let _forgotten = spawn_blocking(move || notes.forget(&task)).await;
    }
}

async fn write(known: &Printed) {
    let kept = known.clone();
    let _written = spawn_blocking(move || kept.write()).await;
}

/// How the reading of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All that there was to that time is read.
    Read,
    /// Nobody knows the task any more.
    Gone,
    Torn,
}

/// The reading of one stream.
struct Reading<'a> {
    /// What was printed up to then was handed on before.
    resumed: Option<jiff::Timestamp>,
    last: &'a mut Option<jiff::Timestamp>,
    known: Option<&'a mut Printed>,
    sink: &'a mut Sink,
}

impl Reading<'_> {
    async fn to_end(
        mut self,
        lines: impl Stream<Item = Result<LogOutput, Error>>,
        is_over: &mut watch::Receiver<bool>,
    ) -> End {
        let mut lines = std::pin::pin!(lines);
        loop {
            let late = async {
                // Without its sender nobody waits for the end either.
                let _over = is_over.wait_for(|over| *over).await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            let next = tokio::select! {
                next = lines.next() => next,
                () = late => return End::Read,
            };
            match next {
                Some(Ok(output)) => self.take(&output).await,
                None => return End::Read,
                Some(Err(Error::DockerResponseServerError {
                    status_code: 404, ..
                })) => return End::Gone,
                Some(Err(_)) => return End::Torn,
            }
        }
    }

    /// Hands on what is not known yet.
    async fn take(&mut self, output: &LogOutput) {
        let Some((source, time, text)) = line(output) else {
            return;
        };
        // Not the newest: clocks go back, and the parts of a long line have one time.
        if self.resumed.is_some_and(|last| time <= last) {
            return;
        }
        match &mut *self.sink {
            Sink::Log {
                log,
                process,
                release,
                ..
            } => hand_on(log, process, *release, source, text).await,
            // Who does not read any more has gone, and the process is being ended.
            Sink::Pipes(pipes) => {
                let to = match source {
                    Source::Stderr => &mut pipes.stderr,
                    _ => &mut pipes.stdout,
                };
                let _gone = to.write_all(text).await;
            }
            Sink::Install(install) => install.take(source, text).await,
        }
        *self.last = Some(time);
        if let Some(known) = &mut self.known
            && known.note(time, Instant::now())
        {
            write(known).await;
        }
    }
}
