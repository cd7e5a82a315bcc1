//! The range of ports that processes are given.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use socket2::{Domain, Socket, Type};

use super::listeners;

/// Hands out ports of the configured range, each to one process at a time, across all applications.
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

/// A lease, and why it is not of another port.
#[derive(Debug)]
pub struct Leased {
    pub lease: PortLease,
    /// The first port that was passed over because another program has it.
    pub taken: Option<u16>,
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

    /// Leases `preferred` if it is in the range and free (no socket is bound to it, on IPv4 and IPv6), else another.
    /// Blocks: it may probe the whole range, but without the lock, for which the control thread waits when it adopts a port or gives one back.
    ///
    /// # Errors
    /// [`PortsExhausted`].
    pub fn lease(&self, preferred: Option<u16>) -> Result<Leased, PortsExhausted> {
        let (start, mut taken) = (lock(&self.inner).next, None);
        let ports = preferred
            .filter(|port| (self.first..=self.last).contains(port))
            .into_iter()
            .chain(start..=self.last)
            .chain(self.first..start);
        for port in ports {
            // Leased while it is probed; given back where it is not free.
            let Some(lease) = self.adopt(port) else {
                continue;
            };
            if !lease.is_free() {
                taken = taken.or(Some(port));
                continue;
            }
            if preferred != Some(port) {
                let is_last = port == self.last;
                lock(&self.inner).next = if is_last { self.first } else { port + 1 };
            }
            return Ok(Leased { lease, taken });
        }
        Err(PortsExhausted(format!("{}-{}", self.first, self.last)))
    }

    /// The first and the last port of the range, and how many of them are leased.
    #[must_use]
    pub fn count(&self) -> (u16, u16, usize) {
        let leased = lock(&self.inner)
            .leased
            .range(self.first..=self.last)
            .count();
        (self.first, self.last, leased)
    }

    /// Leases `port` without probing it: an adopted process listens on it. `None` when it is leased already.
    #[must_use]
    pub fn adopt(&self, port: u16) -> Option<PortLease> {
        let is_new = lock(&self.inner).leased.insert(port);
        is_new.then(|| PortLease {
            port,
            inner: Arc::clone(&self.inner),
        })
    }
}

impl PortLease {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether no other program has taken it meanwhile. Blocks.
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

/// Whether an app could listen on any address of a port. Tried by binding both wildcard addresses, which fails beside
/// any socket that is bound to the port, also one that does not listen yet: whoever has it could answer in the app's
/// place later. Bound, not listened on, so that no client can connect to the probe.
fn is_free(port: u16) -> bool {
    is_unbound(port, false) || {
        // What is in the way may be what is left of connections: those of the predecessor stay for a minute (TIME_WAIT)
        // and are no obstacle to programs that set SO_REUSEADDR, as servers do. A listener is one all the same
        // (socket(7)).
        listeners::has_connection(port) && is_unbound(port, true)
    }
}

fn is_unbound(port: u16, reuse: bool) -> bool {
    let taken = |address: SocketAddr| match bind(address, reuse) {
        Ok(()) => false,
        // Anything else (no IPv6 here, no descriptors left) says nothing of the port.
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
        ),
    };
    !taken((Ipv4Addr::UNSPECIFIED, port).into()) && !taken((Ipv6Addr::UNSPECIFIED, port).into())
}

fn bind(address: SocketAddr, reuse: bool) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(reuse)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A range of ports that are free now, below those that the kernel gives to other tests' connections.
    fn free_range(size: u16) -> (u16, u16) {
        (0..100)
            .map(|_| {
                10_000 + u16::try_from(getrandom::u32().expect("random") % 9_000).expect("small")
            })
            .map(|first| (first, first + size - 1))
            .find(|(first, last)| (*first..=*last).all(is_free))
            .expect("a few free ports in a row")
    }

    #[test]
    fn a_port_is_leased_once_and_again_after_its_return() {
        let (first, last) = free_range(2);
        let ports = Ports::new(first, last);
        let (a, b) = (leased(&ports, None), leased(&ports, None));
        assert_ne!(a.port(), b.port());
        assert_eq!(
            ports.lease(None).expect_err("exhausted").to_string(),
            format!(
                "no free port in {first}-{last}: widen `ports` in procserver.toml or stop what uses them"
            )
        );
        let returned = a.port();
        drop(a);
        assert_eq!(leased(&ports, None).port(), returned);
    }

    #[test]
    fn the_preferred_port_is_given_where_free() {
        let (first, last) = free_range(3);
        let ports = Ports::new(first, last);
        let wanted = leased(&ports, Some(last));
        assert_eq!(wanted.port(), last);
        assert_eq!(leased(&ports, Some(last)).port(), first);
        assert_ne!(leased(&ports, Some(1)).port(), 1);
    }

    fn leased(ports: &Ports, preferred: Option<u16>) -> PortLease {
        ports.lease(preferred).expect("lease").lease
    }

    /// A socket that is bound to an address, and does not listen.
    fn bound(address: &str, port: u16, reuse: bool) -> Option<Socket> {
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).ok()?;
        socket.set_reuse_address(reuse).expect("option");
        if address.is_ipv6() {
            socket.set_only_v6(true).expect("option");
        }
        // A machine without IPv6 has nothing to try there.
        socket.bind(&address.into()).ok()?;
        Some(socket)
    }

    #[test]
    fn a_port_with_a_socket_on_any_address_is_passed_over_and_named() {
        for address in ["127.0.0.1", "::1", "0.0.0.0", "::", "127.0.0.2"] {
            for (reuse, listens) in [(false, false), (true, false), (true, true)] {
                let (first, last) = free_range(2);
                let ports = Ports::new(first, last);
                let Some(socket) = bound(address, first, reuse) else {
                    continue;
                };
                if listens {
                    socket.listen(1).expect("listen");
                }
                let Leased { lease, taken } = ports.lease(Some(first)).expect("lease");
                assert_eq!((lease.port(), taken), (last, Some(first)), "{address}");
            }
        }
    }

    #[test]
    fn what_is_left_of_the_connections_of_a_predecessor_is_no_obstacle() {
        let (first, last) = free_range(2);
        let listener = bound("127.0.0.1", first, true).expect("bound");
        listener.listen(1).expect("listen");
        let mut client = std::net::TcpStream::connect(("127.0.0.1", first)).expect("connect");
        let (served, _) = listener.accept().expect("accept");
        // Who closes first waits: here the server.
        drop((served, listener));
        std::io::Read::read_to_end(&mut client, &mut Vec::new()).expect("end");
        drop(client);
        assert!(!is_unbound(first, false), "it is in TIME_WAIT");
        let ports = Ports::new(first, last);
        let Leased { lease, taken } = ports.lease(Some(first)).expect("lease");
        assert_eq!((lease.port(), taken), (first, None));
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
