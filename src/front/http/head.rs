//! [`Request`] and [`Response`]: heads that were parsed and checked (pure).

use super::authority::Authority;
use super::fields::Fields;
use super::framing::Framing;

/// Fields that a head may have at most, whatever the settings say.
pub const MAX_FIELDS: usize = 256;

/// Fields that a response head may have at most, and its bytes: some programs set a cookie for each thing they know.
pub(super) const MAX_RESPONSE_FIELDS: usize = 1000;
pub(crate) const MAX_RESPONSE: usize = 256 * 1024;

/// Bytes of a request target at most; RFC 9112 §3 asks for 8,000 at least.
pub const MAX_TARGET: usize = 16 * 1024;

/// Bytes of a request line at which it is not read on.
pub(crate) const MAX_LINE: usize = MAX_TARGET + 64;

/// Why a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("The request is malformed: {0}.")]
    Malformed(&'static str),
    /// 405: CONNECT or TRACE.
    #[error("The method is not offered here: use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.")]
    Method,
    /// 414.
    #[error("The request target is too long: at most {MAX_TARGET} bytes are accepted.")]
    Target,
    /// 417.
    #[error("The expectation cannot be met: only \"100-continue\" is known.")]
    Expectation,
    /// 501.
    #[error("The transfer coding is not known here: only \"chunked\" is.")]
    Coding,
    /// 431.
    #[error("The request head is too large, or has too many fields: send fewer or shorter ones.")]
    TooLarge,
    /// 505.
    #[error("The protocol version is not supported: use HTTP/1.1.")]
    Version,
}

impl Refusal {
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Method => 405,
            Self::Target => 414,
            Self::Expectation => 417,
            Self::TooLarge => 431,
            Self::Coding => 501,
            Self::Version => 505,
        }
    }
}

/// Why a response head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed response: {0}")]
pub struct BadResponse(pub &'static str);

/// A parsed and checked request head.
#[derive(Clone, Debug)]
pub struct Request<'b> {
    pub method: &'b str,
    /// What is forwarded: path and query, byte for byte, or `*`.
    pub target: &'b str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor: u8,
    /// All fields, in order.
    pub fields: Fields<'b>,
    /// Whom the request is for: from an absolute target, else Host; `None` in HTTP/1.0 without Host.
    pub authority: Option<Authority<'b>>,
    /// The authority came with the target and replaces Host.
    pub absolute: bool,
    /// How the body is delimited.
    pub framing: Framing,
    /// The client wants the connection kept.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends the body.
    pub expects_continue: bool,
    /// The protocols that the client would switch to.
    pub upgrade: Option<&'b str>,
}

/// A parsed and checked response head.
#[derive(Clone, Debug)]
pub struct Response<'b> {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase, as it came; bytes above 127 may be in it.
    pub reason: &'b [u8],
    /// All fields, in order.
    pub fields: Fields<'b>,
    /// How the body is delimited.
    pub framing: Framing,
    /// What Content-Length says, of a message without a body too.
    pub length: Option<u64>,
    /// The backend keeps the connection.
    pub keep_alive: bool,
}
