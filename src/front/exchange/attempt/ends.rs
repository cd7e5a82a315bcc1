//! The ends of an attempt that fails, or that its client has not taken all of.

use super::{Attempt, Phase};
use crate::front::exchange::client_end::ClientStream;
use crate::front::exchange::end::{End, Rest};
use crate::front::exchange::flow::Flow;
use crate::front::exchange::spool::LOST;
use crate::front::http::framing::Framing;
use crate::front::http::local_reply::LocalReply;

impl<S: ClientStream> Attempt<'_, S> {
    pub(super) fn broken(&mut self, why: &'static str) -> End {
        if self.has_no_spool() {
            End::Truncated(why)
        } else {
            self.received(Some(why))
        }
    }

    /// Ends the backend's part. What is left is between this server and the client.
    pub(super) fn received(&mut self, broken: Option<&'static str>) -> End {
        let more = self.upstream_in.bytes().len() - self.down.pending_body();
        End::Received {
            keep_upstream: broken.is_none() && self.keeps_upstream() && more == 0,
            rest: Box::new(Rest {
                spool: self.spool.take(),
                flow: std::mem::replace(
                    &mut self.down,
                    Flow::new(b"", Framing::Empty, Framing::Empty),
                ),
                input: std::mem::take(&mut self.upstream_in),
                keep_client: self.keep_client && !self.client_ended,
                client_ended: self.client_ended,
                broken,
            }),
        }
    }

    pub(super) fn lost(&self) -> End {
        log::error!("request {}: {LOST}", self.request_info.request_id);
        if self.answered || !self.down.is_clear() {
            End::Truncated(LOST)
        } else {
            End::Failed(LocalReply::lost())
        }
    }

    pub(super) fn fail(&self, reply: LocalReply) -> End {
        if self.answered {
            End::Truncated("the request broke off")
        } else {
            End::Failed(reply)
        }
    }

    pub(super) fn bad_response(&self, why: &str) -> End {
        log::warn!(
            "request {}: malformed response: {why}",
            self.request_info.request_id
        );
        End::Failed(LocalReply::bad_response())
    }

    /// The end where the backend closed before a final response head.
    pub(super) fn closed(&self) -> End {
        let silent = self.upstream_in.is_empty() && self.interim == 0;
        let again = !self.up.has_begun() || self.replay.is_some();
        if self.reused && silent && self.request_info.idempotent && again {
            return End::Stale;
        }
        End::Failed(LocalReply::closed())
    }

    /// Puts back what was taken of the body, so that the request can be sent again.
    pub(super) fn rewind(&mut self) {
        if self.up.has_begun()
            && let Some(body) = self.replay.take()
        {
            self.up.abandon(&mut self.client.input);
            self.client.input.put_back(&body);
        }
    }

    pub(super) fn timed_out(&self) -> End {
        match self.phase {
            Phase::Head { .. } if !self.up.has_ended() && self.up.is_clear() => {
                End::Failed(LocalReply::slow_client())
            }
            Phase::Head { .. } => End::Failed(LocalReply::timeout()),
            Phase::Body => End::Truncated("nothing moved within the idle limit"),
        }
    }
}
