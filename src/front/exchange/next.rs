//! [`Next`]: what follows on a client's connection after a request.

use super::upgraded::Upgraded;

pub(crate) enum Next {
    /// The next request.
    Again,
    Close,
    /// The end, once the client had time to read the response.
    Linger,
    Tunnel(Box<Upgraded>),
}
