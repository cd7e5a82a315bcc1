//! [`Pool`]: connections to backends, kept for the next request; one pool a worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::upstream::Upstream;
use crate::router::table::Table;

/// Idle connections kept for one backend.
const IDLE: usize = 1024;

/// Idle connections of one worker, by backend; the one used last is used next.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<HashMap<SocketAddr, Vec<Upstream>>>,
    filled: Rc<Notify>,
}

impl Pool {
    /// A kept connection on which nothing came since.
    pub fn take(&self, address: SocketAddr) -> Option<Upstream> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(&address)?;
        while let Some(mut connection) = kept.pop() {
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last exchange is complete, if there is room.
    pub fn put(&self, address: SocketAddr, connection: Upstream) {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            self.filled.notify_one();
        }
        let kept = idle.entry(address).or_default();
        if kept.len() < IDLE {
            kept.push(connection);
        }
    }

    /// Told whenever there is something to sweep where there was nothing.
    pub fn filled(&self) -> Rc<Notify> {
        Rc::clone(&self.filled)
    }

    /// Whether there is nothing to sweep.
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Drops connections that show bytes or their end.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain_mut(Upstream::is_quiet);
            !kept.is_empty()
        });
    }

    /// Drops the connections to backends that `table` does not name.
    pub fn keep_only(&self, table: &Table) {
        // Tables come in thousands when a server starts.
        if self.is_empty() {
            return;
        }
        let routes = table.routes().iter();
        let named: std::collections::HashSet<SocketAddr> = routes
            .flat_map(|r| r.backends.iter().map(|b| b.address))
            .collect();
        self.idle
            .borrow_mut()
            .retain(|address, _| named.contains(address));
    }
}

/// Connects to a backend.
///
/// # Errors
/// What `connect(2)` returns, or [`io::ErrorKind::TimedOut`] after `limit`.
pub async fn connect(address: SocketAddr, limit: Duration) -> io::Result<Upstream> {
    let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(Upstream::Tcp(stream))
}
