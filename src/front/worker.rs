//! [`Worker`]: what all connections of one worker thread share.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use ipnet::IpNet;
use tokio::sync::{Notify, broadcast, watch};

use super::access::entry::Notes;
use super::access::recorder::{Recorder, Sink};
use super::capacity::Capacity;
use super::connection_limit::{ConnectionLimit, Visit};
use super::departure::{Generation, Order};
use super::drain::Drain;
use super::exchange::buffer::Spare;
use super::exchange::date::HttpDate;
use super::exchange::spool_space::SpoolSpace;
use super::held_here::HeldHere;
use super::http::request_id::RequestId;
use super::http::trusted_proxies::is_trusted;
use super::listener::Sockets;
use super::own_token::OwnToken;
use super::policies::verifying::Verifying;
use super::proxied::NoHeader;
use super::request_counts::{self, Counter};
use super::settings::FrontSettings;
use super::static_files::compressed::Compressed;
use super::static_files::server::FileServer;
use super::turns;
use super::upstream::asking::{self, Call};
use super::upstream::connection::Upstream;
use super::upstream::in_process::{Connector, ConnectorFactory};
use super::upstream::pool::Pool;
use crate::acme::challenges::Challenges;
use crate::router::backend::{Backend, Lease, Load};
use crate::router::held::Held;
use crate::router::replica::{Replica, Select, Selection, Wanted};
use crate::router::snapshot::Snapshot as Routes;
use crate::router::table::Table;
use crate::tally::{self, Tally};
use crate::tls::server_config::Tls;
use crate::tls::snapshot::Snapshot;
use crate::traces;
use crate::traces::tracer::Tracer;

/// The time between two looks whether another worker made room.
const LOOK: Duration = Duration::from_secs(1);

/// What a worker is made of. It can be sent to the worker's thread, which a [`Worker`] cannot.
#[derive(Clone)]
pub struct Plan {
    pub settings: Arc<FrontSettings>,
    pub table: watch::Receiver<Arc<Table>>,
    /// Opens pipes to the API.
    pub api: ConnectorFactory,
    /// Turns true when the front end drains.
    pub draining: watch::Receiver<bool>,
    /// What is ordered before it drains for the next server.
    pub orders: watch::Receiver<Order>,
    pub load: Arc<Load>,
    pub sockets: watch::Receiver<Sockets>,
    pub connection_limit: ConnectionLimit,
    pub compressed: Compressed,
    /// Where the access log goes, if there is one.
    pub access: Option<Sink>,
    /// Where spans go, and of which part of the requests.
    pub traces: Option<(traces::exporter::Sink, f64)>,
    /// Where it counts requests.
    pub request_counts: Arc<request_counts::Table>,
    /// What no app is sent.
    pub own_token: OwnToken,
    /// Shares out turns to look at passwords.
    pub verifying: Verifying,
    /// Where plain HTTP is redirected to.
    pub https: Option<HttpsListener>,
    /// What a certificate authority looks for.
    pub challenges: watch::Receiver<Arc<Challenges>>,
    /// Tells all workers to drop their idle connections to a backend.
    pub calls: broadcast::Sender<Call>,
    /// The requests that wait for their apps.
    pub held: Held,
    pub room: Capacity,
}

/// The listener for HTTPS.
#[derive(Clone)]
pub struct HttpsListener {
    pub port: u16,
    pub tls: Tls,
}

/// Where plain HTTP is redirected to, if there is a certificate.
pub struct Secure {
    pub port: u16,
    pub certificates: Snapshot,
}

impl From<&HttpsListener> for Secure {
    fn from(https: &HttpsListener) -> Self {
        Self {
            port: https.port,
            certificates: Snapshot::new(https.tls.certificates.clone()),
        }
    }
}

/// What all connections of one worker thread share.
pub struct Worker {
    pub settings: Arc<FrontSettings>,
    /// Networks whose forwarding fields are believed.
    pub trusted: Vec<IpNet>,
    /// A fresh one takes its place if it ends.
    replica: RefCell<Addr<Replica>>,
    /// The routing table. The replica answers from it, too.
    pub routes: Rc<Routes>,
    pub pool: Pool,
    /// The files in which bodies wait for slow clients.
    pub spool_space: Rc<SpoolSpace>,
    /// Tells all workers to drop their idle connections to a backend.
    pub calls: broadcast::Sender<Call>,
    pub spare: Spare,
    /// Makes the Date of responses that have none.
    pub date: HttpDate,
    /// Opens pipes to the API.
    pub api: Connector,
    pub files: FileServer,
    /// What no app is sent.
    pub own_token: OwnToken,
    /// Shares out turns to look at passwords.
    pub verifying: Verifying,
    /// Where plain HTTP is redirected to.
    pub secure: Option<Secure>,
    /// What a certificate authority looks for.
    pub challenges: watch::Receiver<Arc<Challenges>>,
    /// Connections that wait for the front end to drain.
    pub(super) drain: Rc<Drain>,
    /// What requests are counted on.
    pub(super) generation: Rc<Generation>,
    pub access: Option<Rc<Recorder>>,
    /// Tells spans of some requests.
    pub tracer: Option<Tracer>,
    pub request_counter: Counter,
    /// The requests that wait for their apps, those of other workers among them.
    pub(super) held: Held,
    /// Those that wait here.
    pub(super) held_here: HeldHere,
    /// Tells those in the order in which they came that there is a newer routing table.
    pub(super) turns: Rc<Notify>,
    connections: Cell<usize>,
    /// Tells that there may be room for one more connection.
    made_room: Notify,
    room: Capacity,
    /// What was refused, by [`Refused`].
    refusals: [Rc<RefCell<Tally>>; 5],
    load: Arc<Load>,
    connection_limit: ConnectionLimit,
    /// Request ids begin with this and end with the number of those before.
    id_start: u64,
    ids: Cell<u64>,
}

/// Counts a connection of a worker. Dropping it makes room.
pub(super) struct Counted {
    worker: Rc<Worker>,
    /// The front end counts it, too.
    _lease: Lease,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = &self.worker.connections;
        count.set(count.get() - 1);
        self.worker.made_room.notify_waiters();
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug)]
enum Refused {
    OfAddress,
    ForRoom,
    NotAccepted,
    NotProxied,
    Wild,
}

impl Worker {
    /// Makes the worker of this thread, whose runtime it needs.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let settings = Arc::clone(&plan.settings);
        let routes = Rc::new(Routes::new(plan.table.clone()));
        let drain = Drain::start(plan.draining.clone());
        Self {
            trusted: settings.trusted_proxies.clone(),
            replica: RefCell::new(start_replica(&settings, &routes)),
            routes,
            pool: Pool::default(),
            spool_space: Rc::new(SpoolSpace::new(&settings.buffers, settings.limits.buffer)),
            calls: plan.calls.clone(),
            spare: Spare::default(),
            date: HttpDate::default(),
            api: (plan.api)(),
            generation: Generation::follow(plan.orders.clone(), &drain),
            drain,
            files: FileServer::new(plan.compressed.clone()),
            own_token: plan.own_token.clone(),
            verifying: plan.verifying.clone(),
            secure: plan.https.as_ref().map(Secure::from),
            challenges: plan.challenges.clone(),
            access: plan.access.clone().map(Recorder::start),
            tracer: plan
                .traces
                .clone()
                .map(|(sink, sample)| Tracer::new(sink, sample, getrandom::u64().unwrap_or(0))),
            request_counter: Counter::new(Arc::clone(&plan.request_counts)),
            held: plan.held.clone(),
            held_here: HeldHere::default(),
            turns: turns::follow(plan.table.clone()),
            connections: Cell::new(0),
            made_room: Notify::new(),
            room: plan.room,
            refusals: Default::default(),
            load: Arc::clone(&plan.load),
            connection_limit: plan.connection_limit.clone(),
            id_start: getrandom::u64().unwrap_or(0),
            ids: Cell::new(0),
            settings,
        }
    }

    /// Counts a connection that was accepted. Where there are more than there may be, the one that is idle longest
    /// ends: one that says nothing is worth less than one that may ask.
    pub(super) fn count(self: &Rc<Self>) -> Counted {
        let count = &self.connections;
        count.set(count.get() + 1);
        let counted = Counted {
            worker: Rc::clone(self),
            _lease: Lease::new(&self.load),
        };
        if self.load.outstanding() > self.room.total && self.drain.end_oldest() {
            self.tell(Refused::ForRoom, || {
                "connections that were idle longest were ended to make room".to_owned()
            });
        }
        counted
    }

    /// Counts a connection of its peer's address, unless that has as many as it may. A trusted proxy has as many as it
    /// likes.
    pub(super) fn admit(&self, peer: SocketAddr, is_of_proxy: bool) -> Option<Visit> {
        let most = match is_of_proxy {
            true => usize::MAX,
            false => self.room.per_address,
        };
        let visit = self.connection_limit.enter(peer.ip(), most);
        if visit.is_none() {
            self.tell_closed(peer);
        }
        visit
    }

    /// Counts a request that comes beside others of its connection. It counts as a connection, since it takes as much.
    /// Returns `None` if there is no room for it, or its address has as many as it may.
    pub(super) fn count_stream(self: &Rc<Self>, peer: SocketAddr) -> Option<(Counted, Visit)> {
        let is_full = self.connections.get() >= self.room.per_worker
            || (self.load.outstanding() >= self.room.total && !self.drain.has_idle());
        if is_full {
            self.tell(Refused::ForRoom, || {
                "requests of HTTP/2 were refused for want of room (see limits.connections)"
                    .to_owned()
            });
            return None;
        }
        let visit = self.admit(peer, self.trusts(peer))?;
        Some((self.count(), visit))
    }

    /// Resolves when one more connection may be accepted.
    pub async fn has_room(&self) {
        while !self.may_accept() {
            let waits = self.made_room.notified();
            let _looks_again = tokio::time::timeout(LOOK, waits).await;
        }
    }

    /// Whether one more can be served. Where all workers together are full it takes the place of an idle connection.
    /// Where only this worker is full another one accepts it.
    fn may_accept(&self) -> bool {
        match self.load.outstanding() < self.room.total {
            true => self.connections.get() < self.room.per_worker,
            false => self.drain.has_idle(),
        }
    }

    /// Wakes whoever waits for room, which an idle connection can make.
    pub(super) fn has_an_idle_one(&self) {
        if self.load.outstanding() >= self.room.total {
            self.made_room.notify_waiters();
        }
    }

    /// Logs, once a minute, that connections are closed for their number.
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

    /// Logs, once a minute, that connections cannot be accepted.
    pub fn tell_not_accepted(&self, local: SocketAddr, error: &std::io::Error) {
        self.tell(Refused::NotAccepted, || {
            format!("connections could not be accepted at {local}: {error}")
        });
    }

    /// Logs, once a minute, that connections of trusted proxies have no PROXY header.
    pub(super) fn tell_not_proxied(&self, peer: SocketAddr, why: &NoHeader) {
        self.tell(Refused::NotProxied, || {
            format!(
                "connections of trusted proxies were closed for want of a PROXY header, the last one of {}: {why}. Let \
                 the proxy send one (haproxy: send-proxy; nginx: proxy_protocol on), or write proxy_protocol = false",
                peer.ip()
            )
        });
    }

    /// Logs, once a minute, that connections of HTTP/2 were ended for what they sent.
    pub(super) fn tell_wild(&self, peer: SocketAddr) {
        self.tell(Refused::Wild, || {
            format!(
                "connections of HTTP/2 were ended because they sent frames for nothing or gave up request after request, \
                 the last one of {}",
                peer.ip()
            )
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

    /// Asks this thread's replica. Returns `None` if it ended and so did the one started in its place.
    pub async fn select(&self, wanted: Arc<Wanted>) -> Option<Selection> {
        let present = self.replica.borrow().clone();
        if let Ok(selection) = present.send(Select(Arc::clone(&wanted))).await {
            return Some(selection);
        }
        let fresh = {
            let mut replica_of_now = self.replica.borrow_mut();
            if *replica_of_now == present {
                log::error!("a worker's routing replica ended: a fresh one is started");
                *replica_of_now = start_replica(&self.settings, &self.routes);
            }
            replica_of_now.clone()
        };
        fresh.send(Select(wanted)).await.ok()
    }

    /// Keeps a connection for the next request, for so long or as long as the pool does, unless its backend serves one
    /// connection at a time.
    pub fn keep(&self, backend: &Backend, connection: Upstream, time: Option<Duration>) {
        if !backend.load.may_keep() || time == Some(Duration::ZERO) {
            return;
        }
        self.pool.put(&backend.address, connection, time);
        if backend.load.is_waited_for() {
            actix_rt::spawn(asking::look(self.calls.clone(), backend.clone()));
        }
    }

    /// Makes a request id that is unique among workers and over restarts.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        let count = self.ids.get();
        self.ids.set(count.wrapping_add(1));
        RequestId::of(u128::from(self.id_start) << 64 | u128::from(count))
    }

    /// Counts a request that ended, and writes its line of the access log. No other function does.
    pub fn record(&self, mut notes: Notes, request_id: &RequestId) {
        let now = Instant::now();
        notes.count(&self.request_counter, now);
        if let (Some(tracer), Some(begun)) = (&self.tracer, notes.trace.take()) {
            tracer.end(*begun, notes.ended(now));
        }
        if let Some(recorder) = &self.access {
            let id = request_id.as_bytes();
            recorder.record(&mut notes, id, now, self.is_draining());
        }
    }

    /// Whether the forwarding fields of a peer are believed.
    #[must_use]
    pub fn trusts(&self, peer: SocketAddr) -> bool {
        is_trusted(&self.trusted, peer.ip())
    }

    /// Resolves when the time to drain is over.
    pub async fn cut(&self) {
        self.load.is_cut().await;
    }

    /// Whether connections end behind their response.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun() || self.drain.is_soft()
    }
}

fn start_replica(settings: &FrontSettings, routes: &Rc<Routes>) -> Addr<Replica> {
    Replica::new(Rc::clone(routes), Arc::clone(&settings.reach)).start()
}
