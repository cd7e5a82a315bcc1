//! Listening sockets of apps with a port of their own: they come and go with the routing table.
//!
//! The server's own listeners are actix-server's. These are accepted on the control thread, whose part ends with
//! handing the socket to a worker.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_rt::task::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::router::table::Table;

/// The pause after an accept that failed: out of file descriptors, it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// How often binding is tried again while a port is taken.
const RETRY: Duration = Duration::from_secs(5);

/// A connection that came in by an app's own port.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// The listener's address.
    pub local: SocketAddr,
}

/// The workers that connections can be handed to, in turn.
#[derive(Clone, Debug, Default)]
pub struct Workers(Arc<Mutex<Turns>>);

#[derive(Debug, Default)]
struct Turns {
    senders: Vec<mpsc::Sender<Accepted>>,
    next: usize,
}

impl Workers {
    /// Adds a worker.
    pub fn add(&self, worker: mpsc::Sender<Accepted>) {
        self.0
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .senders
            .push(worker);
    }

    /// Hands a connection to the next worker with room; the connection is closed if there is none.
    fn hand_over(&self, mut accepted: Accepted) {
        let mut turns = self.0.lock().unwrap_or_else(|e| e.into_inner());
        turns.senders.retain(|sender| !sender.is_closed());
        for _ in 0..turns.senders.len() {
            turns.next = (turns.next + 1) % turns.senders.len();
            match turns.senders[turns.next].try_send(accepted) {
                Ok(()) => return,
                Err(
                    mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
                ) => {
                    accepted = back;
                }
            }
        }
        log::warn!(
            "port {}: a connection was closed, all workers are busy",
            accepted.local.port()
        );
    }
}

/// The sockets that listen now; dropping one closes it.
struct Ports {
    addresses: Vec<IpAddr>,
    workers: Workers,
    open: HashMap<u16, Vec<Open>>,
    failed: HashSet<u16>,
}

struct Open(JoinHandle<()>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps listeners for the ports that the table names, on `addresses`, until it is dropped.
pub async fn follow(
    mut table: watch::Receiver<Arc<Table>>,
    addresses: Vec<IpAddr>,
    workers: Workers,
) {
    let mut ports = Ports {
        addresses,
        workers,
        open: HashMap::new(),
        failed: HashSet::new(),
    };
    loop {
        let named: HashSet<u16> = table
            .borrow_and_update()
            .routes()
            .iter()
            .filter_map(|r| r.port)
            .collect();
        ports.set(&named);
        let changed = table.changed();
        let changed = if ports.failed.is_empty() {
            changed.await
        } else {
            tokio::time::timeout(RETRY, changed).await.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            // The router's end is gone with the daemon.
            return;
        }
    }
}

impl Ports {
    fn set(&mut self, named: &HashSet<u16>) {
        self.open.retain(|port, _| named.contains(port));
        self.failed.retain(|port| named.contains(port));
        for port in named {
            if self.open.contains_key(port) {
                continue;
            }
            match self.bind(*port) {
                Ok(open) => {
                    log::info!("port {port}: listening for its application");
                    self.failed.remove(port);
                    self.open.insert(*port, open);
                }
                Err(error) if self.failed.insert(*port) => log::error!(
                    "port {port}: {error}: its application is not reachable there. Free the port (see `ss -ltnp`) or \
                     give the application another one; it is tried again every {} s.",
                    RETRY.as_secs()
                ),
                Err(_) => {}
            }
        }
    }

    fn bind(&self, port: u16) -> io::Result<Vec<Open>> {
        // `[::]` takes IPv4 too, unless that is listened on beside it.
        let only_v6 = self.addresses.iter().any(IpAddr::is_ipv4);
        let addresses = self.addresses.iter();
        addresses
            .map(|ip| {
                let local = SocketAddr::new(*ip, port);
                let accept = accept(listen(local, only_v6)?, local, self.workers.clone());
                Ok(Open(actix_rt::spawn(accept)))
            })
            .collect()
    }
}

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
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
    // Accepted sockets have it from their listener (Linux).
    socket.set_tcp_nodelay(true)?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, local: SocketAddr, workers: Workers) {
    loop {
        match listener
            .accept()
            .await
            .and_then(|(stream, _)| stream.into_std())
        {
            Ok(stream) => workers.hand_over(Accepted { stream, local }),
            Err(error) => {
                log::warn!("port {}: accept: {error}", local.port());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
