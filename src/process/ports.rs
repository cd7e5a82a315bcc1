//! The range of ports that processes are given.

use std::sync::{Arc, Mutex};

/// Hands out ports of the configured range, each to one process at a time, across all applications. A small lock
/// shared by all Process actors: leasing is rare and never waits for anything.
#[derive(Clone, Debug)]
pub struct Ports {
    #[allow(dead_code)]
    inner: Arc<Mutex<()>>,
}

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
}

/// Every port of the range is leased or taken by another program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no free port in {0}: widen `ports` in procserver.toml or stop what uses them")]
pub struct PortsExhausted(pub String);

impl Ports {
    /// Ports `first..=last`.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Self {
        let _ = (first, last);
        todo!()
    }

    /// Leases `preferred` if it is in the range and free (nothing listens on it, on IPv4 and IPv6), else another.
    ///
    /// # Errors
    /// [`PortsExhausted`].
    pub fn lease(&self, preferred: Option<u16>) -> Result<PortLease, PortsExhausted> {
        let _ = preferred;
        todo!()
    }

    /// Leases `port` without probing it: an adopted process listens on it.
    #[must_use]
    pub fn adopt(&self, port: u16) -> Option<PortLease> {
        let _ = port;
        todo!()
    }
}

impl PortLease {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
