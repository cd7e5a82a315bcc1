//! [`Https`]: the field `tls`.

use std::time::Duration;

/// How clients of an application come to use HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Https {
    /// A request by plain HTTP is sent there, once there is a certificate for its host.
    pub redirect: bool,
    /// For how long browsers are told to use nothing else (`Strict-Transport-Security`, RFC 6797); zero: they are not.
    pub hsts: Duration,
    /// A certificate authority is asked for a certificate of each name, where the server asks one.
    pub acme: bool,
    /// Clients are offered HTTP/2.
    pub http2: bool,
}

impl Default for Https {
    fn default() -> Self {
        Self {
            redirect: true,
            hsts: Duration::ZERO,
            acme: true,
            http2: true,
        }
    }
}
