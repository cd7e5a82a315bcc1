//! The sockets that the front end listens on: the server's own, and those of apps that have a port of their own. The
//! latter come and go with the routing table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::kept::{BACKLOG, Kept, Owner};
use crate::router::table::Table;
use crate::tls::server_config::Tls;

/// The time between two attempts to bind a port that is taken.
const RETRY: Duration = Duration::from_secs(5);

/// A socket that listens for all apps.
pub struct Bound {
    /// As bound: a port 0 has become a real one.
    pub address: SocketAddr,
    pub socket: TcpListener,
    /// What makes handshakes, where TLS is spoken.
    pub tls: Option<Tls>,
}

impl Bound {
    /// The same socket once more.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            address: self.address,
            socket: self.socket.try_clone()?,
            tls: self.tls.clone(),
        })
    }
}

/// A socket that listens. It closes when its last holder drops it.
pub struct Listening {
    pub local: SocketAddr,
    /// The port, if the socket is an app's own.
    pub port: Option<u16>,
    /// What makes handshakes, where TLS is spoken.
    pub tls: Option<Tls>,
    socket: TcpListener,
}

pub type Sockets = Vec<Arc<Listening>>;

/// Ports of apps that cannot be bound now, each with the reason.
pub type Closed = BTreeMap<u16, String>;

impl Listening {
    /// Wraps a listener of the server's own, for all apps.
    ///
    /// # Errors
    /// What `setsockopt(2)` and `fcntl(2)` return.
    pub fn for_all(bound: Bound) -> io::Result<Self> {
        let Bound {
            address,
            socket,
            tls,
        } = bound;
        // Accepted sockets inherit it (Linux).
        socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            local: address,
            port: None,
            tls,
            socket,
        })
    }

    fn for_app(local: SocketAddr, only_v6: bool, kept: &Kept) -> io::Result<Self> {
        Ok(Self {
            local,
            port: Some(local.port()),
            tls: None,
            socket: kept.tcp(Owner::App, local, only_v6, || bind(local, only_v6))?,
        })
    }

    /// Accepts a connection that waits, without waiting for one.
    #[must_use]
    pub fn take_waiting(&self) -> Option<(tokio::net::TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((tokio::net::TcpStream::from_std(stream).ok()?, peer))
    }

    /// Registers a duplicate of the socket with the runtime of this thread.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn of_this_thread(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.socket.try_clone()?)
    }
}

fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The sockets of apps' own ports.
struct Ports {
    kept: Kept,
    addresses: Vec<IpAddr>,
    open: HashMap<u16, Sockets>,
    failed: Closed,
}

/// Publishes `own` and the sockets of the ports that the table names to `sockets`, and the ports that cannot be bound
/// to `closed`, until it is dropped.
pub async fn follow(
    own: Sockets,
    mut table: watch::Receiver<Arc<Table>>,
    sockets: watch::Sender<Sockets>,
    closed: Arc<watch::Sender<Closed>>,
    kept: Kept,
) {
    let mut addresses: Vec<IpAddr> = own.iter().map(|l| l.local.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let mut ports = Ports {
        kept,
        addresses,
        open: HashMap::new(),
        failed: Closed::new(),
    };
    sockets.send_replace(own.clone());
    loop {
        let named: HashSet<u16> = table
            .borrow_and_update()
            .routes()
            .iter()
            .filter_map(|r| r.port)
            .collect();
        if ports.set(&named) {
            let of_apps = ports.open.values().flatten();
            sockets.send_replace(own.iter().chain(of_apps).cloned().collect());
        }
        // All applications are known by now: what was handed over and nobody wants is in nobody's way any more.
        ports.kept.keep_only(|port| named.contains(&port));
        closed.send_if_modified(|told| {
            let is_new = *told != ports.failed;
            told.clone_from(&ports.failed);
            is_new
        });
        let changed = table.changed();
        let changed = if ports.failed.is_empty() {
            changed.await
        } else {
            tokio::time::timeout(RETRY, changed).await.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            // The router's end is gone with the daemon.
            return std::future::pending().await;
        }
    }
}

impl Ports {
    /// Opens and closes sockets so that they are those of the `named` ports. Returns whether any was.
    fn set(&mut self, named: &HashSet<u16>) -> bool {
        let before = self.open.len();
        self.open.retain(|port, _| named.contains(port));
        let mut changed = self.open.len() != before;
        self.failed.retain(|port, _| named.contains(port));
        for port in named {
            if self.open.contains_key(port) {
                continue;
            }
            match self.bind(*port) {
                Ok(open) => {
                    log::info!("port {port}: listening for its application");
                    self.failed.remove(port);
                    self.open.insert(*port, open);
                    changed = true;
                }
                Err(error) => {
                    let told = format!(
                        "port {port}: {error}: its application is not reachable there. Free the port (see `ss -ltnp`) \
                         or give the application another one; it is tried again every {} s.",
                        RETRY.as_secs()
                    );
                    if !self.failed.contains_key(port) {
                        log::error!("{told}");
                        self.failed.insert(*port, told);
                    }
                }
            }
        }
        changed
    }

    fn bind(&self, port: u16) -> io::Result<Sockets> {
        // `[::]` takes IPv4 too, unless there is a socket for IPv4 beside it.
        let only_v6 = self.addresses.iter().any(IpAddr::is_ipv4);
        let addresses = self.addresses.iter();
        addresses
            .map(|ip| {
                let local = SocketAddr::new(*ip, port);
                Listening::for_app(local, only_v6, &self.kept).map(Arc::new)
            })
            .collect()
    }
}
