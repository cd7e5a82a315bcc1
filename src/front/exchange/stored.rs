//! [`Stored`]: a request's body that was taken before the request was sent, as it came, framing included.

use super::buffer::Buffer;
use super::spool::Spool;

/// A body too large for memory, or as much of it as could be kept.
#[derive(Debug)]
pub struct Stored {
    /// What was not taken out yet.
    pub spool: Spool,
    input: Buffer,
}

impl Stored {
    /// What is in the spool.
    #[must_use]
    pub fn new(spool: Spool) -> Self {
        Self {
            spool,
            input: Buffer::default(),
        }
    }

    /// The next bytes to send, none if they are not in memory yet; `None` once all were sent.
    pub fn source(&mut self) -> Option<&mut Buffer> {
        if self.input.is_empty()
            && let Some(piece) = self.spool.take_piece()
        {
            self.input = Buffer::of(piece);
        }
        (!self.input.is_empty() || !self.spool.is_empty()).then_some(&mut self.input)
    }
}
