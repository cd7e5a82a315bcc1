//! [`Flow`]: one direction of an exchange, from the bytes read on one side to the bytes written on the other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::buffer::Buffer;
use crate::front::http::fields::Fields;
use crate::front::http::forwarded;
use crate::front::http::framing::{BadBody, Decoder, Framing, Piece, chunk_head};
use crate::front::http::parse;

/// Payload up to this size is copied behind what is pending, so that it leaves in the same write. Larger pieces are
/// written from the input.
const COPY: usize = 4096;

/// Bytes pending at most before the sink has to take some.
const PENDING: usize = 16 * 1024;

/// Takes a body apart as it came and puts it together as it is sent. It takes no more before it has written what is
/// pending, which bounds memory and slows the sender down to the reader's speed.
#[derive(Debug)]
pub struct Flow<'h> {
    decoder: Decoder,
    chunked: bool,
    /// Written first. It is borrowed, because a request may be sent again.
    head: &'h [u8],
    /// Written then: heads, chunk sizes, small payload.
    framed: Vec<u8>,
    sent: usize,
    /// Written then: so many bytes from the front of the input.
    body: usize,
    tail: &'static [u8],
    ended: bool,
    begun: bool,
    payload: u64,
}

impl<'h> Flow<'h> {
    /// Sends `head`, then a body that comes as `from` and leaves as `to`.
    #[must_use]
    pub fn new(head: &'h [u8], from: Framing, to: Framing) -> Self {
        Self {
            decoder: Decoder::new(from),
            chunked: to == Framing::Chunked,
            head,
            framed: Vec::new(),
            sent: 0,
            body: 0,
            tail: b"",
            ended: false,
            begun: false,
            payload: 0,
        }
    }

    /// Sets how the body comes and leaves, once a head says so. The head is written to [`Self::framed`].
    pub fn set_body(&mut self, from: Framing, to: Framing) {
        self.decoder = Decoder::of_response(from);
        self.chunked = to == Framing::Chunked;
    }

    /// The place to write heads to.
    pub fn framed(&mut self) -> &mut Vec<u8> {
        &mut self.framed
    }

    /// Whether all that was taken has been written.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.head.is_empty()
            && self.sent == self.framed.len()
            && self.body == 0
            && self.tail.is_empty()
    }

    /// Whether the whole body has been taken and written.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ended && self.is_clear()
    }

    /// Returns the bytes of payload so far.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Whether the body says at its beginning how long it is.
    #[must_use]
    pub fn knows_length(&self) -> bool {
        self.decoder.knows_length()
    }

    /// Returns the bytes at the front of the input that were taken and are not written.
    #[must_use]
    pub fn pending_body(&self) -> usize {
        self.body
    }

    /// Whether all of the body has come, taken or not.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.ended || self.decoder.is_done()
    }

    /// Returns the bytes of payload that must still come: of the body, or of the chunk of a chunked one.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.decoder.announced()
    }

    /// Whether anything of the body was taken, even framing. Then it cannot be taken again from its beginning.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Drops what was taken from `input` and not written yet.
    pub fn abandon(&mut self, input: &mut Buffer) {
        input.consume(std::mem::take(&mut self.body));
    }

    /// Whether the body came to its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes as much from `input` as there is room for.
    ///
    /// # Errors
    /// [`BadBody`] when the body is malformed; what came before it is pending.
    pub fn take(&mut self, input: &mut Buffer) -> Result<(), BadBody> {
        // Framed bytes are written before a body and its line end, so neither of these may be left of the chunk before.
        while !self.ended
            && self.body == 0
            && self.tail.is_empty()
            && self.framed.len() - self.sent < PENDING
        {
            match self.decoder.next(input.bytes())? {
                Piece::Framing(count) => {
                    self.begun = true;
                    input.consume(count);
                }
                Piece::Data(count) => self.data(count, input),
                Piece::More => break,
                Piece::End => self.end()?,
            }
        }
        Ok(())
    }

    /// Ends a body that ends when its sender closes. Returns false if the body is incomplete.
    pub fn close(&mut self) -> bool {
        let complete = self.decoder.may_end();
        complete && (self.ended || self.end().is_ok())
    }

    fn data(&mut self, count: usize, input: &mut Buffer) {
        self.begun = true;
        self.payload += count as u64;
        if self.chunked {
            chunk_head(&mut self.framed, count);
        }
        let tail: &'static [u8] = if self.chunked { b"\r\n" } else { b"" };
        if count <= COPY {
            self.framed.extend_from_slice(&input.bytes()[..count]);
            self.framed.extend_from_slice(tail);
            input.consume(count);
        } else {
            self.body = count;
            self.tail = tail;
        }
    }

    fn end(&mut self) -> Result<(), BadBody> {
        if self.chunked {
            let trailers = self.decoder.trailers();
            let fields = if trailers.is_empty() {
                Fields::default()
            } else {
                parse::trailers(trailers).map_err(BadBody)?
            };
            self.framed.extend_from_slice(b"0\r\n");
            forwarded::trailers(&mut self.framed, &fields);
        }
        self.ended = true;
        Ok(())
    }

    /// Writes once from what is pending. `input` is what [`Self::take`] took from.
    ///
    /// # Errors
    /// What the sink's write returns.
    pub fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
        input: &mut Buffer,
    ) -> Poll<io::Result<()>> {
        let framed = &self.framed[self.sent..];
        let sink = Pin::new(sink);
        let is_small = self.body == 0 && self.tail.is_empty();
        let written = if is_small && framed.is_empty() {
            ready!(sink.poll_write(cx, self.head))?
        } else if is_small && self.head.is_empty() {
            ready!(sink.poll_write(cx, framed))?
        } else {
            let body = input.bytes().get(..self.body).unwrap_or(&[]);
            let slices = [
                IoSlice::new(self.head),
                IoSlice::new(framed),
                IoSlice::new(body),
                IoSlice::new(self.tail),
            ];
            ready!(sink.poll_write_vectored(cx, &slices))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written, input);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize, input: &mut Buffer) {
        let head = written.min(self.head.len());
        self.head = &self.head[head..];
        let written = written - head;
        let framed = written.min(self.framed.len() - self.sent);
        self.sent += framed;
        if self.sent == self.framed.len() {
            self.framed.clear();
            self.sent = 0;
        }
        let body = (written - framed).min(self.body);
        input.consume(body);
        self.body -= body;
        self.tail = &self.tail[(written - framed - body).min(self.tail.len())..];
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
