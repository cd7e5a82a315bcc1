//! [`Reply`]: takes a response in HTTP/1.1 apart into frames.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};

use super::heads;
use super::traffic::Traffic;
use crate::front::http::framing::{Decoder, Framing, Piece};
use crate::front::http::head::{MAX_RESPONSE, Response};
use crate::front::http::{head_end, parse};

/// Bytes of one piece. The window of a stream may be larger, memory is not.
const PIECE: usize = 64 * 1024;

/// Bytes of data in a frame that fills a record of TLS (RFC 8446 §5.1) with its head (RFC 9113 §4.1). With one byte more
/// there were two records.
const FRAME: usize = 16 * 1024 - 9;

/// Where a response goes. It takes what an exchange writes to a client of HTTP/1.1.
#[derive(Debug)]
pub(super) struct Reply {
    stage: Stage,
    /// The response is one to HEAD.
    to_head: bool,
    traffic: Rc<Traffic>,
}

#[derive(Debug)]
enum Stage {
    /// Waits for a whole head. `head` is what came of it.
    Head {
        to: SendResponse<Bytes>,
        head: Vec<u8>,
    },
    Body(Box<Body>),
    /// All was sent, or the rest will not be.
    End,
}

#[derive(Debug)]
struct Body {
    to: SendStream<Bytes>,
    decoder: Decoder,
    is_chunked: bool,
    /// Bytes of payload at the front of what is written next.
    data: usize,
}

impl Reply {
    pub(super) fn new(to: SendResponse<Bytes>, to_head: bool, traffic: Rc<Traffic>) -> Self {
        let head = Vec::new();
        Self {
            stage: Stage::Head { to, head },
            to_head,
            traffic,
        }
    }

    /// Whether the whole response was sent.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::End)
    }

    /// Tells the client that no more of the response follows, if it is not whole.
    pub(super) fn break_off(&mut self) {
        match &mut self.stage {
            Stage::Head { to, .. } => to.send_reset(Reason::INTERNAL_ERROR),
            Stage::Body(body) => body.to.send_reset(Reason::INTERNAL_ERROR),
            Stage::End => {}
        }
        self.stage = Stage::End;
    }

    /// Ready once the client wants no response any more, or is gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.stage {
            Stage::Head { to, .. } => to.poll_reset(cx),
            Stage::Body(body) => body.to.poll_reset(cx),
            Stage::End => return Poll::Pending,
        };
        reset.map(drop)
    }

    /// Takes bytes of the response, as many as the client has room for.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.poll_take(cx, &bytes[taken..]) {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stage {
            Stage::Head { .. } => Poll::Ready(self.take_head(bytes)),
            Stage::Body(body) => {
                let taken = ready!(body.poll_take(cx, bytes, &self.traffic))?;
                if body.is_sent() {
                    self.stage = Stage::End;
                }
                Poll::Ready(Ok(taken))
            }
            Stage::End => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Takes the bytes of a head, and sends it once it is whole.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Stage::Head { to, head } = &mut self.stage else {
            return Ok(0);
        };
        let before = head.len();
        // Nearly always it comes whole, and needs no copy.
        let whole = match before {
            0 => bytes,
            _ => {
                head.extend_from_slice(bytes);
                &**head
            }
        };
        let end = head_end::find_response_end(whole, before).map_err(io::Error::other)?;
        let Some(end) = end else {
            if before == 0 {
                head.extend_from_slice(bytes);
            }
            return match head.len() > 2 * MAX_RESPONSE {
                true => Err(io::Error::other("a head without end")),
                false => Ok(bytes.len()),
            };
        };
        let parsed = parse::response(&whole[..end], self.to_head).map_err(io::Error::other)?;
        self.traffic.carry(end);
        let next = send(to, &parsed)?;
        head.clear();
        if let Some(next) = next {
            self.stage = next;
        }
        Ok(end - before)
    }
}

/// Sends a head. Returns what follows it, if it is the final one.
fn send(to: &mut SendResponse<Bytes>, head: &Response<'_>) -> io::Result<Option<Stage>> {
    let response = heads::response(head).map_err(io::Error::other)?;
    if head.status < 200 {
        to.send_informational(response).map_err(io::Error::other)?;
        return Ok(None);
    }
    let is_empty = head.framing == Framing::Empty;
    let sends = to.send_response(response, is_empty);
    let to = sends.map_err(io::Error::other)?;
    if is_empty {
        return Ok(Some(Stage::End));
    }
    Ok(Some(Stage::Body(Box::new(Body {
        to,
        decoder: Decoder::new(head.framing),
        is_chunked: head.framing == Framing::Chunked,
        data: 0,
    }))))
}

impl Body {
    fn is_sent(&self) -> bool {
        self.data == 0 && self.decoder.is_done()
    }

    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        traffic: &Traffic,
    ) -> Poll<io::Result<usize>> {
        if self.data == 0 {
            match self.decoder.next(bytes).map_err(io::Error::other)? {
                Piece::Data(count) => self.data = count,
                Piece::Framing(count) => {
                    if self.decoder.is_done() {
                        self.end()?;
                    }
                    return Poll::Ready(Ok(count));
                }
                Piece::More | Piece::End => return Poll::Ready(Ok(0)),
            }
        }
        let room = ready!(self.poll_room(cx))?;
        let count = self.data.min(room);
        self.data -= count;
        traffic.carry(count);
        let is_last = !self.is_chunked && self.is_sent();
        let mut data = Bytes::copy_from_slice(&bytes[..count]);
        while data.len() > FRAME {
            let frame = data.split_to(FRAME);
            self.to.send_data(frame, false).map_err(io::Error::other)?;
        }
        self.to.send_data(data, is_last).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    /// Waits until the client takes more. Returns how many bytes it takes.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.to.reserve_capacity(self.data.min(PIECE));
        loop {
            let room = self.to.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.to.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// Ends a chunked body.
    fn end(&mut self) -> io::Result<()> {
        let section = self.decoder.trailers();
        if section.is_empty() {
            return self
                .to
                .send_data(Bytes::new(), true)
                .map_err(io::Error::other);
        }
        let trailers = heads::response_trailers(section).map_err(io::Error::other)?;
        self.to.send_trailers(trailers).map_err(io::Error::other)
    }
}
