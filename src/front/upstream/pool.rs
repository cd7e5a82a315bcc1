//! [`Pool`]: the idle connections of a worker to backends, kept for the next request.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::connection::Upstream;
use crate::router::address::Address;
use crate::router::table::Table;

/// Idle connections kept for one backend.
const IDLE: usize = 1024;

/// The time that a connection is kept for another request, give or take the time between two sweeps. Most application
/// servers close theirs after five seconds (node, uvicorn, Apache), and a request that crosses with that is lost unless
/// it can be sent again. The application is on this machine, so a new connection costs next to nothing.
const LONGEST: Duration = Duration::from_secs(3);

/// A connection, and until when it is kept.
type Kept = (Upstream, Instant);

/// Idle connections by backend, each with the time until which it is kept. The one used last is used next.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<Address, Vec<Kept>>>,
    /// The time of the last sweep. It is exact enough, and to read the clock for each request costs more.
    now: Cell<Instant>,
    filled: Rc<Notify>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: RefCell::default(),
            now: Cell::new(Instant::now()),
            filled: Rc::default(),
        }
    }
}

impl Pool {
    /// Takes a kept connection on which nothing came since.
    pub fn take(&self, address: &Address) -> Option<Upstream> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(address)?;
        while let Some((mut connection, _)) = kept.pop() {
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last exchange is complete, if there is room; for `LONGEST` unless a `time` is given.
    pub fn put(&self, address: &Address, connection: Upstream, time: Option<Duration>) {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            // There were no sweeps while the pool was empty.
            self.now.set(Instant::now());
            self.filled.notify_one();
        }
        let kept = match idle.get_mut(address) {
            Some(kept) => kept,
            None => idle.entry(address.clone()).or_default(),
        };
        if kept.len() < IDLE {
            let until = self.now.get() + time.unwrap_or(LONGEST);
            kept.push((connection, until));
        }
    }

    /// Drops the idle connections to a backend, and returns how many there were.
    pub fn give_up(&self, address: &Address) -> usize {
        let kept = self.idle.borrow_mut().remove(address);
        kept.map_or(0, |kept| kept.len())
    }

    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Notified when there is something to sweep where there was nothing.
    pub fn filled(&self) -> Rc<Notify> {
        Rc::clone(&self.filled)
    }

    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Drops connections that show bytes or their end, and those that nobody used for their time.
    pub fn sweep(&self, now: Instant) {
        self.now.set(now);
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain_mut(|(connection, until)| now < *until && connection.is_quiet());
            !kept.is_empty()
        });
    }

    /// Drops the connections to backends that `table` does not name.
    pub fn keep_only(&self, table: &Table) {
        // Tables come by the thousand when a server starts.
        if self.is_empty() {
            return;
        }
        let routes = table.routes().iter();
        let named: std::collections::HashSet<&Address> = routes
            .flat_map(|r| r.all_backends().map(|b| &b.address))
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
pub async fn connect(address: &Address, limit: Duration) -> io::Result<Upstream> {
    let connected = tokio::time::timeout(limit, connect_to(address)).await;
    connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn connect_to(address: &Address) -> io::Result<Upstream> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Upstream::Tcp(stream))
        }
        Address::Unix(file) => Ok(Upstream::Unix(file.connect().await?)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn connections_are_kept_while_they_are_quiet_and_needed() {
        let (pool, address) = (
            Pool::default(),
            Address::from(SocketAddr::from(([127, 0, 0, 1], 80))),
        );
        let put = || {
            let (near, far) = tokio::io::duplex(1);
            pool.put(&address, Upstream::Pipe(near), None);
            far
        };
        let _first = put();
        let start = pool.now.get();
        pool.sweep(start + LONGEST / 2);
        let _second = put();
        pool.sweep(start + LONGEST);
        assert!(pool.take(&address).is_some(), "the second");
        assert!(pool.take(&address).is_none(), "the first is gone");
        drop(put());
        assert!(pool.take(&address).is_none(), "it has ended");
        let _third = put();
        pool.sweep(start + LONGEST * 9);
        assert!(pool.idle.borrow().is_empty(), "nothing is left behind");
    }
}
