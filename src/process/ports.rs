//! The range of ports that processes are given.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use socket2::{Domain, Socket, Type};

/// Hands out ports of the configured range, each to one process at a time, across all applications. A small lock
/// shared by all Process actors: leasing is rare and never waits for anything.
#[derive(Clone, Debug)]
pub struct Ports {
    first: u16,
    last: u16,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    leased: BTreeSet<u16>,
    /// Where the next search begins: a port that was just given back rests, so that a client of the old process does
    /// not find another app.
    next: u16,
}

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    inner: Arc<Mutex<Inner>>,
}

/// Every port of the range is leased or taken by another program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no free port in {0}: widen `ports` in procserver.toml or stop what uses them")]
pub struct PortsExhausted(pub String);

impl Ports {
    /// Ports `first..=last`.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Self {
        Self {
            first,
            last,
            inner: Arc::new(Mutex::new(Inner {
                leased: BTreeSet::new(),
                next: first,
            })),
        }
    }

    /// Leases `preferred` if it is in the range and free (nothing listens on it, on IPv4 and IPv6), else another.
    ///
    /// # Errors
    /// [`PortsExhausted`].
    pub fn lease(&self, preferred: Option<u16>) -> Result<PortLease, PortsExhausted> {
        let mut inner = lock(&self.inner);
        let start = inner.next;
        let port = preferred
            .filter(|port| (self.first..=self.last).contains(port))
            .into_iter()
            .chain(start..=self.last)
            .chain(self.first..start)
            .find(|port| !inner.leased.contains(port) && is_free(*port))
            .ok_or_else(|| PortsExhausted(format!("{}-{}", self.first, self.last)))?;
        inner.leased.insert(port);
        if preferred != Some(port) {
            inner.next = if port < self.last {
                port + 1
            } else {
                self.first
            };
        }
        Ok(self.leased(port))
    }

    /// Leases `port` without probing it: an adopted process listens on it. `None` when it is leased already.
    #[must_use]
    pub fn adopt(&self, port: u16) -> Option<PortLease> {
        lock(&self.inner)
            .leased
            .insert(port)
            .then(|| self.leased(port))
    }

    /// Whether another program has a port of the range.
    pub(super) fn has_stranger(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
            && !lock(&self.inner).leased.contains(&port)
            && !is_free(port)
    }

    fn leased(&self, port: u16) -> PortLease {
        PortLease {
            port,
            inner: Arc::clone(&self.inner),
        }
    }
}

impl PortLease {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether no other program has taken it meanwhile.
    #[must_use]
    pub fn is_free(&self) -> bool {
        is_free(self.port)
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        lock(&self.inner).leased.remove(&self.port);
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(|e| e.into_inner())
}

/// Whether both wildcard addresses can be bound: then nothing listens on any address of this port. Bound, not
/// listened on, so that no client can connect to the probe.
fn is_free(port: u16) -> bool {
    let taken = |address: SocketAddr| match bind(address) {
        Ok(()) => false,
        // Anything else (no IPv6 here, no descriptors left) says nothing of the port.
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
        ),
    };
    !taken((Ipv4Addr::UNSPECIFIED, port).into()) && !taken((Ipv6Addr::UNSPECIFIED, port).into())
}

fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of the predecessor in TIME_WAIT are no obstacle; a listener still is (socket(7)).
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A range around a port that is free now.
    fn free_range(size: u16) -> (u16, u16) {
        (0..100)
            .map(|_| {
                let probe = TcpListener::bind("127.0.0.1:0").expect("bind");
                probe.local_addr().expect("address").port()
            })
            .map(|first| (first, first.saturating_add(size - 1)))
            .find(|(first, last)| (*first..=*last).all(is_free))
            .expect("a few free ports in a row")
    }

    #[test]
    fn a_port_is_leased_once_and_again_after_its_return() {
        let (first, last) = free_range(2);
        let ports = Ports::new(first, last);
        let (a, b) = (ports.lease(None).expect("a"), ports.lease(None).expect("b"));
        assert_ne!(a.port(), b.port());
        assert_eq!(
            ports.lease(None).expect_err("exhausted").to_string(),
            format!(
                "no free port in {first}-{last}: widen `ports` in procserver.toml or stop what uses them"
            )
        );
        let returned = a.port();
        drop(a);
        assert_eq!(ports.lease(None).expect("again").port(), returned);
    }

    #[test]
    fn the_preferred_port_is_given_where_free() {
        let (first, last) = free_range(3);
        let ports = Ports::new(first, last);
        let wanted = ports.lease(Some(last)).expect("lease");
        assert_eq!(wanted.port(), last);
        assert_eq!(ports.lease(Some(last)).expect("another").port(), first);
        assert_ne!(ports.lease(Some(1)).expect("in range").port(), 1);
    }

    #[test]
    fn a_port_with_a_listener_on_any_address_is_passed_over() {
        for address in ["127.0.0.1", "[::1]"] {
            let (first, last) = free_range(2);
            let ports = Ports::new(first, last);
            // A machine without IPv6 has nothing to try there.
            let Ok(_listener) = TcpListener::bind(format!("{address}:{first}")) else {
                continue;
            };
            assert_eq!(ports.lease(Some(first)).expect("lease").port(), last);
        }
    }

    #[test]
    fn an_adopted_port_is_not_probed_and_not_leased_twice() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let ports = Ports::new(port, port);
        let lease = ports.adopt(port).expect("adopted");
        assert!(ports.adopt(port).is_none());
        assert!(!lease.is_free());
    }
}
