//! [`Buffer`]: bytes that were read and not used yet, bounded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that were read and not used yet. It has no memory until it is read into.
#[derive(Debug, Default)]
pub struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Drops the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it holds `size` bytes or more.
    #[must_use]
    pub fn holds(&self, size: usize) -> bool {
        self.end - self.start >= size
    }

    /// Gives its memory back if it is empty and larger than `keep`.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.data.len() > keep {
            self.data = Vec::new();
        }
    }

    /// Reads once, into `size` bytes of space in all; 0 is the end of the stream. There must be fewer than `size`
    /// bytes in it.
    ///
    /// # Errors
    /// What the stream's read returns.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        size: usize,
    ) -> Poll<std::io::Result<usize>> {
        if self.data.len() < size {
            self.data.resize(size, 0);
        }
        if self.end == self.data.len() {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut space = ReadBuf::new(&mut self.data[self.end..]);
        ready!(Pin::new(stream).poll_read(cx, &mut space))?;
        let read = space.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }
}
