//! [`Client`]: the client's connection, for whoever reads a request from it or writes a response to it.

use std::net::SocketAddr;

use super::buffer::Buffer;
use super::deadline::Deadline;
use crate::front::access::entry::Spoken;
use crate::front::http::local_reply::LocalReply;
use crate::front::upstream::connection::Upstream;

/// Bytes that are read behind a whole request, to see whether the client is still there. Further requests wait in them.
pub(crate) const BEHIND: usize = 8 * 1024;

/// A client's connection. `S` is what carries its bytes: TCP, or what decrypts them.
#[derive(Debug)]
pub struct Client<S> {
    pub stream: S,
    /// Bytes that came and were not used yet.
    pub input: Buffer,
    /// The time limit of whatever is waited for.
    pub deadline: Deadline,
    pub endpoints: Endpoints,
    /// The pipe to the API, once the API was asked. It tells the API the client's address, so it is not shared.
    pub api: Option<Upstream>,
}

/// Where a connection came from, and where it came in.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    pub peer: SocketAddr,
    /// The address of the listener.
    pub local: SocketAddr,
    /// The port, if the listener is an app's own.
    pub app_port: Option<u16>,
    /// The peer's forwarding fields are believed.
    pub is_trusted: bool,
    /// TLS is spoken.
    pub is_secure: bool,
    /// HTTP/2 is spoken.
    pub is_http2: bool,
}

impl Endpoints {
    /// How the client speaks to this server.
    #[must_use]
    pub fn spoken(&self) -> Spoken {
        Spoken {
            is_secure: self.is_secure,
            is_http2: self.is_http2,
        }
    }
}

/// Why there is nothing to answer a request with.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The request is answered with this.
    Refused(LocalReply),
    /// The client is gone.
    Gone,
}
