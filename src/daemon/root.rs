//! [`Root`]: the root supervisor: CertificateStore, Router, Drainer, Notifier, Apps, Front, Acme, History, in this order.
//! Each is restarted alone: what a fresh one needs outlives it (the published table and certificates, the config directory, the listeners), and the others reach it by its `ChildRef`.
//! Restarting what comes after it, too, would end every connection because the Router had a fault.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;

use crate::acme::acme::{Acme, AcmeSpec};
use crate::acme::challenges;
use crate::acme::status::Results;
use crate::app::apps::Apps;
use crate::app::context::AppContext;
use crate::drains::drainer::{Drainer, DrainerSpec};
use crate::events::Report;
use crate::front::access::recorder::Sink;
use crate::front::departure::Order;
use crate::front::front::Front;
use crate::front::kept::Kept;
use crate::front::listener::{Bound, Closed};
use crate::front::own_token::OwnToken;
use crate::front::request_counts::RequestCounts;
use crate::front::upstream::in_process::ConnectorFactory;
use crate::history::recorder::{Gather, Recorder};
use crate::notices::notifier::{Notifier, NotifierSpec};
use crate::pulse::Pulses;
use crate::router::backend::Load;
use crate::router::router::Router;
use crate::router::table::Table;
use crate::supervision::restart::{Intensity, Supervisor, SupervisorEvent};
use crate::supervision::{
    Child, ChildEnded, ChildRef, ChildSpec, Exit, ExitReason, Generation, Parent, Restart, Running,
    Shutdown, Strategy, Timeout, monitor,
};
use crate::tls::store::{CertificateStore, Published};
use crate::traces::exporter;

/// What the root supervisor starts its children with; it outlives each of them.
pub(super) struct RootSpec {
    pub(super) context: AppContext,
    pub(super) listeners: Vec<Bound>,
    pub(super) kept: Kept,
    pub(super) pulses: Pulses,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) published: Arc<Published>,
    /// Where a certificate authority is asked.
    pub(super) acme: Option<AcmeSpec>,
    pub(super) acme_results: Arc<Results>,
    pub(super) acme_actor: ChildRef<Acme>,
    pub(super) challenges: Arc<challenges::PublishedChallenges>,
    pub(super) table: Arc<watch::Sender<Arc<Table>>>,
    pub(super) apps: ChildRef<Apps>,
    pub(super) connector: ConnectorFactory,
    pub(super) booted: watch::Sender<bool>,
    pub(super) access: Option<Sink>,
    /// Where spans go, and of which part of the requests.
    pub(super) traces: Option<(exporter::Sink, f64)>,
    pub(super) closed: Arc<watch::Sender<Closed>>,
    /// Counts the connections of clients.
    pub(super) load: Arc<Load>,
    pub(super) request_counts: RequestCounts,
    pub(super) own_token: OwnToken,
    pub(super) history: ChildRef<Recorder>,
    /// How the history is told what there is.
    pub(super) readings: Gather,
    /// The name of this machine.
    pub(super) host_name: Arc<str>,
}

/// A child of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootChild {
    Certificates,
    Router,
    Drainer,
    Notifier,
    Apps,
    Front,
    Acme,
    History,
}

/// The root supervisor.
pub(super) struct Root {
    spec: RootSpec,
    exit: ExitReason,
    policy: Supervisor<RootChild>,
    certificates: Option<Child<CertificateStore>>,
    router: Option<Child<Router>>,
    drainer: Option<Child<Drainer>>,
    notifier: Option<Child<Notifier>>,
    apps: Option<Child<Apps>>,
    front: Option<Child<Front>>,
    acme: Option<Child<Acme>>,
    history: Option<Child<Recorder>>,
    /// It was asked to end, and everything with it.
    ending: bool,
}

impl Root {
    pub(super) fn new(spec: RootSpec, exit: ExitReason) -> Self {
        let drain = spec.context.settings.front.drain + Duration::from_secs(5);
        let child = |id, shutdown| ChildSpec {
            id,
            restart: Restart::Permanent,
            shutdown,
        };
        let five_seconds = Timeout::After(Duration::from_secs(5));
        let mut children = vec![
            child(RootChild::Certificates, five_seconds),
            child(RootChild::Router, five_seconds),
            child(RootChild::Drainer, five_seconds),
            child(RootChild::Notifier, five_seconds),
            child(RootChild::Apps, Timeout::Infinite),
            child(RootChild::Front, Timeout::After(drain)),
        ];
        if spec.acme.is_some() {
            children.push(child(RootChild::Acme, five_seconds));
        }
        children.push(child(RootChild::History, five_seconds));
        let intensity = Intensity {
            restarts: 3,
            period: Duration::from_secs(60),
        };
        let policy = Supervisor::new(Strategy::OneForOne, intensity, children);
        Self {
            spec,
            exit,
            policy,
            certificates: None,
            router: None,
            drainer: None,
            notifier: None,
            apps: None,
            front: None,
            acme: None,
            history: None,
            ending: false,
        }
    }

    /// A Front closes its listeners when it ends; these stay open for the next.
    fn cloned_listeners(&self) -> std::io::Result<Vec<Bound>> {
        self.spec.listeners.iter().map(Bound::try_clone).collect()
    }

    fn start_certificates(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let configured = self.spec.context.settings.tls.certificates.clone();
        let published = Arc::clone(&self.spec.published);
        let acme = self.spec.acme.as_ref();
        let issued = acme.map(|acme| acme.results.certificates.subscribe());
        let build = move |_: &mut _, _| {
            let store = CertificateStore::new(configured, published);
            match issued {
                Some(issued) => store.that_takes(issued),
                None => store,
            }
        };
        self.certificates = Some(monitor::start(&self.spec.context.control, build, on_exit));
    }

    fn start_router(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let table = Arc::clone(&self.spec.table);
        let build = move |_: &mut _, _| Router::new(table);
        let child = monitor::start(&self.spec.context.control, build, on_exit);
        self.spec.context.router.set(Some(child.addr.clone()));
        self.router = Some(child);
    }

    fn start_drainer(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let context = &self.spec.context;
        let spec = DrainerSpec {
            drains: context.drains.clone(),
            logs: context.app_logs.clone(),
            events: context.events.clone(),
            host: self.spec.host_name.to_string(),
        };
        let build = move |_: &mut _, exit| Drainer::new(spec, exit);
        self.drainer = Some(monitor::start(&context.control, build, on_exit));
    }

    fn start_notifier(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let context = &self.spec.context;
        let spec = NotifierSpec {
            receivers: context.receivers.clone(),
            events: context.events.clone(),
            published: Arc::clone(&self.spec.published),
            acme: Arc::clone(&self.spec.acme_results),
            data_dir: context.settings.data_dir.clone(),
        };
        let build = move |_: &mut _, _| Notifier::new(spec);
        self.notifier = Some(monitor::start(&context.control, build, on_exit));
    }

    fn start_apps(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let (context, booted) = (self.spec.context.clone(), self.spec.booted.clone());
        let build = move |_: &mut _, exit| Apps::new(context, booted, exit);
        let child = monitor::start(&self.spec.context.control, build, on_exit);
        self.spec.apps.set(Some(child.addr.clone()));
        self.apps = Some(child);
    }

    fn start_front(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let listeners = match self.cloned_listeners() {
            Ok(listeners) => listeners,
            Err(e) => return on_exit(Exit::Error(format!("cannot clone the listeners: {e}"))),
        };
        let spec = &self.spec;
        let settings = Arc::clone(&spec.context.settings.front);
        let (table, connector) = (spec.table.subscribe(), Arc::clone(&spec.connector));
        let (access, booted) = (spec.access.clone(), spec.booted.subscribe());
        let traces = spec.traces.clone();
        let (closed, own_token) = (Arc::clone(&spec.closed), spec.own_token.clone());
        let (challenges, load) = (spec.challenges.subscribe(), Arc::clone(&spec.load));
        let request_counts = spec.request_counts.clone();
        let (kept, pulses) = (spec.kept.clone(), spec.pulses.clone());
        let (orders, held) = (spec.orders.clone(), spec.context.held.clone());
        let build = move |_: &mut _, exit| {
            let front = Front::new(listeners, settings, table, connector, exit)
                .that_opens(booted)
                .that_tells(closed)
                .that_counts(load)
                .that_counts_requests(request_counts)
                .that_holds(held)
                .that_keeps(kept)
                .that_beats(pulses)
                .that_departs(orders)
                .that_withholds(own_token)
                .that_traces(traces)
                .that_proves(challenges);
            match access {
                Some(sink) => front.with_access_log(sink),
                None => front,
            }
        };
        self.front = Some(monitor::start(&spec.context.control, build, on_exit));
    }

    fn start_acme(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let Some(spec) = self.spec.acme.clone() else {
            return on_exit(Exit::Shutdown);
        };
        let build = move |_: &mut _, _| Acme::new(spec);
        let child = monitor::start(&self.spec.context.control, build, on_exit);
        self.spec.acme_actor.set(Some(child.addr.clone()));
        self.acme = Some(child);
    }

    fn start_history(&mut self, on_exit: impl FnOnce(Exit) + Send + 'static) {
        let data_dir = self.spec.context.settings.data_dir.clone();
        let readings = Arc::clone(&self.spec.readings);
        let build = move |_: &mut _, _| Recorder::new(&data_dir, readings);
        let child = monitor::start(&self.spec.context.control, build, on_exit);
        self.spec.history.set(Some(child.addr.clone()));
        self.history = Some(child);
    }
}

impl Parent for Root {
    type Id = RootChild;

    fn policy(&mut self) -> &mut Supervisor<RootChild> {
        &mut self.policy
    }

    fn title(&self) -> String {
        "the root supervisor".to_owned()
    }

    fn start_child(&mut self, id: RootChild, generation: Generation, ctx: &mut Context<Self>) {
        let on_exit = Self::on_exit(id, generation, ctx);
        match id {
            RootChild::Certificates => self.start_certificates(on_exit),
            RootChild::Router => self.start_router(on_exit),
            RootChild::Drainer => self.start_drainer(on_exit),
            RootChild::Notifier => self.start_notifier(on_exit),
            RootChild::Apps => self.start_apps(on_exit),
            RootChild::Front => self.start_front(on_exit),
            RootChild::Acme => self.start_acme(on_exit),
            RootChild::History => self.start_history(on_exit),
        }
    }

    fn child(&self, id: &RootChild) -> Option<&dyn Running> {
        match id {
            RootChild::Certificates => {
                let child = self.certificates.as_ref();
                child.map(|child| child as &dyn Running)
            }
            RootChild::Router => self.router.as_ref().map(|child| child as &dyn Running),
            RootChild::Drainer => self.drainer.as_ref().map(|child| child as &dyn Running),
            RootChild::Notifier => self.notifier.as_ref().map(|child| child as &dyn Running),
            RootChild::Apps => self.apps.as_ref().map(|child| child as &dyn Running),
            RootChild::Front => self.front.as_ref().map(|child| child as &dyn Running),
            RootChild::Acme => self.acme.as_ref().map(|child| child as &dyn Running),
            RootChild::History => self.history.as_ref().map(|child| child as &dyn Running),
        }
    }

    fn report_restart(&self, offender: String, reason: String) {
        let (app, title) = (self.app(), self.title());
        let report = Report::actor_restarts(app, title, offender, reason);
        self.spec.context.events.report(report);
    }

    fn leaves_running(&self, id: &RootChild) -> bool {
        *id == RootChild::Apps && !self.ending
    }

    fn over(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.exit.set(exit);
        ctx.stop();
    }
}

impl Actor for Root {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.supervise(SupervisorEvent::Start, ctx);
    }
}

impl Handler<ChildEnded<RootChild>> for Root {
    type Result = ();

    fn handle(&mut self, ended: ChildEnded<RootChild>, ctx: &mut Self::Context) {
        let ChildEnded {
            id,
            generation,
            exit,
        } = ended;
        match id {
            RootChild::Router => self.spec.context.router.set(None),
            RootChild::Apps => self.spec.apps.set(None),
            RootChild::Acme => self.spec.acme_actor.set(None),
            RootChild::History => self.spec.history.set(None),
            RootChild::Drainer
            | RootChild::Notifier
            | RootChild::Front
            | RootChild::Certificates => {}
        }
        self.supervise(
            SupervisorEvent::Ended {
                id,
                generation,
                exit,
            },
            ctx,
        );
    }
}

/// Asks whether it still answers.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub(super) struct Ping;

impl Handler<Ping> for Root {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<Shutdown> for Root {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.ending = true;
        if !self.spec.context.hands_over() {
            // The Front has its own of these, and closes them first.
            self.spec.listeners.clear();
            self.spec.kept.close();
        }
        self.supervise(SupervisorEvent::Shutdown, ctx);
    }
}
