//! [`Chosen`]: the process that a request goes to, and the way to it.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::time::Duration;

use super::asking::Asking;
use super::connection::Upstream;
use super::pool;
use crate::front::worker::Worker;
use crate::router::address::Address;
use crate::router::backend::{Backend, Lease};
use crate::router::snapshot::Found;

/// A process of an app, with the request counted on it.
pub(crate) struct Chosen {
    pub(crate) found: Found,
    pub(crate) backend: Backend,
    pub(crate) lease: Lease,
    /// Processes that could not be reached.
    avoid: Vec<Address>,
}

impl Chosen {
    pub(crate) fn new(found: Found, backend: Backend, lease: Lease) -> Self {
        Self {
            found,
            backend,
            lease,
            avoid: Vec::new(),
        }
    }

    /// Takes a kept connection, unless it must be `fresh`, or makes one within `limit`. One that was not used before comes with what
    /// asks for others to be given up.
    ///
    /// # Errors
    /// What `connect(2)` says. The owner of the process is told.
    pub(crate) async fn connect(
        &self,
        worker: &Worker,
        fresh: bool,
        limit: Duration,
    ) -> io::Result<(Upstream, Option<Asking>)> {
        let (address, backend) = (&self.backend.address, &self.backend);
        if !fresh && let Some(kept) = worker.pool.take(address) {
            return Ok((kept, None));
        }
        let mut asking = Asking::new(&worker.calls, backend);
        let mut connecting = pin!(pool::connect(address, limit));
        let connected = poll_fn(|cx| {
            let connected = connecting.as_mut().poll(cx);
            if connected.is_pending() {
                asking.poll(cx);
            }
            connected
        });
        match connected.await {
            Ok(connection) => Ok((connection, Some(asking))),
            Err(error) => {
                let app = &self.found.route.app;
                log::warn!("{app} {} at {address}: {error}", backend.process);
                backend.load.alarm.ring();
                Err(error)
            }
        }
    }

    /// Chooses another process of the same app, to which the same head can be sent; false if there is none.
    pub(crate) fn choose_another(&mut self, worker: &Worker) -> bool {
        self.avoid.push(self.backend.address.clone());
        let another = worker.routes.another(&self.found, self.avoid.clone());
        let Some((backend, lease)) = another else {
            return false;
        };
        let app = &self.found.route.app;
        log::info!("{app}: {} is asked instead", backend.process);
        (self.backend, self.lease) = (backend, lease);
        true
    }
}
