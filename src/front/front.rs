//! [`Front`]: the actor that runs the workers and drains them when it stops.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::net::TcpStream;
use actix_rt::task::JoinHandle;
use actix_server::{Server, ServerHandle};
use actix_service::fn_service;
use tokio::sync::watch;

use super::access_log::Sink;
use super::in_process::ConnectorFactory;
use super::listener::{self, Workers};
use super::tunnel;
use super::visitors::Visitors;
use super::worker::{Plan, Worker};
use crate::router::table::Table;
use crate::supervision::{Exit, ExitReason, Shutdown};

/// Times after which the front end gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect to a backend.
    pub connect: Duration,
    /// A whole request head.
    pub head: Duration,
    /// A whole response head, from when the request was sent.
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
    /// Connections of one address, over all workers.
    pub connections_per_address: usize,
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
    listeners: Vec<(SocketAddr, TcpListener)>,
    plan: Plan,
    draining: watch::Sender<bool>,
    server: Option<ServerHandle>,
    ports: Option<JoinHandle<()>>,
    exit: ExitReason,
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
        let (sender, draining) = watch::channel(false);
        let plan = Plan {
            settings,
            table,
            api,
            draining,
            load: Arc::default(),
            visitors: Visitors::default(),
            access: None,
            workers: Workers::default(),
        };
        Self {
            listeners,
            plan,
            draining: sender,
            server: None,
            ports: None,
            exit,
        }
    }

    /// With an access log that goes to `sink`.
    #[must_use]
    pub fn with_access_log(mut self, sink: Sink) -> Self {
        self.plan.access = Some(sink);
        self
    }

    fn build(&mut self) -> io::Result<Server> {
        let settings = &self.plan.settings;
        let mut builder = Server::build()
            .workers(settings.workers.clamp(1, 512))
            .max_concurrent_connections(settings.limits.connections.max(1))
            .shutdown_timeout(settings.drain.as_secs())
            .disable_signals();
        if self.listeners.is_empty() {
            return Err(io::Error::other("no listening socket was given"));
        }
        for (address, listener) in self.listeners.drain(..) {
            // Accepted sockets have it from their listener (Linux).
            socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
            let plan = self.plan.clone();
            let factory = move || {
                let worker = Worker::of_this_thread(&plan);
                fn_service(move |stream: TcpStream| {
                    // On the heap at once: actix-server moves what it is given four times.
                    let serving = Box::pin(Rc::clone(&worker).serve(stream, address, None));
                    async move {
                        serving.await;
                        Ok::<(), Infallible>(())
                    }
                })
            };
            builder = builder.listen(address.to_string(), listener, factory)?;
        }
        Ok(builder.run())
    }

    fn fail(&self, what: &str, ctx: &mut Context<Self>) {
        self.exit.set(Exit::Error(what.to_owned()));
        ctx.stop();
    }
}

impl Actor for Front {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let mut addresses: Vec<IpAddr> = self.listeners.iter().map(|(a, _)| a.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let server = match self.build() {
            Ok(server) => server,
            Err(error) => return self.fail(&format!("the front end cannot start: {error}"), ctx),
        };
        self.server = Some(server.handle());
        let follow = listener::follow(
            self.plan.table.clone(),
            addresses,
            self.plan.workers.clone(),
        );
        self.ports = Some(actix_rt::spawn(follow));
        // The server runs in a task of its own: its workers must be stopped even when this actor panics.
        let ended = actix_rt::spawn(server).into_actor(self);
        ctx.spawn(ended.map(|result, front, ctx| match result {
            Ok(Ok(())) => ctx.stop(),
            Ok(Err(error)) => front.fail(&format!("the front end ended: {error}"), ctx),
            Err(error) => front.fail(&format!("the front end ended: {error}"), ctx),
        }));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(ports) = self.ports.take() {
            ports.abort();
        }
        if let Some(server) = self.server.take() {
            // The command is sent by the call; nobody is left to await the answer.
            drop(server.stop(false));
        }
    }
}

impl Handler<Shutdown> for Front {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.exit.set(Exit::Shutdown);
        if let Some(ports) = self.ports.take() {
            ports.abort();
        }
        let Some(server) = self.server.clone() else {
            return ctx.stop();
        };
        // Idle connections close at once, the others after their response.
        self.draining.send_replace(true);
        let load = Arc::clone(&self.plan.load);
        let drain = self.plan.settings.drain;
        let stop = async move {
            server.pause().await;
            if tokio::time::timeout(drain, load.drained()).await.is_err() {
                log::warn!(
                    "{} connections were cut off after {drain:?}",
                    load.outstanding()
                );
                // Tunnels close in good order; what else is left has nothing to end with.
                load.cut();
                let _cut_off = tokio::time::timeout(2 * tunnel::CLOSING, load.drained()).await;
            }
            server.stop(false).await;
        };
        ctx.spawn(stop.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}
