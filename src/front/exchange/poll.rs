//! What an exchange waits for: its two connections, each of which is read and written only as far as the other takes it.

use std::future::Future as _;
use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{BEHIND, Exchange, Phase, SPACE, Stop};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Reads and writes what is possible; ready once something was.
    pub(super) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let sent = self.poll_send(cx);
        let received = self.poll_receive(cx);
        // A part of a head does not move the limit: it has to be whole in time.
        let mut moved = sent || (received && self.phase == Phase::Body);
        // Once the request is out there is nothing to do about it any more.
        let mut progress = received || (sent && !self.up.is_done());
        // What was received is passed on first; whether the client is still there can be asked then.
        if !received || !self.down.is_clear() {
            match self.poll_client(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                Poll::Ready(Ok(in_exchange)) => {
                    moved |= in_exchange;
                    progress = true;
                }
                Poll::Pending => {}
            }
        }
        if let Some(sleep) = &mut self.continue_at
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.continue_at = None;
            self.down
                .framed()
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            progress = true;
        }
        if moved {
            self.client.deadline.set(self.limit());
        }
        if progress {
            return Poll::Ready(Ok(()));
        }
        self.client.deadline.poll(cx).map(|()| Err(Stop::Timeout))
    }

    /// Writes the request: whether something of it moved.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> bool {
        if self.upload_broken || self.up.is_clear() {
            return false;
        }
        let written = self.up.poll_write(cx, self.upstream, self.client.input);
        // It may have answered before it closed.
        self.upload_broken = matches!(written, Poll::Ready(Err(_)));
        written.is_ready()
    }

    /// Reads the response, until it is whole: whether there was something, or its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> bool {
        let is_whole = self.phase == Phase::Body && self.down.has_ended();
        if is_whole || self.upstream_ended || self.upstream_in.holds(SPACE) {
            return false;
        }
        let filled = self
            .upstream_in
            .poll_fill(cx, self.upstream, SPACE, self.spare);
        match filled {
            Poll::Ready(Ok(0)) => self.upstream_ended = true,
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => (self.upstream_ended, self.upstream_failed) = (true, true),
            Poll::Pending => return false,
        }
        true
    }

    /// Writes the response and reads the request's body, or, behind it, what tells that the client is gone. The
    /// answer says whether it concerned this exchange.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut progress = Poll::Pending;
        if !self.down.is_clear() {
            let written = self
                .down
                .poll_write(cx, self.client.stream, &mut self.upstream_in);
            if written?.is_ready() {
                progress = Poll::Ready(Ok(true));
            }
            if self.down.is_done() {
                return progress;
            }
        }
        let space = if self.up.has_ended() { BEHIND } else { SPACE };
        if !self.client_ended && !self.client.input.holds(space) {
            let filled = self
                .client
                .input
                .poll_fill(cx, self.client.stream, space, self.spare);
            match filled? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(_) if self.up.has_ended() => {
                    if progress.is_pending() {
                        progress = Poll::Ready(Ok(false));
                    }
                }
                Poll::Ready(_) => progress = Poll::Ready(Ok(true)),
                Poll::Pending => {}
            }
        }
        progress
    }
}
