//! A backend: one upstream address, and how many requests are on it (pure).

use std::net::SocketAddr;
use std::sync::Arc;

/// One upstream address: a ready process of a release. Clones share the load.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `web.1`.
    pub process: Arc<str>,
    /// Its release.
    pub release: u64,
    /// Where it listens.
    pub address: SocketAddr,
    /// What is on it.
    pub load: Arc<Load>,
}

/// How many requests and tunnels are on a backend, over all workers.
#[derive(Debug, Default)]
pub struct Load {
    outstanding: std::sync::atomic::AtomicUsize,
    closed: std::sync::atomic::AtomicBool,
    idle: tokio::sync::Notify,
}

impl Load {
    /// Requests and tunnels at this moment.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Takes no new request from now on, whatever table still names it.
    pub fn close(&self) {
        self.closed.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Resolves when nothing is on it. Meaningful once no table names it any more.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.outstanding() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One request on a backend; dropping it takes it off.
#[derive(Debug)]
pub struct Lease(Arc<Load>);

impl Lease {
    /// Counts one more request.
    #[must_use]
    pub fn new(load: &Arc<Load>) -> Self {
        load.outstanding
            .fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        Self(Arc::clone(load))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self
            .0
            .outstanding
            .fetch_sub(1, std::sync::atomic::Ordering::AcqRel)
            == 1
        {
            self.0.idle.notify_waiters();
        }
    }
}
