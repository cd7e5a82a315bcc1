//! [`OutputLog`]: writes the output of a command to the install log and keeps its last lines.

use std::cell::Cell;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::install_log::InstallLog;
use super::lines::{Splitter, Tail};

/// How often a progress bar is a line of the log.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct OutputLog<'a> {
    log: &'a InstallLog,
    /// Counts the reads, so that a caller sees whether output still comes.
    seen: &'a Cell<u64>,
    splitter: Splitter,
    tail: Tail,
    /// When a line was written last, or what a progress bar showed.
    written: Instant,
}

impl<'a> OutputLog<'a> {
    pub(super) fn new(log: &'a InstallLog, seen: &'a Cell<u64>) -> Self {
        Self {
            log,
            seen,
            splitter: Splitter::default(),
            tail: Tail::default(),
            written: Instant::now(),
        }
    }

    pub(super) async fn read(&mut self, mut reader: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    self.seen.set(self.seen.get() + 1);
                    let lines = self.splitter.push(&buffer[..length]);
                    self.take(lines).await;
                    self.show_bar().await;
                }
            }
        }
        let rest = self.splitter.finish();
        self.take(rest.into_iter().collect()).await;
    }

    /// Writes now and then what a progress bar shows: how much has come is all that there is to see of a long fetch.
    async fn show_bar(&mut self) {
        let bar = self.splitter.bar().map(<[u8]>::to_vec);
        if let Some(bar) = bar.filter(|_| self.written.elapsed() >= EVERY) {
            let line = self.log.mask().apply(bar);
            self.log.write(vec![line]).await;
            self.written = Instant::now();
        }
    }

    async fn take(&mut self, lines: Vec<Vec<u8>>) {
        if !lines.is_empty() {
            self.written = Instant::now();
        }
        let mask = self.log.mask();
        let lines: Vec<_> = lines.into_iter().map(|line| mask.apply(line)).collect();
        for line in &lines {
            self.tail.push(line);
        }
        self.log.write(lines).await;
    }

    pub(super) fn tail(&mut self) -> Vec<String> {
        if let Some(rest) = self.splitter.finish() {
            self.tail.push(&self.log.mask().apply(rest));
        }
        std::mem::take(&mut self.tail).into_lines()
    }
}
