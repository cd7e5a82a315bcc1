//! [`FrontSettings`]: addresses, times and sizes that hold for all connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::router::reach::Reach;

/// Times after which the front end gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect to a backend.
    pub connect: Duration,
    pub head: Duration,
    /// From the end of the request to a whole response head.
    pub response: Duration,
    /// Between two requests of a connection, and between two pieces of a body.
    pub idle: Duration,
    /// From here on a client has to send 500 bytes of a body each second on average.
    pub body: Duration,
    /// A tunnel in which no byte moves either way.
    pub tunnel_idle: Duration,
}

/// Sizes beyond which the front end refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head.
    pub head: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Bytes of a response kept in a file until its client takes them.
    pub buffer: u64,
    pub headers: usize,
    pub connections: usize,
    /// Connections of one address, over all workers.
    pub connections_per_address: usize,
}

#[derive(Clone, Debug)]
pub struct FrontSettings {
    pub workers: usize,
    /// The ways by which requests come to apps and to the API.
    pub reach: Arc<Reach>,
    /// Networks whose forwarding fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections from these networks begin with a PROXY header, which names the client.
    pub proxy_protocol: bool,
    /// How long a request waits for an app that is starting.
    pub hold: Duration,
    /// How long requests in flight may take when the daemon stops.
    pub drain: Duration,
    /// The directory for bodies that are too large for memory. Their files have no names.
    pub buffers: PathBuf,
    pub timeouts: Timeouts,
    pub limits: Limits,
}
