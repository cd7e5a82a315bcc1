//! [`Departure`]: how the front end leaves its listeners to the server that comes next, and keeps nobody waiting.
//!
//! 1. It serves as ever. Whoever asks is told when the requests of a moment, tunnels among them, are over
//!    ([`Departure::requests_so_far`]).
//! 2. It still accepts, and each connection ends behind its response ([`Departure::begin`]). One that is idle ends a
//!    moment later, for its next request may be on its way.
//! 3. Where not all is over in time, it accepts no more before that is cut ([`Departure::close`]): who is cut comes again
//!    at once, and is to find the next server.
//! 4. [`Shutdown`](crate::supervision::Shutdown): it accepts no more. New clients wait in the kernel's queue.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::drain::Drain;
use crate::router::backend::{Lease, Load};

/// How long a connection is idle before it ends in a departure: longer than a request takes from the network card to
/// its socket, and than most networks take to bring it.
pub const MOMENT: Duration = Duration::from_millis(250);

/// What all workers are told.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// What the requests that come from now on are counted on.
    generation: Arc<Load>,
    /// Connections end behind their response.
    has_begun: bool,
    /// New connections are left to the next server.
    is_closed: bool,
}

impl Order {
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// Whoever tells the workers.
#[derive(Debug, Default)]
pub struct Departure(watch::Sender<Order>);

impl Departure {
    #[must_use]
    pub fn orders(&self) -> watch::Receiver<Order> {
        self.0.subscribe()
    }

    /// Counts the requests from now on apart. The load is drained when those before are over.
    #[must_use]
    pub fn requests_so_far(&self) -> Arc<Load> {
        let mut before = Arc::default();
        self.0
            .send_modify(|order| before = std::mem::take(&mut order.generation));
        before
    }

    /// Lets each connection end behind its response.
    pub fn begin(&self) {
        self.0.send_modify(|order| order.has_begun = true);
    }

    /// Accepts no more. Call it behind [`Self::begin`].
    pub fn close(&self) {
        self.0.send_modify(|order| order.is_closed = true);
    }
}

/// What one worker counts its requests on.
#[derive(Debug)]
pub(super) struct Generation(RefCell<Rc<Lease>>, Cell<bool>);

impl Generation {
    /// Follows the orders, and lets `drain` begin with them. Needs this thread's runtime.
    pub(super) fn follow(mut orders: watch::Receiver<Order>, drain: &Rc<Drain>) -> Rc<Self> {
        let first = Rc::new(Lease::new(&orders.borrow_and_update().generation));
        let generation = Rc::new(Self(RefCell::new(first), Cell::new(false)));
        let (weak, drain) = (Rc::downgrade(&generation), Rc::downgrade(drain));
        actix_rt::spawn(async move {
            loop {
                {
                    let order = orders.borrow_and_update();
                    let (Some(own), Some(drain)) = (weak.upgrade(), drain.upgrade()) else {
                        return;
                    };
                    own.0.replace(Rc::new(Lease::new(&order.generation)));
                    if order.has_begun && !own.1.replace(true) {
                        drain.end_softly();
                    }
                }
                if orders.changed().await.is_err() {
                    return;
                }
            }
        });
        generation
    }

    /// Counts a request, for as long as that is held.
    pub(super) fn request(&self) -> Rc<Lease> {
        Rc::clone(&self.0.borrow())
    }
}
