//! [`Front`]: the actor that runs the workers and drains them when it stops.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;

use super::in_process::ConnectorFactory;
use crate::router::table::Table;
use crate::supervision::{ExitReason, Shutdown};

/// Times after which the front end gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect to a backend.
    pub connect: Duration,
    /// A whole request head.
    pub head: Duration,
    /// The first byte of a response.
    pub response: Duration,
    /// Between two requests of a connection, and between two pieces of a body.
    pub idle: Duration,
    /// Without a byte either way in a tunnel.
    pub tunnel_idle: Duration,
}

/// Sizes beyond which the front end refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head.
    pub head: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Fields of a head.
    pub headers: usize,
    /// Connections per worker.
    pub connections: usize,
}

/// What the front end needs to know.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// Worker threads.
    pub workers: usize,
    /// Hosts that go straight to the API.
    pub api_hosts: Vec<String>,
    /// Networks whose forwarding fields are believed, as `ADDRESS` or `ADDRESS/BITS`, parsed by `forwarded`.
    pub trusted_proxies: Vec<String>,
    /// How long a request waits for an app that is starting.
    pub hold: Duration,
    /// How long requests in flight may take when the daemon stops.
    pub drain: Duration,
    /// Times.
    pub timeouts: Timeouts,
    /// Sizes.
    pub limits: Limits,
}

/// The actor that runs the workers. [`Shutdown`] stops accepting, lets requests in flight finish within
/// [`FrontSettings::drain`], then closes and ends.
pub struct Front {
    #[allow(dead_code)]
    settings: Arc<FrontSettings>,
}

impl Front {
    /// A front end on `listeners` (each with its bound address; they stay open over a restart of this actor, so give
    /// it clones), following `table`.
    #[must_use]
    pub fn new(
        listeners: Vec<(SocketAddr, TcpListener)>,
        settings: Arc<FrontSettings>,
        table: watch::Receiver<Arc<Table>>,
        api: ConnectorFactory,
        exit: ExitReason,
    ) -> Self {
        let _ = (listeners, table, api, exit);
        Self { settings }
    }
}

impl Actor for Front {
    type Context = Context<Self>;
}

impl Handler<Shutdown> for Front {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        todo!()
    }
}
