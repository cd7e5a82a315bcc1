//! [`Stored`]: a request's body that was collected before the request is sent, as it came, with its framing.

use super::buffer::Buffer;
use super::spool::Spool;

/// A body that is too large for memory, or as much of it as the file may have.
#[derive(Debug)]
pub struct Stored {
    /// The bytes that were not taken out yet.
    pub spool: Spool,
    input: Buffer,
}

impl Stored {
    #[must_use]
    pub fn new(spool: Spool) -> Self {
        Self {
            spool,
            input: Buffer::default(),
        }
    }

    /// Whether all that [`Self::source`] gave was taken, and more is in memory.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.input.is_empty() && !self.spool.bytes().is_empty()
    }

    /// Whether all of it was given and taken.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.input.is_empty() && self.spool.is_empty()
    }

    /// Returns the next bytes to send, which may not be in memory yet, or `None` once all were sent.
    pub fn source(&mut self) -> Option<&mut Buffer> {
        if self.input.is_empty()
            && let Some(piece) = self.spool.take_piece()
        {
            self.input = Buffer::of(piece);
        }
        (!self.input.is_empty() || !self.spool.is_empty()).then_some(&mut self.input)
    }
}
