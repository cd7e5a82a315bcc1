//! [`Upload`]: the body of a request, as bytes of HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use tokio::io::{AsyncRead, ReadBuf};

use super::heads;
use super::traffic::Traffic;
use crate::front::http::framing::chunk_head;

/// What comes behind a request's head. The client may send as much more as was read of it (RFC 9113 §5.2).
#[derive(Debug)]
pub(super) struct Upload {
    body: RecvStream,
    is_chunked: bool,
    /// Framing of HTTP/1.1 that is read before `piece`.
    framing: Vec<u8>,
    used: usize,
    /// The rest of a frame.
    piece: Bytes,
    stage: Stage,
    traffic: Rc<Traffic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    End,
}

impl Upload {
    pub(super) fn new(body: RecvStream, is_chunked: bool, traffic: Rc<Traffic>) -> Self {
        let stage = match body.is_end_stream() {
            true => Stage::End,
            false => Stage::Data,
        };
        Self {
            body,
            is_chunked,
            framing: Vec::new(),
            used: 0,
            piece: Bytes::new(),
            stage,
            traffic,
        }
    }

    /// Whether all of it was read.
    pub(super) fn is_read(&self) -> bool {
        self.stage == Stage::End && self.used == self.framing.len() && self.piece.is_empty()
    }

    /// Moves what is here.
    fn take(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let framing = &self.framing[self.used..];
        let count = framing.len().min(buf.remaining());
        buf.put_slice(&framing[..count]);
        self.used += count;
        if self.used < self.framing.len() {
            return Ok(());
        }
        self.framing.clear();
        self.used = 0;
        let count = self.piece.len().min(buf.remaining());
        if count == 0 {
            return Ok(());
        }
        buf.put_slice(&self.piece[..count]);
        self.piece.advance(count);
        let released = self.body.flow_control().release_capacity(count);
        if self.piece.is_empty() && self.is_chunked {
            self.framing.extend_from_slice(b"\r\n");
        }
        released.map_err(io::Error::other)
    }

    /// Waits for the next frame, once all that came was moved or the buffer has room for more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stage {
            Stage::End => return Poll::Ready(Ok(())),
            Stage::Data => {
                if let Some(data) = ready!(self.body.poll_data(cx)) {
                    self.piece = data.map_err(io::Error::other)?;
                    self.traffic.carry(self.piece.len());
                    // A frame of no bytes may end a body. A chunk of none would be the last one.
                    if self.is_chunked && !self.piece.is_empty() {
                        chunk_head(&mut self.framing, self.piece.len());
                    }
                    return Poll::Ready(Ok(()));
                }
                self.stage = Stage::Trailers;
            }
            Stage::Trailers => {}
        }
        let trailers = ready!(self.body.poll_trailers(cx)).map_err(io::Error::other)?;
        self.stage = Stage::End;
        // A body whose length is known has none in HTTP/1.1.
        if self.is_chunked {
            self.framing.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                heads::request_trailers(&mut self.framing, &trailers);
            }
            self.framing.extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Upload {
    /// Reads what has come. Ready with nothing read at its end.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            self.take(buf)?;
            if buf.remaining() == 0 || self.is_read() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(cx) {
                Poll::Ready(more) => more?,
                Poll::Pending if buf.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
