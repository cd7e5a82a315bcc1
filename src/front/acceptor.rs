//! Accepts connections on each worker's own thread. A connection never changes threads.
//!
//! All workers wait on the same sockets. The one that has time takes the next connection, and one that is busy or full
//! keeps none waiting. To hand connections over from a thread of its own took two changes of context each.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::connection::Connection;
use super::connection_limit::Visit;
use super::departure::Order;
use super::exchange::client::Endpoints;
use super::handshake;
use super::http2;
use super::listener::{Listening, Sockets};
use super::proxied::{self, NoHeader};
use super::upstream::upkeep;
use super::worker::{Plan, Worker};
use crate::tls::server_config::Tls;
use crate::{priority, threads};

/// Pauses after an accept that failed: out of file descriptors it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a worker on this thread: accepts until the front end drains, then lets its connections end. It drops `alive`
/// before `alive` is closed only when it cannot go on.
pub(super) async fn run(plan: Plan, mut alive: oneshot::Sender<()>) {
    priority::step_back();
    threads::keep_one();
    let worker = Rc::new(Worker::new(&plan));
    let weak = || Rc::downgrade(&worker);
    actix_rt::spawn(upkeep::give_up(weak(), plan.calls.subscribe()));
    actix_rt::spawn(upkeep::tidy(weak(), plan.table.clone()));
    let ends = Ends {
        draining: plan.draining,
        orders: plan.orders,
    };
    accept_all(&worker, plan.sockets, ends).await;
    alive.closed().await;
}

/// What ends accepting.
struct Ends {
    draining: watch::Receiver<bool>,
    orders: watch::Receiver<Order>,
}

impl Ends {
    /// Resolves when the front end drains, or leaves new clients to the next server; `false`: it is gone.
    async fn come(&mut self) -> bool {
        tokio::select! {
            drains = self.draining.wait_for(|draining| *draining) => drains.is_ok(),
            Ok(_) = self.orders.wait_for(Order::is_closed) => true,
        }
    }
}

/// Accepts on all sockets that are published, until that ends.
async fn accept_all(worker: &Rc<Worker>, mut sockets: watch::Receiver<Sockets>, mut ends: Ends) {
    loop {
        let open = sockets.borrow_and_update().clone();
        let accepting = join_all(open.iter().cloned().map(|socket| accept(worker, socket)));
        let accepting = async {
            accepting.await;
            // Without this, a worker with no open socket would spin.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            // First, so that none is accepted behind it.
            biased;
            is_there = ends.come() => if !is_there {
                return;
            },
            changed = sockets.changed() => if changed.is_err() {
                return;
            },
            () = accepting => {}
        }
        if ends.orders.borrow().is_closed() {
            // The next server has the same sockets, and takes who waits there.
            return;
        }
        if worker.drain.has_begun() {
            if worker.drain.is_soft() {
                // As above.
                return;
            }
            return open.iter().for_each(|socket| serve_waiting(worker, socket));
        }
    }
}

/// Serves the connections that the kernel made before the socket closes: their clients believe they are connected.
fn serve_waiting(worker: &Rc<Worker>, socket: &Listening) {
    while let Some((stream, peer)) = socket.take_waiting() {
        serve(worker, stream, peer, socket);
    }
}

/// Accepts on one socket and never ends. No connection is lost wherever it is dropped.
async fn accept(worker: &Rc<Worker>, socket: Arc<Listening>) -> std::convert::Infallible {
    let name = socket.local;
    let listener = loop {
        match socket.of_this_thread() {
            Ok(listener) => break listener,
            Err(error) => log::warn!("{name}: cannot listen: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    loop {
        worker.has_room().await;
        match listener.accept().await {
            Ok((stream, peer)) => serve(worker, stream, peer, &socket),
            Err(error) => {
                worker.tell_not_accepted(name, &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection on a task of its own. The stream inherits TCP_NODELAY from its listener.
fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, socket: &Listening) {
    // Before the task runs, so that no count misses a connection that was accepted and is not served yet.
    let counted = worker.count();
    let (is_secure, is_of_app) = (socket.tls.is_some(), socket.port.is_some());
    worker.request_counter.count_accepted(is_secure, is_of_app);
    // An IPv4 client of a socket for both families is known by its IPv4 address.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let endpoints = Endpoints {
        peer,
        local: socket.local,
        app_port: socket.port,
        is_trusted: worker.trusts(peer),
        is_secure,
        is_http2: false,
    };
    let mut arrival = Arrival {
        stream,
        endpoints,
        waited: Duration::ZERO,
    };
    let worker = Rc::clone(worker);
    // Two kinds of tasks: one for either kind of connection would take as much memory as both.
    match socket.tls.clone() {
        None => drop(actix_rt::spawn(async move {
            let _counted = counted;
            if let Some(_visit) = arrival.enter(&worker).await {
                let connection = Connection::new(arrival.stream, arrival.endpoints, worker);
                connection.after(arrival.waited).serve().await;
            }
        })),
        Some(tls) => drop(actix_rt::spawn(async move {
            let _counted = counted;
            if let Some(_visit) = arrival.enter(&worker).await {
                serve_secure(worker, arrival, tls).await;
            }
        })),
    }
}

/// A connection, and whose it is.
struct Arrival {
    stream: TcpStream,
    endpoints: Endpoints,
    /// How long its PROXY header took.
    waited: Duration,
}

impl Arrival {
    /// Reads the header that a trusted proxy sends first, and counts the connection. `None`: it is closed without an
    /// answer. An address with that many connections may be after what answers cost.
    async fn enter(&mut self, worker: &Worker) -> Option<Visit> {
        let is_trusted = self.endpoints.is_trusted;
        if is_trusted && worker.settings.proxy_protocol {
            // In a box that goes with it, because it is larger than what serves the connection.
            Box::pin(self.read_header(worker)).await?;
        }
        let peer = self.endpoints.peer;
        worker.admit(peer, is_trusted && worker.trusts(peer))
    }

    /// Reads the header that a trusted proxy sends first. `None`: there is none, and the connection is to be closed.
    async fn read_header(&mut self, worker: &Worker) -> Option<()> {
        let (begun, limit) = (Instant::now(), worker.settings.timeouts.head);
        let named = match proxied::header(&mut self.stream, limit).await {
            Ok(named) => named,
            // A look whether somebody listens.
            Err(NoHeader::Nothing) => return None,
            Err(why) => {
                worker.tell_not_proxied(self.endpoints.peer, &why);
                return None;
            }
        };
        self.waited = begun.elapsed();
        self.endpoints = proxied::endpoints(&self.endpoints, named, |peer| worker.trusts(peer));
        Some(())
    }
}

async fn serve_secure(worker: Rc<Worker>, arrival: Arrival, tls: Tls) {
    let Arrival {
        stream,
        endpoints,
        waited,
    } = arrival;
    let limit = worker.settings.timeouts.head.saturating_sub(waited);
    // In a box that goes with it: a handshake takes 10 KB, which an idle connection would keep.
    let shaken = Box::pin(handshake::accept(&worker, &tls, stream, limit)).await;
    let Some(stream) = shaken else {
        return;
    };
    drop(tls);
    match stream.is_http2() {
        true => http2::connection::serve(stream, endpoints, worker).await,
        false => Connection::new(stream, endpoints, worker).serve().await,
    }
}
