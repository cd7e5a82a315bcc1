//! [`End`]: how an exchange ended.

use super::buffer::Buffer;
use super::delivery::Rest;
use crate::front::http::error_page::Failure;

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
