//! [`Rest`]: what of a response the client has not taken yet, when the backend has given all of it.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::BEHIND;
use super::buffer::{Buffer, Spare};
use super::client_end::{ClientEnd, ClientStream};
use super::end::End;
use super::flow::Flow;
use super::sides::Client;
use super::spool::Spool;
use crate::front::settings::FrontSettings;

/// What of a response the client has not taken yet. The backend has no part in it any more.
#[derive(Debug)]
pub struct Rest {
    pub(super) spool: Option<Box<Spool>>,
    pub(super) flow: Flow<'static>,
    /// What the flow takes from.
    pub(super) input: Buffer,
    pub(super) keep_client: bool,
    /// The client sends nothing more, and takes this all the same.
    pub(super) client_ended: bool,
    /// Why it is not the whole response.
    pub(super) broken: Option<&'static str>,
}

impl Rest {
    /// Bytes that the client has not taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        let spooled = self.spool.as_ref().map_or(0, |spool| spool.len());
        spooled + self.input.bytes().len() as u64
    }

    /// Whether the client has taken all that there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flow.is_clear() && self.spool.as_ref().is_none_or(|spool| spool.is_empty())
    }

    /// Passes it on at the client's speed.
    pub async fn deliver<S: ClientStream>(
        &mut self,
        client: Client<'_, S>,
        settings: &FrontSettings,
        spare: &Spare,
    ) -> End {
        let Client {
            stream,
            input,
            deadline,
        } = client;
        let mut watch = None;
        deadline.set(settings.timeouts.idle);
        loop {
            // All of it has come, but its trailers may be looked at here only.
            if self.flow.take(&mut self.input).is_err() {
                self.broken.get_or_insert(super::MALFORMED);
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
                if let Poll::Ready(moved) = self.poll_write(cx, stream) {
                    return Poll::Ready(moved);
                }
                if let Poll::Ready(end) = self.poll_client(cx, (stream, input), &mut watch, spare) {
                    return Poll::Ready(end);
                }
                deadline
                    .poll(cx)
                    .map(|()| Err(End::Truncated("the client does not read")))
            });
            match moved.await {
                Ok(true) => deadline.set(settings.timeouts.idle),
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
            return Poll::Ready(Err(End::Truncated(super::spool::LOST)));
        }
        match spool.poll_send(cx, stream) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(End::Gone)),
            Poll::Pending => worked.map(|_| Ok(false)),
        }
    }

    /// Looks whether the client is still there, by what it sends.
    fn poll_client<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        (stream, input): (&mut S, &mut Buffer),
        watch: &mut Option<ClientEnd>,
        spare: &Spare,
    ) -> Poll<Result<bool, End>> {
        if self.client_ended {
            return Poll::Pending;
        }
        if input.holds(BEHIND) {
            if watch.is_none() {
                *watch = stream.end();
            }
            let end = watch.as_ref().map_or(Poll::Pending, |end| end.poll(cx));
            return end.map(|()| Err(End::Gone));
        }
        input
            .poll_fill(cx, stream, BEHIND, spare)
            .map(|filled| match filled {
                Ok(1..) => Ok(false),
                Ok(0) | Err(_) => Err(End::Gone),
            })
    }
}
