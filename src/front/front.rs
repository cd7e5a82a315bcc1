//! [`Front`]: the actor that runs the workers and drains them when it stops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::JoinHandle;
use tokio::sync::{oneshot, watch};

use super::acceptor;
use super::access::recorder::Sink;
use super::capacity::Capacity;
use super::connection_limit::ConnectionLimit;
use super::departure::Order;
use super::exchange::tunnel;
use super::kept::Kept;
use super::listener::{self, Bound, Closed, Listening, Sockets};
use super::own_token::OwnToken;
use super::policies::verifying::Verifying;
use super::request_counts::RequestCounts;
use super::settings::FrontSettings;
use super::static_files::compressed::Compressed;
use super::upstream::asking;
use super::upstream::in_process::ConnectorFactory;
use super::worker::{HttpsListener, Plan};
use crate::acme::challenges::Challenges;
use crate::pulse::Pulses;
use crate::router::backend::Load;
use crate::router::held::Held;
use crate::router::table::Table;
use crate::supervision::{Exit, ExitReason, Shutdown};
use crate::traces;

/// How long requests that came last may take before the next server begins.
const LAST: Duration = Duration::from_secs(5);

/// Runs the workers. [`Shutdown`] stops accepting, lets requests in flight finish within [`FrontSettings::drain`], then
/// closes the rest.
pub struct Front {
    listeners: Vec<Bound>,
    opens: watch::Receiver<bool>,
    sockets: Option<watch::Sender<Sockets>>,
    closed: Arc<watch::Sender<Closed>>,
    kept: Kept,
    pulses: Pulses,
    plan: Plan,
    request_counts: RequestCounts,
    draining: watch::Sender<bool>,
    workers: Vec<Arbiter>,
    following: Option<JoinHandle<()>>,
    exit: ExitReason,
}

impl Front {
    /// Serves on `listeners` and follows `table`. The sockets should outlive this actor,
    /// so that it can be restarted: give it clones.
    #[must_use]
    pub fn new(
        listeners: Vec<Bound>,
        settings: Arc<FrontSettings>,
        table: watch::Receiver<Arc<Table>>,
        api: ConnectorFactory,
        exit: ExitReason,
    ) -> Self {
        let (sender, draining) = watch::channel(false);
        let (opened, sockets) = watch::channel(Sockets::new());
        let (limits, workers) = (settings.limits, settings.workers);
        let plan = Plan {
            settings,
            table,
            api,
            draining,
            orders: watch::channel(Order::default()).1,
            load: Arc::default(),
            connection_limit: ConnectionLimit::default(),
            compressed: Compressed::default(),
            access: None,
            traces: None,
            request_counts: Arc::default(),
            own_token: OwnToken::default(),
            verifying: Verifying::default(),
            https: listeners.iter().find_map(https),
            challenges: watch::channel(Arc::default()).1,
            calls: asking::calls(),
            held: Held::default(),
            room: Capacity::of(&limits, workers, None),
            sockets,
        };
        Self {
            listeners,
            opens: watch::channel(true).1,
            sockets: Some(opened),
            closed: Arc::default(),
            kept: Kept::default(),
            pulses: Pulses::default(),
            plan,
            request_counts: RequestCounts::default(),
            draining: sender,
            workers: Vec::new(),
            following: None,
            exit,
        }
    }

    /// Sends the access log to `sink`.
    #[must_use]
    pub fn with_access_log(mut self, sink: Sink) -> Self {
        self.plan.access = Some(sink);
        self
    }

    /// Tells spans of this part of the requests to `sink`.
    #[must_use]
    pub fn that_traces(mut self, traces: Option<(traces::exporter::Sink, f64)>) -> Self {
        self.plan.traces = traces;
        self
    }

    /// Answers what a certificate authority looks for.
    #[must_use]
    pub fn that_proves(mut self, challenges: watch::Receiver<Arc<Challenges>>) -> Self {
        self.plan.challenges = challenges;
        self
    }

    /// Counts the connections of clients in `load`, which outlives this actor.
    #[must_use]
    pub fn that_counts(mut self, load: Arc<Load>) -> Self {
        self.plan.load = load;
        self
    }

    /// Counts requests in `counts`, which outlive this actor.
    #[must_use]
    pub fn that_counts_requests(mut self, counts: RequestCounts) -> Self {
        self.request_counts = counts;
        self
    }

    /// Counts those that wait for their apps in `held`, where the apps look.
    #[must_use]
    pub fn that_holds(mut self, held: Held) -> Self {
        self.plan.held = held;
        self
    }

    /// Sends no app the server's own token.
    #[must_use]
    pub fn that_withholds(mut self, own_token: OwnToken) -> Self {
        self.plan.own_token = own_token;
        self
    }

    /// Accepts once `opens` is true. Until then connections wait in the kernel.
    #[must_use]
    pub fn that_opens(mut self, opens: watch::Receiver<bool>) -> Self {
        self.opens = opens;
        self
    }

    /// Tells `closed` which ports of apps cannot be listened on.
    #[must_use]
    pub fn that_tells(mut self, closed: Arc<watch::Sender<Closed>>) -> Self {
        self.closed = closed;
        self
    }

    /// Takes the sockets of apps' ports from `kept`, and leaves them there.
    #[must_use]
    pub fn that_keeps(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    /// Leaves its listeners to the next server as it is ordered to.
    #[must_use]
    pub fn that_departs(mut self, orders: watch::Receiver<Order>) -> Self {
        self.plan.orders = orders;
        self
    }

    /// Leaves a pulse of each worker in `pulses`.
    #[must_use]
    pub fn that_beats(mut self, pulses: Pulses) -> Self {
        self.pulses = pulses;
        self
    }

    /// Opens and closes sockets as the table says.
    fn listen(&mut self) -> io::Result<()> {
        let own = self.listeners.drain(..);
        let own: Sockets = own
            .map(|bound| Listening::for_all(bound).map(Arc::new))
            .collect::<io::Result<_>>()?;
        let (Some(sockets), false) = (self.sockets.take(), own.is_empty()) else {
            return Err(io::Error::other("no listening socket was given"));
        };
        let (mut opens, table) = (self.opens.clone(), self.plan.table.clone());
        let (closed, mut draining) = (Arc::clone(&self.closed), self.plan.draining.clone());
        let kept = self.kept.clone();
        self.following = Some(actix_rt::spawn(async move {
            let published = sockets.clone();
            let follows = async move {
                // An error means that the sender is gone. The guard must go at once: it keeps the value locked.
                drop(opens.wait_for(|opens| *opens).await);
                listener::follow(own, table, sockets, closed, kept).await;
            };
            tokio::select! {
                () = follows => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
            // The kernel closes a socket with its last holder, and refuses connections from then on: no client waits
            // for a server that will not answer.
            published.send_replace(Sockets::new());
        }));
        Ok(())
    }

    /// Starts the worker threads. The end of one is the end of this actor.
    fn start_workers(&mut self, ctx: &mut Context<Self>) {
        let count = self.plan.settings.workers.clamp(1, 512);
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limits = &self.plan.settings.limits;
        self.plan.room = Capacity::of(limits, count, descriptors);
        if let Some(all) = descriptors
            && self.plan.room.total < limits.connections.saturating_mul(count)
        {
            log::warn!(
                "{} connections at a time: {all} file descriptors (LimitNOFILE, ulimit -n) have no room for \
                 limits.connections = {} in each of {count} workers",
                self.plan.room.total,
                limits.connections
            );
        }
        let ended = (1..=count).map(|number| {
            let (alive, ended) = oneshot::channel();
            let worker = Arbiter::new();
            let plan = Plan {
                request_counts: self.request_counts.of_worker(number),
                ..self.plan.clone()
            };
            let pulse = self.pulses.enter(format!("front worker {number}"));
            worker.spawn_fn(move || {
                pulse.map(|pulse| actix_rt::spawn(pulse.keep_beating()));
                drop(actix_rt::spawn(acceptor::run(plan, alive)));
            });
            self.workers.push(worker);
            ended
        });
        let first = futures::future::select_all(ended.collect::<Vec<_>>());
        ctx.spawn(first.into_actor(self).map(|_, front, ctx| {
            // They also end when they are told to.
            if !front.workers.is_empty() {
                front.fail("a worker thread of the front end ended", ctx);
            }
        }));
    }

    fn stop_workers(&mut self) {
        if let Some(following) = self.following.take() {
            following.abort();
        }
        for worker in self.workers.drain(..) {
            worker.stop();
        }
    }

    fn fail(&self, what: &str, ctx: &mut Context<Self>) {
        self.exit.set(Exit::Error(what.to_owned()));
        ctx.stop();
    }
}

fn https(bound: &Bound) -> Option<HttpsListener> {
    let tls = bound.tls.clone()?;
    let port = bound.address.port();
    Some(HttpsListener { port, tls })
}

impl Actor for Front {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.listen() {
            Ok(()) => self.start_workers(ctx),
            Err(error) => self.fail(&format!("the front end cannot start: {error}"), ctx),
        }
    }
}

/// The workers must be stopped even when this actor panics.
impl Drop for Front {
    fn drop(&mut self) {
        self.stop_workers();
    }
}

impl Handler<Shutdown> for Front {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.exit.set(Exit::Shutdown);
        // Workers stop accepting. Idle connections close at once, the others after their response.
        self.draining.send_replace(true);
        let load = Arc::clone(&self.plan.load);
        let drain = match self.plan.orders.borrow().has_begun() {
            // There is little left, and new clients wait.
            true => self.plan.settings.drain.min(LAST),
            false => self.plan.settings.drain,
        };
        let drained = async move {
            if tokio::time::timeout(drain, load.drained()).await.is_err() {
                log::warn!(
                    "{} connections were cut off after {drain:?}",
                    load.outstanding()
                );
                // Tunnels close in good order. Requests have nothing to end well with.
                load.cut();
                let _cut_off = tokio::time::timeout(2 * tunnel::CLOSING, load.drained()).await;
            }
        };
        ctx.spawn(drained.into_actor(self).map(|(), front, ctx| {
            front.stop_workers();
            ctx.stop();
        }));
    }
}
