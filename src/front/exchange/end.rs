//! [`End`]: how an exchange ended.

use super::buffer::Buffer;
use super::flow::Flow;
use super::spool::Spool;
use crate::front::http::error_page::Failure;

/// Why a response breaks off that is not framed as RFC 9112 has it.
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
    /// The backend gave all of the response that it will, and the client has not taken all of it.
    Received {
        /// The backend's connection can take the next request.
        keep_upstream: bool,
        /// What the client has not taken.
        rest: Box<Rest>,
    },
    /// Nothing of a final response was passed on; this is to be told to the client.
    Failed(Failure),
    /// A kept connection turned out to be dead; the request can be sent again.
    Stale,
    /// The response broke off; what came of it was passed on.
    Truncated(&'static str),
    /// The client is gone (H27).
    Gone,
    /// The backend switched protocols: a tunnel follows.
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

/// What a tunnel starts with: the 101 to be written, and what came from the backend behind it.
#[derive(Debug)]
pub struct Tunnel {
    pub head: Vec<u8>,
    /// Bytes behind it.
    pub upstream_in: Buffer,
}

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
}
