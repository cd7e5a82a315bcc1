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
