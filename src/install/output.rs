//! [`OutputLog`]: writes the output of a command to the install log and keeps its last lines.

use std::cell::Cell;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::install_log::InstallLog;
use super::lines::{Splitter, Tail};

pub(super) struct OutputLog<'a> {
    log: &'a InstallLog,
    /// Counts the reads, so that a caller sees whether output still comes.
    seen: &'a Cell<u64>,
    splitter: Splitter,
    tail: Tail,
}

impl<'a> OutputLog<'a> {
    pub(super) fn new(log: &'a InstallLog, seen: &'a Cell<u64>) -> Self {
        Self {
            log,
            seen,
            splitter: Splitter::default(),
            tail: Tail::default(),
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
                }
            }
        }
        let rest = self.splitter.finish();
        self.take(rest.into_iter().collect()).await;
    }

    async fn take(&mut self, lines: Vec<Vec<u8>>) {
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
