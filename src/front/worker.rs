//! [`Worker`]: what all connections of one worker thread share.

use std::cell::{Cell, Ref, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::net::TcpStream;
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::acceptor::accept_all;
use super::access::recorder::{Recorder, Sink};
use super::asking::{self, Call};
use super::capacity::Capacity;
use super::connection::Connection;
use super::connection_limit::ConnectionLimit;
use super::date::HttpDate;
use super::drain::Drain;
use super::exchange::buffer::Spare;
use super::exchange::spool_space::SpoolSpace;
use super::http::request_id::RequestId;
use super::http::trusted_proxies::Network;
use super::listener::Sockets;
use super::own_token::OwnToken;
use super::route_cache::RouteCache;
use super::settings::FrontSettings;
use super::static_files::compressed::Compressed;
use super::static_files::server::FileServer;
use super::upstream::connection::Upstream;
use super::upstream::in_process::{Connector, ConnectorFactory};
use super::upstream::pool::Pool;
use crate::router::backend::{Backend, Lease, Load};
use crate::router::balancer::{next_random, random_seed};
use crate::router::replica::{self, Replica, Select, Selection};
use crate::router::table::Table;
use crate::tally::{self, Tally};
use crate::{priority, threads};

/// How often idle connections to backends are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How often it is looked whether there is room again, which other workers can make.
const LOOK: Duration = Duration::from_secs(1);

/// What a worker is made of, on its way to its thread.
#[derive(Clone)]
pub struct Plan {
    pub settings: Arc<FrontSettings>,
    pub table: watch::Receiver<Arc<Table>>,
    /// Opens pipes to the API.
    pub api: ConnectorFactory,
    /// Turns true when the front end drains.
    pub draining: watch::Receiver<bool>,
    pub load: Arc<Load>,
    pub sockets: watch::Receiver<Sockets>,
    pub connection_limit: ConnectionLimit,
    pub compressed: Compressed,
    /// Where the access log goes, if there is one.
    pub access: Option<Sink>,
    /// What no app is sent.
    pub own_token: OwnToken,
    /// Tells all workers which idle connections are to be given up.
    pub calls: broadcast::Sender<Call>,
    /// How many connections there may be.
    pub room: Capacity,
}

/// What all connections of one worker thread share.
pub struct Worker {
    pub settings: Arc<FrontSettings>,
    /// Networks whose forwarding fields are believed.
    pub trusted: Vec<Network>,
    /// Answers who a request is for; a fresh one takes its place if it ever ends.
    replica: RefCell<Addr<Replica>>,
    table: watch::Receiver<Arc<Table>>,
    pub pool: Pool,
    /// Where bodies are kept for slow clients.
    pub spool_space: Rc<SpoolSpace>,
    /// Tells all workers which idle connections are to be given up.
    pub calls: broadcast::Sender<Call>,
    pub spare: Spare,
    /// The Date of responses that have none.
    pub date: HttpDate,
    /// Opens pipes to the API.
    pub api: Connector,
    pub files: FileServer,
    /// What no app is sent.
    pub own_token: OwnToken,
    /// Who waits for the front end to drain.
    pub(super) drain: Rc<Drain>,
    /// The access log, if there is one.
    pub access: Option<Rc<Recorder>>,
    /// Requests that wait for an app to start.
    pub held: Cell<usize>,
    /// Connections of this worker, and what tells that there is room for one more.
    connections: (Cell<usize>, Notify),
    /// How many there may be.
    room: Capacity,
    /// Connections that were closed for their number, ended to make room, or could not be accepted.
    refusals: [Rc<RefCell<Tally>>; 3],
    load: Arc<Load>,
    connection_limit: ConnectionLimit,
    ids: (u64, Cell<u64>),
    random: Cell<u64>,
    /// The replica's answers by host.
    pub(super) route_cache: RefCell<RouteCache>,
    newest: Newest,
}

/// Where tables come from, and the newest that was looked at.
type Newest = (RefCell<watch::Receiver<Arc<Table>>>, RefCell<Arc<Table>>);

/// Counts a connection of a worker; dropping it makes room.
struct Taken(Rc<Worker>);

impl Taken {
    fn take(worker: &Rc<Worker>) -> Self {
        let taken = &worker.connections.0;
        taken.set(taken.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let (taken, room) = &self.0.connections;
        taken.set(taken.get() - 1);
        room.notify_waiters();
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug)]
enum Refused {
    OfAddress,
    ForRoom,
    NotAccepted,
}

/// Runs a worker on this thread: accepts until the front end drains, and then lets its connections end. `alive` is
/// dropped early only when it could not go on.
pub async fn run(plan: Plan, mut alive: oneshot::Sender<()>) {
    priority::step_back();
    threads::keep_one();
    let worker = Rc::new(Worker::new(&plan));
    actix_rt::spawn(give_up(Rc::downgrade(&worker), plan.calls.subscribe()));
    actix_rt::spawn(tidy_pool(Rc::downgrade(&worker), plan.table.clone()));
    accept_all(&worker, plan.sockets).await;
    alive.closed().await;
}

impl Worker {
    /// The worker of this thread.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let settings = Arc::clone(&plan.settings);
        let trusted = settings.trusted_proxies.iter().filter_map(|text| {
            let network = Network::parse(text);
            if network.is_none() {
                log::error!(
                    "trusted_proxies: \"{text}\" is no ADDRESS or ADDRESS/BITS: it is not trusted"
                );
            }
            network
        });
        Self {
            trusted: trusted.collect(),
            replica: RefCell::new(start_replica(&settings, &plan.table)),
            table: plan.table.clone(),
            pool: Pool::default(),
            spool_space: Rc::new(SpoolSpace::new(&settings.buffers, settings.limits.buffer)),
            calls: plan.calls.clone(),
            spare: Spare::default(),
            date: HttpDate::default(),
            api: (plan.api)(),
            drain: Drain::start(plan.draining.clone()),
            files: FileServer::new(plan.compressed.clone()),
            own_token: plan.own_token.clone(),
            access: plan.access.clone().map(Recorder::start),
            held: Cell::new(0),
            connections: (Cell::new(0), Notify::new()),
            room: plan.room,
            refusals: Default::default(),
            load: Arc::clone(&plan.load),
            connection_limit: plan.connection_limit.clone(),
            ids: (getrandom::u64().unwrap_or(0), Cell::new(0)),
            random: Cell::new(random_seed()),
            route_cache: RefCell::default(),
            newest: newest(plan.table.clone()),
            settings,
        }
    }

    /// Serves a connection of `peer` to the listener at `local`, perhaps an app's own `port`, to its end. The stream
    /// has TCP_NODELAY from its listener.
    pub fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        (peer, local, port): (SocketAddr, SocketAddr, Option<u16>),
    ) -> impl Future<Output = ()> + use<> {
        // At once: whoever counts connections must not miss one that was accepted and is not served yet.
        let counted = (Taken::take(&self), Lease::new(&self.load));
        // One that says nothing is worth less than one that may ask.
        if self.is_beyond_room() && self.drain.end_oldest() {
            self.tell(Refused::ForRoom, || {
                "connections that were idle longest were ended to make room".to_owned()
            });
        }
        async move {
            let _counted = counted;
            // Without an answer: who has that many connections may be after what answering costs.
            let most = match self.trusts(peer) {
                true => usize::MAX,
                false => self.room.per_address,
            };
            let Some(_visit) = self.connection_limit.enter(peer.ip(), most) else {
                return self.tell_closed(peer);
            };
            Connection::new(stream, (peer, local, port), self)
                .serve()
                .await;
        }
    }

    /// Resolves when one more connection may be accepted.
    pub async fn has_room(&self) {
        while !self.may_accept() {
            let waits = self.connections.1.notified();
            let _looks_again = tokio::time::timeout(LOOK, waits).await;
        }
    }

    /// Whether one more can be served: where all workers together are full, in the place of an idle one. Where only this
    /// one is full, another worker has room.
    fn may_accept(&self) -> bool {
        match self.load.outstanding() < self.room.total {
            true => self.connections.0.get() < self.room.per_worker,
            false => self.drain.has_idle(),
        }
    }

    /// Whether there are more than there may be.
    fn is_beyond_room(&self) -> bool {
        self.load.outstanding() > self.room.total
    }

    /// An idle connection can make room, if somebody waits for that.
    pub(super) fn has_an_idle_one(&self) {
        if self.load.outstanding() >= self.room.total {
            self.connections.1.notify_waiters();
        }
    }

    /// Says, once a minute, that connections are closed for their number.
    fn tell_closed(&self, peer: SocketAddr) {
        let most = self.room.per_address;
        self.tell(Refused::OfAddress, || {
            format!(
                "connections were closed because their address had {most} already, the last one of {} (see \
                 limits.connections_per_address; no address has more than half of all)",
                peer.ip()
            )
        });
    }

    /// Says, once a minute, that connections cannot be accepted.
    pub fn tell_not_accepted(&self, local: SocketAddr, error: &std::io::Error) {
        self.tell(Refused::NotAccepted, || {
            format!("connections could not be accepted at {local}: {error}")
        });
    }

    fn tell(&self, why: Refused, what: impl FnOnce() -> String) {
        let tally = &self.refusals[why as usize];
        let Some(count) = tally.borrow_mut().count(Instant::now()) else {
            return;
        };
        let (tally, what) = (Rc::clone(tally), what());
        log::warn!("{count} {what}");
        actix_rt::spawn(async move {
            tokio::time::sleep(tally::PERIOD).await;
            let more = tally.borrow_mut().due(Instant::now());
            more.inspect(|count| log::warn!("{count} more {what}"));
        });
    }

    /// The newest table. As long as there is no newer one nothing is touched that other workers touch.
    pub fn table(&self) -> Ref<'_, Arc<Table>> {
        let (published, newest) = &self.newest;
        if published.borrow().has_changed().unwrap_or(false) {
            newest.replace(Arc::clone(&published.borrow_mut().borrow_and_update()));
        }
        newest.borrow()
    }

    /// A backend of an app that is known already, with the request counted on it; `None` if all of them drain.
    #[must_use]
    pub fn choose(&self, backends: &[Backend]) -> Option<(Backend, Lease)> {
        let random = self.random.get();
        self.random.set(next_random(random));
        replica::take(backends, Vec::new(), random)
    }

    /// Asks this thread's replica. `None`: it ended, and so did the one started in its place.
    pub async fn select(&self, select: Select) -> Option<Selection> {
        let present = self.replica.borrow().clone();
        if let Ok(selection) = present.send(select.clone()).await {
            return Some(selection);
        }
        let fresh = {
            let mut replica_of_now = self.replica.borrow_mut();
            if *replica_of_now == present {
                log::error!("a worker's routing replica ended: a fresh one is started");
                *replica_of_now = start_replica(&self.settings, &self.table);
            }
            replica_of_now.clone()
        };
        fresh.send(select).await.ok()
    }

    /// Keeps a connection to a backend for the next request, unless that serves one at a time.
    pub fn keep(&self, backend: &Backend, connection: Upstream) {
        if !backend.load.may_keep() {
            return;
        }
        self.pool.put(&backend.address, connection);
        if backend.load.is_waited_for() {
            actix_rt::spawn(asking::look(self.calls.clone(), backend.clone()));
        }
    }

    /// A new request id, unique among workers and starts.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        let (start, count) = (self.ids.0, self.ids.1.get());
        self.ids.1.set(count.wrapping_add(1));
        RequestId::of(u128::from(start) << 64 | u128::from(count))
    }

    /// Whether the forwarding fields of a peer are believed.
    #[must_use]
    pub fn trusts(&self, peer: SocketAddr) -> bool {
        self.trusted.iter().any(|n| n.contains(peer.ip()))
    }

    /// Resolves when the time in which the front end drains is over.
    pub async fn cut(&self) {
        self.load.is_cut().await;
    }

    /// Whether the front end drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }
}

fn start_replica(settings: &FrontSettings, table: &watch::Receiver<Arc<Table>>) -> Addr<Replica> {
    Replica::new(table.clone(), Arc::clone(&settings.reach)).start()
}

fn newest(mut table: watch::Receiver<Arc<Table>>) -> Newest {
    let newest = Arc::clone(&table.borrow_and_update());
    (RefCell::new(table), RefCell::new(newest))
}

/// Drops idle connections to backends that somebody else waits for.
async fn give_up(worker: Weak<Worker>, mut calls: broadcast::Receiver<Call>) {
    loop {
        let called = calls.recv().await;
        let Some(worker) = worker.upgrade() else {
            return;
        };
        match called {
            Ok(backend) => {
                let count = worker.pool.give_up(&backend.address);
                if count > 0 {
                    backend.load.give_up(count);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => worker.pool.clear(),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Drops idle connections that ended, at intervals, and those to backends that are gone, at once.
async fn tidy_pool(worker: Weak<Worker>, mut table: watch::Receiver<Arc<Table>>) {
    let Some(filled) = worker.upgrade().map(|worker| worker.pool.filled()) else {
        return;
    };
    loop {
        let Some(is_empty) = worker.upgrade().map(|worker| worker.pool.is_empty()) else {
            return;
        };
        // A thread that has nothing to do is not woken.
        let sweep = async {
            if is_empty {
                filled.notified().await;
            }
            tokio::time::sleep(SWEEP).await;
        };
        let changed = tokio::select! {
            changed = table.changed() => Some(changed),
            () = sweep => None,
        };
        let Some(worker) = worker.upgrade() else {
            return;
        };
        match changed {
            Some(Ok(())) => worker.pool.keep_only(&table.borrow_and_update()),
            Some(Err(_)) => return,
            None => worker.pool.sweep(Instant::now()),
        }
    }
}
