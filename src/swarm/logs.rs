//! What tasks print, on its way to the log of the app.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use futures::StreamExt as _;

use super::client::Client;
use crate::logs::log::{Append, Log};
use crate::logs::record::Stream;
use crate::supervision::ChildRef;

/// Pause after a stream has ended that should not have.
const RETRY: Duration = Duration::from_secs(1);

/// How often a stream is opened again without a line.
const ATTEMPTS: u32 = 30;

/// Whose lines they are.
#[derive(Clone, Debug)]
pub(super) struct Printed {
    pub(super) task: String,
    /// `web.1`.
    pub(super) process: String,
    pub(super) release: u64,
    /// Lines up to this time are known already.
    pub(super) after: Option<jiff::Timestamp>,
}

/// Reads what a task prints to its end, and hands each line on. The log takes its time: nothing piles up here.
pub(super) async fn follow(client: Arc<Client>, log: ChildRef<Log>, printed: Printed) {
    let mut last = printed.after;
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        attempts += 1;
        if let Ok(lines) = client.logs(&printed.task, last).await {
            let mut lines = std::pin::pin!(lines);
            while let Some(Ok(output)) = lines.next().await {
                let Some((stream, time, text)) = line(&output) else {
                    continue;
                };
                if last.is_some_and(|last| time <= last) {
                    continue;
                }
                (last, attempts) = (Some(time), 0);
                hand_on(&log, &printed, stream, text).await;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hand_on(log: &ChildRef<Log>, printed: &Printed, stream: Stream, text: &[u8]) {
    let mut text = text.to_vec();
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    // While the log is being restarted lines are lost, as with its own remarks.
    if let Some(log) = log.get() {
        let append = Append {
            stream,
            process: printed.process.clone(),
            release: printed.release,
            text,
        };
        let _gone = log.send(append).await;
    }
}

/// Which stream a line is of, when it was printed, and the line itself.
fn line(output: &LogOutput) -> Option<(Stream, jiff::Timestamp, &[u8])> {
    let (stream, message) = match output {
        LogOutput::StdOut { message } | LogOutput::Console { message } => {
            (Stream::Stdout, message)
        }
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
