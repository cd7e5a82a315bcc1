//! [`FrontSettings`]: what the front end is told when it starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::router::reach::Reach;

/// Times after which the front end gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect to a backend.
    pub connect: Duration,
    pub head: Duration,
    /// A whole response head, from when the request was sent.
    pub response: Duration,
    /// Between two requests of a connection, and between two pieces of a body.
    pub idle: Duration,
    /// Before a client has to send 500 bytes of a body in each second.
    pub body: Duration,
    /// Without a byte either way in a tunnel.
    pub tunnel_idle: Duration,
}

/// Sizes beyond which the front end refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head.
    pub head: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Bytes of a response in a file that its client has not taken yet.
    pub buffer: u64,
    pub headers: usize,
    pub connections: usize,
    /// Connections of one address, over all workers.
    pub connections_per_address: usize,
}

/// What the front end needs to know.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    pub workers: usize,
    /// By which ways requests come to apps and to the API.
    pub reach: Arc<Reach>,
    /// Networks whose forwarding fields are believed, as `ADDRESS` or `ADDRESS/BITS`, parsed by `forwarded`.
    pub trusted_proxies: Vec<String>,
    /// How long a request waits for an app that is starting.
    pub hold: Duration,
    /// How long requests in flight may take when the daemon stops.
    pub drain: Duration,
    /// Where bodies are kept that are larger than what is kept in memory: files that nobody else sees.
    pub buffers: PathBuf,
    pub timeouts: Timeouts,
    pub limits: Limits,
}
