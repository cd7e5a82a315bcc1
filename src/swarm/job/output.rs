//! What a task prints that runs once, on its way to who waits for it, or to a log.

use std::pin::Pin;
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

/// How long the next line may take to come once the task has ended: its machine may be gone.
const LAST_WORDS: Duration = Duration::from_secs(10);

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
    let note = match sink {
        Sink::Log { notes, .. } => {
            let (notes, task) = (notes.clone(), task.clone());
            spawn_blocking(move || notes.of(&task)).await.ok()
        }
        Sink::Pipes(_) | Sink::Install(_) => None,
    };
    let mut reading = Reading {
        known: Known::of(note.as_ref()),
        note,
        sink,
    };
    loop {
        // A stream that follows a task does not always end with it.
        let was_over = *is_over.borrow();
        let end = match client.logs(&task, reading.known.last, !was_over).await {
            Ok(lines) => {
                let until = match was_over {
                    true => Until::Late,
                    false => Until::Over(&mut is_over),
                };
                reading.read_through(std::pin::pin!(lines), until).await
            }
            Err(_) => End::Torn,
        };
        reading.write_note().await;
        // Without a manager or a machine, what is not here by now is lost.
        if end == End::Gone || was_over {
            break;
        }
        let _listing = observer.look();
        let _late = tokio::time::timeout(RETRY, over(&mut is_over)).await;
    }
    if let Sink::Log { notes, .. } = reading.sink {
        let notes = notes.clone();
        let _forgotten = spawn_blocking(move || notes.forget(&task)).await;
    }
}

/// Waits until the task has ended, or nobody wants to know any more.
async fn over(is_over: &mut watch::Receiver<bool>) {
    let _gone = is_over.wait_for(|over| *over).await;
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

/// Up to where a task's output was handed on (pure).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    /// The time of the newest line. Not the latest: clocks go back.
    last: Option<jiff::Timestamp>,
    /// How many lines of that time there were on stdout and stderr: the parts of a long line have one time.
    of_last: [usize; 2],
}

impl Known {
    /// The server before handed on all of the time of its note.
    fn of(note: Option<&Printed>) -> Self {
        Self {
            last: note.and_then(Printed::last),
            of_last: [usize::MAX; 2],
        }
    }

    /// Notes a line that is handed on.
    fn note(&mut self, time: jiff::Timestamp, stream: usize) {
        if self.last.replace(time) != Some(time) {
            self.of_last = [0; 2];
        }
        self.of_last[stream] = self.of_last[stream].saturating_add(1);
    }

    /// Whether a line of a stream that begins at `last` was handed on before; one of it is looked at once.
    fn has(&mut self, time: jiff::Timestamp, stream: usize) -> bool {
        match self.last {
            Some(last) if time < last => true,
            Some(last) if time == last && self.of_last[stream] > 0 => {
                self.of_last[stream] -= 1;
                true
            }
            _ => false,
        }
    }
}

/// Until when the next line is awaited.
enum Until<'a> {
    /// The task has ended: what a stream does not have yet is read from the next one.
    Over(&'a mut watch::Receiver<bool>),
    /// It is late.
    Late,
}

impl Until<'_> {
    async fn comes(&mut self) {
        match self {
            Self::Over(is_over) => over(is_over).await,
            Self::Late => tokio::time::sleep(LAST_WORDS).await,
        }
    }
}

struct Reading<'a> {
    known: Known,
    /// For the next server.
    note: Option<Printed>,
    sink: &'a mut Sink,
}

impl Reading<'_> {
    /// Reads a stream to its end, or until no more of it is awaited.
    async fn read_through(
        &mut self,
        mut lines: Pin<&mut impl Stream<Item = Result<LogOutput, Error>>>,
        mut until: Until<'_>,
    ) -> End {
        let mut before = self.known;
        loop {
            let next = tokio::select! {
                biased;
                next = lines.next() => next,
                () = until.comes() => return End::Read,
            };
            // Not cut short: who reads slowly has it all.
            match next {
                Some(Ok(output)) => self.take(&output, &mut before).await,
                Some(Err(Error::DockerResponseServerError {
                    status_code: 404, ..
                })) => return End::Gone,
                Some(Err(_)) => return End::Torn,
                None => return End::Read,
            }
        }
    }

    /// Hands on what was not handed on `before`.
    async fn take(&mut self, output: &LogOutput, before: &mut Known) {
        let Some((source, time, text)) = line(output) else {
            return;
        };
        let stream = usize::from(source == Source::Stderr);
        if before.has(time, stream) {
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
        self.known.note(time, stream);
        if let Some(note) = &mut self.note
            && note.note(time, Instant::now())
        {
            self.write_note().await;
        }
    }

    async fn write_note(&self) {
        if let Some(note) = self.note.clone() {
            let _written = spawn_blocking(move || note.write()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_begins_anew_hands_on_what_is_left_of_a_time() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let mut known = Known::default();
        assert!(!known.has(at(5), 0));
        for (time, stream) in [(5, 0), (6, 0), (6, 0), (6, 1)] {
            known.note(at(time), stream);
        }
        let mut again = known;
        let lines = [(5, 0), (6, 0), (6, 1), (6, 0), (6, 0), (6, 1), (7, 0)];
        let is_known = lines.map(|(time, stream)| again.has(at(time), stream));
        assert_eq!(is_known, [true, true, true, true, false, false, false]);
        // Of what the server before has handed on, only the time is known.
        let mut of_before = Known {
            last: Some(at(6)),
            of_last: [usize::MAX; 2],
        };
        let is_known = lines.map(|(time, stream)| of_before.has(at(time), stream));
        assert_eq!(is_known, [true, true, true, true, true, true, false]);
    }
}
