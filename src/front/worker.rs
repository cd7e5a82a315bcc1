//! [`Worker`]: what all connections of one worker thread share.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::access_log::{Recorder, Sink};
use super::buffer::Spare;
use super::connection::Connection;
use super::file_server::FileServer;
use super::front::FrontSettings;
use super::in_process::{Connector, ConnectorFactory};
use super::listener::{Accepted, Workers};
use super::pool::Pool;
use super::trusted::Network;
use super::visitors::Visitors;
use crate::router::backend::{Lease, Load};
use crate::router::replica::{Replica, Select, Selection};
use crate::router::table::Table;

/// How often idle connections to backends are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How often it is told that connections are closed for their number.
const TELL: Duration = Duration::from_secs(10);

/// App-port connections that wait for this worker.
const QUEUE: usize = 1024;

/// What a worker is made of, on its way to its thread.
#[derive(Clone)]
pub struct Plan {
    /// The settings.
    pub settings: Arc<FrontSettings>,
    /// The published table.
    pub table: watch::Receiver<Arc<Table>>,
    /// Opens pipes to the API.
    pub api: ConnectorFactory,
    /// Turns true when the front end drains.
    pub draining: watch::Receiver<bool>,
    /// Connections of all workers.
    pub load: Arc<Load>,
    /// Where connections from app ports can be sent.
    pub workers: Workers,
    /// Connections of each address.
    pub visitors: Visitors,
    /// Where the access log goes, if there is one.
    pub access: Option<Sink>,
}

/// What all connections of one worker thread share.
pub struct Worker {
    /// The settings.
    pub settings: Arc<FrontSettings>,
    /// Networks whose forwarding fields are believed.
    pub trusted: Vec<Network>,
    /// Answers who a request is for; a fresh one takes its place if it ever ends.
    replica: RefCell<Addr<Replica>>,
    table: watch::Receiver<Arc<Table>>,
    /// Idle connections to backends.
    pub pool: Pool,
    /// Buffers for responses.
    pub spare: Spare,
    /// Opens pipes to the API.
    pub api: Connector,
    /// Answers with static files.
    pub files: FileServer,
    /// Turns true when the front end drains.
    pub draining: watch::Receiver<bool>,
    /// The access log, if there is one.
    pub access: Option<Rc<Recorder>>,
    /// Requests that wait for an app to start.
    pub held: Cell<usize>,
    /// When it was told that connections are closed for their number.
    told_closed: Cell<Option<Instant>>,
    load: Arc<Load>,
    visitors: Visitors,
    ids: (u64, Cell<u64>),
}

thread_local! {
    /// The listeners of a thread share one worker; it lives as long as one of their services.
    static PRESENT: RefCell<Weak<Worker>> = const { RefCell::new(Weak::new()) };
}

impl Worker {
    /// The worker of this thread, made from `plan` if there is none.
    #[must_use]
    pub fn of_this_thread(plan: &Plan) -> Rc<Self> {
        PRESENT.with_borrow_mut(|present| {
            present.upgrade().unwrap_or_else(|| {
                let worker = Rc::new(Self::new(plan));
                *present = Rc::downgrade(&worker);
                worker.start(plan);
                worker
            })
        })
    }

    fn new(plan: &Plan) -> Self {
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
            replica: RefCell::new(replica(&settings, &plan.table)),
            table: plan.table.clone(),
            pool: Pool::default(),
            spare: Spare::default(),
            api: (plan.api)(),
            draining: plan.draining.clone(),
            files: FileServer::default(),
            access: plan.access.clone().map(Recorder::start),
            held: Cell::new(0),
            told_closed: Cell::new(None),
            load: Arc::clone(&plan.load),
            visitors: plan.visitors.clone(),
            ids: (getrandom::u64().unwrap_or(0), Cell::new(0)),
            settings,
        }
    }

    /// Starts what runs beside the connections; it ends with the worker.
    fn start(self: &Rc<Self>, plan: &Plan) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        plan.workers.add(sender);
        actix_rt::spawn(take_accepted(Rc::downgrade(self), receiver));
        actix_rt::spawn(tidy_pool(Rc::downgrade(self), plan.table.clone()));
    }

    /// Serves a connection from the listener at `local`, perhaps an app's own `port`, to its end. The stream has
    /// TCP_NODELAY from its listener.
    pub async fn serve(self: Rc<Self>, stream: TcpStream, local: SocketAddr, port: Option<u16>) {
        let _lease = Lease::new(&self.load);
        // Without an address the client is gone already.
        let Ok(peer) = stream.peer_addr() else { return };
        // Without an answer: who has that many connections may be after what answering costs.
        let most = match self.trusts(peer) {
            true => usize::MAX,
            false => self.settings.limits.connections_per_address,
        };
        let Some(_visit) = self.visitors.enter(peer.ip(), most) else {
            return self.tell_closed(peer);
        };
        Connection::new(stream, (peer, local, port), self)
            .serve()
            .await;
    }

    /// Says, now and then, that connections are closed for their number.
    fn tell_closed(&self, peer: SocketAddr) {
        let now = Instant::now();
        let told = self.told_closed.replace(Some(now));
        if told.is_some_and(|told| now - told < TELL) {
            return self.told_closed.set(told);
        }
        let most = self.settings.limits.connections_per_address;
        let address = peer.ip();
        log::warn!(
            "{address} has {most} connections, more are closed: see limits.connections_per_address"
        );
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
                *replica_of_now = replica(&self.settings, &self.table);
            }
            replica_of_now.clone()
        };
        fresh.send(select).await.ok()
    }

    /// A new request id: 32 hexadecimal digits, unique among workers and starts.
    #[must_use]
    pub fn request_id(&self) -> Box<str> {
        let count = self.ids.1.get();
        self.ids.1.set(count.wrapping_add(1));
        // By hand, as it is made for every request: `format!` takes five times as long.
        let mut id = String::with_capacity(32);
        for number in [self.ids.0, count] {
            for digit in (0..16).rev() {
                let digit = (number >> (4 * digit)) & 0xf;
                id.push(char::from(b"0123456789abcdef"[digit as usize]));
            }
        }
        id.into_boxed_str()
    }

    /// Whether the forwarding fields of a peer are believed.
    #[must_use]
    pub fn trusts(&self, peer: SocketAddr) -> bool {
        self.trusted.iter().any(|n| n.contains(peer.ip()))
    }

    /// Whether the front end drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

fn replica(settings: &FrontSettings, table: &watch::Receiver<Arc<Table>>) -> Addr<Replica> {
    let hosts = settings.api_hosts.iter().map(|h| h.to_ascii_lowercase());
    Replica::new(table.clone(), hosts.collect()).start()
}

async fn take_accepted(worker: Weak<Worker>, mut accepted: mpsc::Receiver<Accepted>) {
    while let Some(Accepted { stream, local }) = accepted.recv().await {
        let Some(worker) = worker.upgrade() else {
            return;
        };
        let port = local.port();
        match TcpStream::from_std(stream) {
            Ok(stream) => drop(actix_rt::spawn(worker.serve(stream, local, Some(port)))),
            Err(error) => log::warn!("a connection to port {port} was dropped: {error}"),
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
            None => worker.pool.sweep(),
        }
    }
}
