//! [`Router`]: the actor that alone writes the routing table.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;

use super::table::{Route, Table};
use crate::supervision::Shutdown;

/// The actor that alone writes the routing table. It keeps no state but the published table, so that a fresh Router
/// goes on where the old one stopped.
#[derive(Debug)]
pub struct Router {
    table: Arc<watch::Sender<Arc<Table>>>,
}

impl Router {
    /// A Router that publishes to `table`.
    #[must_use]
    pub fn new(table: Arc<watch::Sender<Arc<Table>>>) -> Self {
        Self { table }
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

/// Adds or replaces the route of an app (by its name). Answered when it is published.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Publish(pub Route);

/// Removes the route of an app. Answered when it is published.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Withdraw(pub Arc<str>);

impl Handler<Publish> for Router {
    type Result = ();

    fn handle(&mut self, Publish(route): Publish, _: &mut Self::Context) {
        let next = self.table.borrow().with(route);
        self.table.send_replace(Arc::new(next));
    }
}

impl Handler<Withdraw> for Router {
    type Result = ();

    fn handle(&mut self, Withdraw(app): Withdraw, _: &mut Self::Context) {
        let next = self.table.borrow().without(&app);
        self.table.send_replace(Arc::new(next));
    }
}

impl Handler<Shutdown> for Router {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
