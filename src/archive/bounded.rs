//! [`Bounded`]: reads a tar no further than its limits, so that what is packed well does not fill disk or memory.

use std::io::{self, Read};

use super::error::TooMuch;
use super::tree::Limits;

/// Reads no more than all files may have, with what a tar takes for their heads.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    most: u64,
    /// Zeros at the end of what was read.
    zeros: u64,
}

/// What a head takes with its names, in a tar.
const HEAD: u64 = 2048;

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, limits: Limits) -> Self {
        let heads = limits.entries as u64 * HEAD;
        Self {
            inner,
            left: limits.bytes.saturating_add(heads),
            most: limits.bytes,
            zeros: 0,
        }
    }

    /// How many zeros were read last.
    pub(super) fn zeros(&self) -> u64 {
        self.zeros
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            let what = format!("it unpacks to more than {} MiB", self.most >> 20);
            return Err(io::Error::other(TooMuch(what)));
        };
        self.left = left;
        let zeros = buffer[..read]
            .iter()
            .rev()
            .take_while(|byte| **byte == 0)
            .count();
        self.zeros = match zeros == read {
            true => self.zeros + read as u64,
            false => zeros as u64,
        };
        Ok(read)
    }
}
