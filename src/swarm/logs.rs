//! What tasks print, on its way to the log of the app.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_rt::task::spawn_blocking;
use bollard::container::LogOutput;
use bollard::errors::Error;
use futures::StreamExt as _;

use super::client::Client;
use super::meter::{Mark, Measured};
use super::observer::Observer;
use super::printed::{Notes, Printed};
use crate::logs::log::{Append, Log};
use crate::logs::record::Stream;
use crate::supervision::ChildRef;

/// Pause after a stream has ended that should not have.
const RETRY: Duration = Duration::from_secs(1);

/// How often a line is offered to a log that does not run.
const OFFERS: u32 = 30;

/// Whose lines they are.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) task: String,
    /// `web.1`.
    pub(super) process: String,
    pub(super) release: u64,
    /// Set once the task has ended: it prints nothing more.
    pub(super) is_over: Arc<AtomicBool>,
    /// By which what was measured is told from what it printed.
    pub(super) mark: Mark,
    /// Who wants to know what was measured.
    pub(super) to: Recipient<Told>,
    /// Who is to look what became of it when it prints nothing more.
    pub(super) observer: Observer,
}

/// A task has told what its container uses, which is no line of the app.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub(super) struct Told {
    pub(super) task: String,
    pub(super) measured: Measured,
}

/// Reads what a task prints to its end, and hands each line on. The log takes its time: nothing piles up here. Returns what
/// was measured last.
pub(super) async fn follow(
    client: Arc<Client>,
    log: ChildRef<Log>,
    notes: Notes,
    source: Source,
) -> Option<Measured> {
    let mut last = None;
    let task = source.task.clone();
    let Ok(mut printed) = spawn_blocking(move || notes.of(&task)).await else {
        return last;
    };
    loop {
        let was_over = source.is_over.load(Ordering::SeqCst);
        let end = match client.logs(&source.task, printed.last(), true).await {
            Ok(lines) => read(lines, &log, &source, &mut printed, &mut last).await,
            Err(_) => End::Torn,
        };
        if end == End::Read && !was_over {
            // It may have been killed: until that is known, whoever has its port now is believed.
            let _number = source.observer.look();
        }
        write(&printed).await;
        if end == End::Gone || end == End::Read && was_over {
            return last;
        }
        tokio::time::sleep(RETRY).await;
    }
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

async fn read(
    lines: impl futures::Stream<Item = Result<LogOutput, Error>>,
    log: &ChildRef<Log>,
    source: &Source,
    printed: &mut Printed,
    last: &mut Option<Measured>,
) -> End {
    let mut lines = std::pin::pin!(lines);
    let resumed = printed.last();
    loop {
        let next = lines.next();
        let next = match printed.owed(Instant::now()) {
            None => next.await,
            Some(left) => match tokio::time::timeout(left, next).await {
                Ok(next) => next,
                Err(_) => {
                    printed.settle(Instant::now());
                    write(printed).await;
                    continue;
                }
            },
        };
        match next {
            Some(Ok(output)) => {
                let measured = take(log, source, resumed, printed, &output).await;
                *last = measured.or(*last);
            }
            None => return End::Read,
            Some(Err(Error::DockerResponseServerError {
                status_code: 404, ..
            })) => return End::Gone,
            Some(Err(_)) => return End::Torn,
        }
    }
}

/// Hands a line on that is not known yet, and notes that it is. Returns what was measured.
async fn take(
    log: &ChildRef<Log>,
    source: &Source,
    resumed: Option<jiff::Timestamp>,
    printed: &mut Printed,
    output: &LogOutput,
) -> Option<Measured> {
    let (stream, time, text) = line(output)?;
    let (text, measured) = source.mark.take(text);
    if let Some(measured) = measured {
        let task = source.task.clone();
        // Also what an earlier reader has seen: it is the last that is known. One each few seconds, unless an app floods
        // its own output, which the log slows down as all of it.
        source.to.do_send(Told { task, measured });
    }
    // Not the newest: clocks go back, and the parts of a long line have one time.
    if resumed.is_some_and(|last| time <= last) {
        return measured;
    }
    if measured.is_none() || !text.is_empty() {
        hand_on(log, &source.process, source.release, stream, text).await;
    }
    if printed.note(time, Instant::now()) {
        write(printed).await;
    }
    measured
}

/// Writes a note.
async fn write(printed: &Printed) {
    let kept = printed.clone();
    let _written = spawn_blocking(move || kept.write()).await;
}

/// Appends a line of a process to the log of its app.
pub(super) async fn hand_on(
    log: &ChildRef<Log>,
    process: &str,
    release: u64,
    stream: Stream,
    text: &[u8],
) {
    let mut text = text.to_vec();
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    let append = Append {
        stream,
        process: process.to_owned(),
        release,
        text,
    };
    // A log that is being restarted is back in a moment.
    for _ in 0..OFFERS {
        let sent = match log.get() {
            Some(log) => log.send(append.clone()).await.is_ok(),
            None => false,
        };
        if sent {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Which stream a line is of, when it was printed, and the line itself.
pub(super) fn line(output: &LogOutput) -> Option<(Stream, jiff::Timestamp, &[u8])> {
    let (stream, message) = match output {
        LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
        LogOutput::StdErr { message } => (Stream::Stderr, message),
        LogOutput::StdIn { .. } => return None,
    };
    let end = memchr::memchr(b' ', message)?;
    let time = std::str::from_utf8(&message[..end]).ok()?.parse().ok()?;
    Some((stream, time, &message[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_before_it() {
        let output = LogOutput::StdErr {
            message: "2026-11-30T19:00:00.000000001Z two words\n".into(),
        };
        let (stream, time, text) = line(&output).unwrap();
        assert_eq!((stream, text), (Stream::Stderr, &b"two words\n"[..]));
        assert_eq!(time.subsec_nanosecond(), 1);
        let torn = LogOutput::StdOut {
            message: "no time".into(),
        };
        assert!(line(&torn).is_none());
    }
}
