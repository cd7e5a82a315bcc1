//! Reads and writes the two connections of an attempt, each only as far as the other takes it.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Attempt, Phase, SPACE, Stop};
use crate::front::exchange::client::BEHIND;
use crate::front::exchange::client_end::ClientStream;
use crate::front::exchange::spool::Spool;
use crate::front::http::head::MAX_RESPONSE;

impl<S: ClientStream> Attempt<'_, S> {
    /// Reads and writes what is possible. Ready once something moved.
    pub(super) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let sent = self.poll_send(cx);
        let received = self.poll_receive(cx);
        self.poll_asking(cx, received);
        // A part of a head does not move the limit, because the head has to be whole in time.
        let mut moved = sent || (received && self.phase == Phase::Body);
        // The write that completes the request needs no step.
        let mut progress = received || (sent && !self.up.is_done());
        // What was received is passed on first. Then is the time to see whether the client is still there.
        if !received || !self.down.is_clear() {
            match self.poll_client(cx) {
                Poll::Ready(Err(stop)) => return Poll::Ready(Err(stop)),
                Poll::Ready(Ok(in_exchange)) => {
                    moved |= in_exchange;
                    progress = true;
                }
                Poll::Pending => {}
            }
        }
        if let Some(stored) = &mut self.stored
            && let Poll::Ready(worked) = stored.spool.poll(cx)
        {
            if worked.is_err() {
                return Poll::Ready(Err(Stop::Lost));
            }
            progress = true;
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
            self.moved();
        }
        if progress {
            return Poll::Ready(Ok(()));
        }
        self.client.deadline.poll(cx).map(|()| Err(Stop::Timeout))
    }

    /// Writes the request. Returns whether something of it moved.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> bool {
        if self.upload_broken || self.up.is_clear() {
            return false;
        }
        let stored = self.stored.as_mut().and_then(|stored| stored.source());
        let source = stored.unwrap_or(&mut self.client.input);
        let written = self.up.poll_write(cx, self.upstream, source);
        // The backend may have answered before it closed.
        self.upload_broken = matches!(written, Poll::Ready(Err(_)));
        written.is_ready()
    }

    /// Reads the response until it is whole. Returns whether there were bytes, or the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> bool {
        let is_whole = self.phase == Phase::Body && self.down.has_ended();
        let space = match self.phase {
            Phase::Head { .. } if self.upstream_in.holds(SPACE) => MAX_RESPONSE,
            _ => SPACE,
        };
        if is_whole || self.upstream_ended || self.upstream_in.holds(space) {
            return false;
        }
        let filled = self
            .upstream_in
            .poll_fill(cx, self.upstream, space, &self.worker.spare);
        match filled {
            Poll::Ready(Ok(0)) => self.upstream_ended = true,
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => (self.upstream_ended, self.upstream_failed) = (true, true),
            Poll::Pending => return false,
        }
        true
    }

    fn poll_asking(&mut self, cx: &mut Context<'_>, received: bool) {
        if !received {
            if let Some(asking) = &mut self.asking {
                asking.poll(cx);
            }
        } else if let Some(asking) = self.asking.take() {
            asking.answered();
        }
    }

    /// Writes the response and reads the request's body. Behind the body it reads on to learn whether the client is
    /// gone. The answer says whether something of this exchange moved.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Stop>> {
        let mut progress = Poll::Pending;
        if self.poll_down(cx)? {
            progress = Poll::Ready(Ok(true));
        }
        if self.down.is_done() && self.has_no_spool() {
            return progress;
        }
        if self.client_ended {
            return progress;
        }
        let space = if self.up.has_ended() { BEHIND } else { SPACE };
        if self.client.input.holds(space) {
            return self.poll_end(cx, progress);
        }
        let filled =
            self.client
                .input
                .poll_fill(cx, &mut self.client.stream, space, &self.worker.spare);
        match filled.map_err(|_| Stop::Gone)? {
            // A client that asks for a tunnel may close its half.
            Poll::Ready(0) if self.request_info.upgrade.is_some() && self.up.has_ended() => {
                self.client_ended = true;
            }
            Poll::Ready(0) => return Poll::Ready(Err(Stop::Gone)),
            Poll::Ready(_) if self.up.has_ended() => {
                if progress.is_pending() {
                    progress = Poll::Ready(Ok(false));
                }
            }
            Poll::Ready(_) => progress = Poll::Ready(Ok(true)),
            Poll::Pending => {}
        }
        progress
    }

    /// Looks for the end of a client while nothing more can be read from it.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<Result<bool, Stop>>,
    ) -> Poll<Result<bool, Stop>> {
        if self.watch.is_none() {
            self.watch = self.client.stream.end();
        }
        let ended = self
            .watch
            .as_ref()
            .is_some_and(|end| end.poll(cx).is_ready());
        // A client that asks for a tunnel may close its half. The end of the other half shows at the next write.
        if ended && !(self.request_info.upgrade.is_some() && self.up.has_ended()) {
            return Poll::Ready(Err(Stop::Gone));
        }
        progress
    }

    /// Writes the response, or spools it if the client does not take it. Returns whether something moved.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut moved = false;
        // What TLS has taken may wait for the socket, and nothing may follow it for long.
        let flushed = Pin::new(&mut self.client.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Err(_))) {
            return Err(Stop::Gone);
        }
        if let Some(spool) = self.spool.as_mut().filter(|spool| !spool.is_empty()) {
            match spool.poll(cx) {
                Poll::Ready(Err(_)) => return Err(Stop::Lost),
                Poll::Ready(Ok(())) => moved = true,
                Poll::Pending => {}
            }
            let sent = spool.poll_send(cx, &mut self.client.stream);
            moved |= sent.map_err(|_| Stop::Gone)?.is_ready();
        }
        if self.down.is_clear() {
            return Ok(moved);
        }
        let was_slow = self.client_is_slow;
        self.client_is_slow = true;
        if self.has_no_spool() {
            let written = self
                .down
                .poll_write(cx, &mut self.client.stream, &mut self.upstream_in);
            if written.map_err(|_| Stop::Gone)?.is_ready() {
                self.client_is_slow = false;
                return Ok(true);
            }
        }
        let Some(room) = self.room.filter(|_| self.phase == Phase::Body) else {
            return Ok(moved);
        };
        if self.down.has_come() {
            return Ok(moved || !was_slow);
        }
        // A response that fits into the buffer needs no spool.
        let is_full = self.upstream_in.holds(SPACE) || !self.down.knows_length();
        if is_full || !self.has_no_spool() {
            let spool = self
                .spool
                .get_or_insert_with(|| Box::new(Spool::new(room.clone())));
            let kept = self
                .down
                .poll_write(cx, &mut **spool, &mut self.upstream_in);
            moved |= matches!(kept, Poll::Ready(Ok(())));
        }
        Ok(moved)
    }
}
