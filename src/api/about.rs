//! [`About`]: what a server knows of itself since its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::process::ports::Ports;
use crate::router::backend::Load;

/// What a server knows of itself since its start.
#[derive(Clone, Debug)]
pub struct About {
    pub started_at: Timestamp,
    /// The same by the monotonic clock.
    pub started: Instant,
    /// The public listeners as bound, those without TLS and those with it.
    pub listen: Vec<SocketAddr>,
    pub tls_listen: Vec<SocketAddr>,
    /// The Unix socket of the API.
    pub socket: PathBuf,
    pub data_dir: PathBuf,
    /// The ports of processes.
    pub ports: Ports,
    /// The connections of clients, over all workers.
    pub connections: Arc<Load>,
}

impl About {
    /// A server that starts now, without listeners.
    #[must_use]
    pub fn new(data_dir: PathBuf, ports: Ports) -> Self {
        Self {
            started_at: Timestamp::now(),
            started: Instant::now(),
            listen: Vec::new(),
            tls_listen: Vec::new(),
            socket: PathBuf::new(),
            data_dir,
            ports,
            connections: Arc::default(),
        }
    }
}
