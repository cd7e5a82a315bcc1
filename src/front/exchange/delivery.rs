//! Passes on what is left of a response at the client's speed, once the backend has given all of it.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::client::{BEHIND, Client};
use super::client_end::{ClientEnd, ClientStream};
use super::end::{End, MALFORMED, Rest};
use super::spool;
use crate::front::worker::Worker;

impl Rest {
    pub async fn deliver<S: ClientStream>(
        &mut self,
        client: &mut Client<S>,
        worker: &Worker,
        idle: Duration,
    ) -> End {
        let mut watch = None;
        client.deadline.set(idle);
        loop {
            // All bytes have come, but malformed trailers may only show here.
            if self.flow.take(&mut self.input).is_err() {
                self.broken.get_or_insert(MALFORMED);
            }
            if self.is_empty() {
                return match self.broken {
                    Some(why) => End::Truncated(why),
                    None => End::Complete {
                        keep_client: self.keep_client,
                        keep_upstream: false,
                    },
                };
            }
            let moved = poll_fn(|cx| {
                if let Poll::Ready(moved) = self.poll_write(cx, &mut client.stream) {
                    return Poll::Ready(moved);
                }
                if let Poll::Ready(end) = self.poll_client(cx, client, &mut watch, worker) {
                    return Poll::Ready(end);
                }
                client
                    .deadline
                    .poll(cx)
                    .map(|()| Err(End::Truncated("the client does not read")))
            });
            match moved.await {
                Ok(true) => client.deadline.set(idle),
                Ok(false) => {}
                Err(end) => return end,
            }
        }
    }

    fn poll_write<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<bool, End>> {
        let spool = self.spool.as_mut().filter(|spool| !spool.is_empty());
        let Some(spool) = spool else {
            let written = self.flow.poll_write(cx, stream, &mut self.input);
            return written.map(|written| written.map(|()| true).map_err(|_| End::Gone));
        };
        let worked = spool.poll(cx);
        if matches!(worked, Poll::Ready(Err(_))) {
            return Poll::Ready(Err(End::Truncated(spool::LOST)));
        }
        match spool.poll_send(cx, stream) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(End::Gone)),
            Poll::Pending => worked.map(|_| Ok(false)),
        }
    }

    /// Reads on to learn whether the client is still there.
    fn poll_client<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<S>,
        watch: &mut Option<ClientEnd>,
        worker: &Worker,
    ) -> Poll<Result<bool, End>> {
        if self.client_ended {
            return Poll::Pending;
        }
        if client.input.holds(BEHIND) {
            if watch.is_none() {
                *watch = client.stream.end();
            }
            let end = watch.as_ref().map_or(Poll::Pending, |end| end.poll(cx));
            return end.map(|()| Err(End::Gone));
        }
        client
            .input
            .poll_fill(cx, &mut client.stream, BEHIND, &worker.spare)
            .map(|filled| match filled {
                Ok(1..) => Ok(false),
                Ok(0) | Err(_) => Err(End::Gone),
            })
    }
}
