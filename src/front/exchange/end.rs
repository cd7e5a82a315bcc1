//! [`End`]: how an attempt, or the delivery behind it, ended.

use super::buffer::Buffer;
use super::flow::Flow;
use super::spool::Spool;
use crate::front::http::local_reply::LocalReply;

/// The reason where a response breaks RFC 9112's rules of framing.
pub(super) const MALFORMED: &str = "the application sent a malformed body";

#[derive(Debug)]
pub enum End {
    /// The response was passed on whole.
    Complete {
        /// The client's connection can take the next request.
        keep_client: bool,
        /// The backend's connection can take the next request.
        keep_upstream: bool,
    },
    /// The backend gave all that it will of the response. The client has not taken all of it.
    Received {
        /// The backend's connection can take the next request.
        keep_upstream: bool,
        rest: Box<Rest>,
    },
    /// Nothing of a final response was passed on. The client is answered with this.
    Failed(LocalReply),
    /// A kept connection turned out to be dead. The request can be sent again.
    Stale,
    /// The response broke off. What came of it was passed on.
    Truncated(&'static str),
    /// The client is gone (H27).
    Gone,
    /// The backend switched protocols, and a tunnel follows.
    Upgraded(Tunnel),
}

impl End {
    /// Whether the backend's connection can take the next request.
    #[must_use]
    pub fn keeps_upstream(&self) -> bool {
        matches!(
            self,
            Self::Complete {
                keep_upstream: true,
                ..
            } | Self::Received {
                keep_upstream: true,
                ..
            }
        )
    }
}

/// What a tunnel starts with: the 101 that the client is sent, and what came from the backend behind it.
#[derive(Debug)]
pub struct Tunnel {
    pub head: Vec<u8>,
    pub upstream_in: Buffer,
}

/// The part of a response that the client has not taken yet. The backend is done with it.
#[derive(Debug)]
pub struct Rest {
    pub(super) spool: Option<Box<Spool>>,
    pub(super) flow: Flow<'static>,
    /// The bytes that the flow takes from.
    pub(super) input: Buffer,
    pub(super) keep_client: bool,
    /// The client sends nothing more, but takes this.
    pub(super) client_ended: bool,
    /// Why this is not the whole response, if it is not.
    pub(super) broken: Option<&'static str>,
}

impl Rest {
    /// Returns the bytes that the client has not taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        let spooled = self.spool.as_ref().map_or(0, |spool| spool.len());
        spooled + self.input.bytes().len() as u64
    }

    /// Whether the client has taken everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flow.is_clear() && self.spool.as_ref().is_none_or(|spool| spool.is_empty())
    }
}
