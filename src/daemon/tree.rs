//! [`Tree`]: the supervision tree as a whole, seen from outside.

mod api;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_rt::Arbiter;
use tokio::sync::{oneshot, watch};

use super::DaemonError;
use super::root::{Root, RootSpec};
use super::{wanted_names, watchdog};
use crate::acme::acme::AcmeSpec;
use crate::acme::challenges;
use crate::acme::precheck::Precheck;
use crate::acme::status::Results;
use crate::acme::storage::Storage;
use crate::api::about::About;
use crate::api::in_process;
use crate::api::metrics::reading;
use crate::api::reload_status::Reload;
use crate::api::state::ApiState;
use crate::app::context::AppContext;
use crate::audit::AuditLog;
use crate::drains::book::Drains;
use crate::event_log;
use crate::event_log::writer::{EventFiles, EventLog};
use crate::events::Feed;
use crate::front::access::recorder;
use crate::front::access::recorder::{Lost, Sink};
use crate::front::access::writer::{AccessLog, keep_writing};
use crate::front::departure::Departure;
use crate::front::kept::Kept;
use crate::front::listener::{Bound, Closed};
use crate::front::own_token::OwnToken;
use crate::front::request_counts::RequestCounts;
use crate::logs::app_logs::AppLogs;
use crate::notices::book::Receivers;
use crate::process::ports::Ports;
use crate::process::start_permits::StartPermits;
use crate::pulse::Pulses;
use crate::router::backend::Load;
use crate::router::held::Held;
use crate::router::table::Table;
use crate::settings::Settings;
use crate::ssh_keys::SshKeys;
use crate::supervision::{Child, ChildRef, Exit, Shutdown, monitor};
use crate::swarm::image::Images;
use crate::swarm::swarm::Swarm;
use crate::tls::store::Published;
use crate::tokens::TokenStore;
use crate::traces::exporter::{self, Exporter};
use crate::{priority, threads};

/// How long the last lines of the access log, and of the events, may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The supervision tree as a whole.
pub(super) struct Tree {
    root: Child<Root>,
    booted: watch::Receiver<bool>,
    exit: watch::Receiver<Option<Exit>>,
    logs: Arbiter,
    closing: watch::Sender<bool>,
    departure: Arc<Departure>,
    hands_over: Arc<AtomicBool>,
    /// Resolves when the last line of the access log, if there is one, is written.
    access_written: Option<oneshot::Receiver<()>>,
    events: KeptEvents,
    exporter: Option<Exporter>,
}

/// What keeps the events.
struct KeptEvents {
    /// Dropped to end it.
    goes_on: oneshot::Sender<()>,
    /// Resolves when the last one is written.
    written: oneshot::Receiver<()>,
}

/// What a tree is given: it is there before, and some of it outlives the tree.
pub(super) struct Given {
    pub(super) listeners: Vec<Bound>,
    pub(super) kept: Kept,
    pub(super) pulses: Pulses,
    pub(super) published: Arc<Published>,
    pub(super) first_token: Arc<str>,
    pub(super) tokens: TokenStore,
    pub(super) ssh_keys: SshKeys,
    pub(super) reload: Reload,
}

/// The thread of all logs.
fn log_thread() -> Result<Arbiter, DaemonError> {
    Arbiter::try_with_tokio_rt(|| {
        // An app that writes without end must not do so with the server's priority.
        priority::step_back();
        threads::runtime()
    })
    .map_err(|e| DaemonError::Start(e.to_string()))
}

impl Tree {
    /// Starts it; what the API needs to reach it comes with it.
    pub(super) fn start(
        settings: &Arc<Settings>,
        given: Given,
    ) -> Result<(Self, ApiState), DaemonError> {
        let logs = log_thread()?;
        let host_name = host_name();
        let context = context(settings, &logs, &host_name)?;
        let (table, _) = watch::channel(Arc::new(Table::default()));
        let (closing, is_closing) = watch::channel(false);
        let (closed, closed_ports) = watch::channel(Closed::new());
        let load = Arc::<Load>::default();
        let about = about(&context, &given.listeners, &load);
        let mut api = api::state(
            &context,
            &given,
            api::Told {
                table: table.subscribe(),
                closing: is_closing,
                closed_ports,
                about,
                host_name,
            },
        );
        let Given {
            listeners,
            kept,
            pulses,
            published,
            first_token,
            tokens,
            ..
        } = given;
        let (booted, is_booted) = watch::channel(false);
        let (access, access_written) = access_log(&context, &api.metrics.lost_lines).unzip();
        let (traces, exporter) = start_exporter(settings, &api.host_name)?.unzip();
        api.spans = exporter.as_ref().map(Exporter::counts);
        let kept_events = keep_events(&context, api.event_files.clone());
        let challenges = Arc::default();
        let results = Arc::clone(&api.acme_results);
        let acme = acme_spec(&context, &table, &published, &challenges, results);
        let departure = Arc::<Departure>::default();
        let hands_over = Arc::clone(&context.hands_over);
        let spec = RootSpec {
            host_name: Arc::clone(&api.host_name),
            orders: departure.orders(),
            listeners,
            kept,
            pulses: pulses.clone(),
            published,
            acme,
            acme_results: Arc::clone(&api.acme_results),
            acme_actor: api.acme.clone(),
            challenges,
            table: Arc::new(table),
            apps: api.apps.clone(),
            connector: in_process::connector(api.clone()),
            history: api.history.clone(),
            readings: reading::of(api.clone()),
            booted,
            access,
            traces,
            closed: Arc::new(closed),
            load,
            request_counts: context.request_counts.clone(),
            own_token: OwnToken::new(first_token)
                .and_those(Arc::new(move |text| tokens.known().is_own(text))),
            context,
        };
        let (root, exit) = start_root(spec);
        let control = watchdog::ask_control(pulses, root.addr.clone(), api.apps.clone());
        actix_rt::spawn(control);
        let tree = Self {
            root,
            booted: is_booted,
            exit,
            logs,
            closing,
            departure,
            hands_over,
            access_written,
            events: kept_events,
            exporter,
        };
        Ok((tree, api))
    }

    /// Resolves when every application has its actor.
    pub(super) async fn booted(&mut self) -> Result<(), DaemonError> {
        let Self { booted, exit, .. } = self;
        let is_booted = tokio::select! {
            booted = booted.wait_for(|booted| *booted) => booted.is_ok(),
            _ = exit.wait_for(Option::is_some) => false,
        };
        if is_booted {
            Ok(())
        } else {
            Err(self.failure())
        }
    }

    /// Resolves when the root supervisor has given up.
    pub(super) async fn ended(&mut self) -> DaemonError {
        // An error means that its monitor is gone, and it with that.
        drop(self.exit.wait_for(Option::is_some).await);
        self.failure()
    }

    fn failure(&self) -> DaemonError {
        DaemonError::Ended(self.exit.borrow().clone().unwrap_or(Exit::Killed))
    }

    /// By what the front end is told of the next server.
    pub(super) fn departure(&self) -> &Arc<Departure> {
        &self.departure
    }

    /// Stops everything but the processes of applications, which are the next server's. Listeners stay open.
    pub(super) async fn hand_over(self) {
        self.hands_over.store(true, Ordering::SeqCst);
        self.stop().await;
    }

    /// Stops everything, in reverse order.
    pub(super) async fn stop(mut self) {
        self.closing.send_replace(true);
        self.root.addr.do_send(Shutdown);
        drop(self.exit.wait_for(Option::is_some).await);
        if let Some(written) = self.access_written {
            // The last lines are on their way; a worker thread that hangs must not keep the daemon.
            let _late = tokio::time::timeout(LAST_LINES, written).await;
        }
        if let Some(exporter) = self.exporter {
            // The workers have gone, and their sinks with them.
            let _late = tokio::time::timeout(LAST_LINES, exporter.ended()).await;
        }
        drop(self.events.goes_on);
        let _late = tokio::time::timeout(LAST_LINES, self.events.written).await;
        self.logs.stop();
    }
}

/// What asks for certificates, where the settings say so.
fn acme_spec(
    context: &AppContext,
    table: &watch::Sender<Arc<Table>>,
    published: &Published,
    challenges: &Arc<challenges::PublishedChallenges>,
    results: Arc<Results>,
) -> Option<AcmeSpec> {
    let settings = &context.settings;
    let acme = settings.tls.acme.as_ref()?;
    let (routes, files) = (table.subscribe(), published.files.subscribe());
    Some(AcmeSpec {
        settings: Arc::clone(acme),
        storage: Storage::new(&settings.data_dir, &acme.directory),
        precheck: Precheck::default(),
        wishes: wanted_names::follow(routes, &settings.front.reach, files),
        challenges: Arc::clone(challenges),
        results,
        events: context.events.clone(),
    })
}

fn about(context: &AppContext, listeners: &[Bound], load: &Arc<Load>) -> About {
    let settings = &context.settings;
    let (secure, plain): (Vec<_>, Vec<_>) = listeners.iter().partition(|bound| bound.tls.is_some());
    let addresses = |of: Vec<&Bound>| of.into_iter().map(|bound| bound.address).collect();
    About {
        listen: addresses(plain),
        tls_listen: addresses(secure),
        socket: settings.socket(),
        connections: Arc::clone(load),
        ..About::new(settings.data_dir.clone(), context.ports.clone())
    }
}

/// Starts the root supervisor. The other value says why it ended, once it has.
fn start_root(spec: RootSpec) -> (Child<Root>, watch::Receiver<Option<Exit>>) {
    let (ended, exit) = watch::channel(None);
    let root = monitor::start(
        &Arbiter::current(),
        move |_, exit| Root::new(spec, exit),
        move |exit| {
            ended.send_replace(Some(exit));
        },
    );
    (root, exit)
}

/// This machine's own name; empty where it has none.
fn host_name() -> Arc<str> {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().into()
}

fn context(
    settings: &Arc<Settings>,
    logs: &Arbiter,
    host_name: &Arc<str>,
) -> Result<AppContext, DaemonError> {
    let bounds = (settings.log_size, settings.log_files);
    let audit = AuditLog::start(&settings.data_dir, bounds);
    let app_logs = AppLogs::default();
    Ok(AppContext {
        audit: audit.map_err(|e| DaemonError::Start(e.to_string()))?,
        ports: Ports::new(settings.ports.first, settings.ports.last),
        router: ChildRef::default(),
        control: Arbiter::current(),
        logs: logs.handle(),
        drains: Drains::new(settings.drains.clone(), app_logs.clone()),
        app_logs,
        receivers: Receivers::new(
            settings.notify.clone(),
            settings.smtp.clone(),
            host_name.to_string(),
        ),
        start_permits: StartPermits::new(
            std::thread::available_parallelism().map_or(1, Into::into),
        ),
        events: Feed::default(),
        held: Held::default(),
        request_counts: RequestCounts::default(),
        hands_over: Arc::default(),
        can_switch: nix::unistd::geteuid().is_root(),
        images: images(settings)?,
        swarm: swarm(settings)?,
        settings: Arc::clone(settings),
    })
}

/// The swarm of the settings. It is followed, and what a server before has left there removed, on the thread of control
/// actors; no engine is asked yet.
fn swarm(settings: &Settings) -> Result<Option<Arc<Swarm>>, DaemonError> {
    let Some(swarm) = &settings.swarm else {
        return Ok(None);
    };
    let opened = Swarm::open(swarm, &settings.data_dir);
    let told = |error| DaemonError::Start(format!("cannot keep the name of this server: {error}"));
    let swarm = opened.map_err(told)?;
    let swarm = Arc::new(swarm);
    actix_rt::spawn(swarm.observer.clone().run());
    let sweeps = Arc::clone(&swarm);
    actix_rt::spawn(async move { sweeps.sweep().await });
    Ok(Some(swarm))
}

/// The images of applications, where the settings name a swarm.
fn images(settings: &Settings) -> Result<Option<Images>, DaemonError> {
    let Some(swarm) = &settings.swarm else {
        return Ok(None);
    };
    let opened = Images::open_on(
        &settings.data_dir,
        swarm.images.clone(),
        swarm.base_image.clone(),
    );
    let told = |error| DaemonError::Start(format!("cannot keep images of applications: {error}"));
    opened.map(Some).map_err(told)
}

/// Starts the access log if it is on. Returns where its lines go and what resolves when the last one is written.
fn access_log(context: &AppContext, lost: &Lost) -> Option<(Sink, oneshot::Receiver<()>)> {
    let settings = &context.settings;
    if !settings.access_log {
        return None;
    }
    let directory = settings.data_dir.join("logs");
    let bounds = (settings.log_size, settings.log_files);
    let (app_logs, events) = (context.app_logs.clone(), context.events.clone());
    let fresh = move || AccessLog::new(&directory, bounds, app_logs.clone());
    let (sink, source) = recorder::channel(lost);
    let (done, written) = oneshot::channel();
    context.logs.spawn(async move {
        keep_writing(fresh, source, events).await;
        // Nobody waits when the start failed.
        let _nobody = done.send(());
    });
    Some((sink, written))
}

/// Starts what keeps the events of this server and those before.
fn keep_events(context: &AppContext, files: EventFiles) -> KeptEvents {
    let (goes_on, stop) = oneshot::channel();
    let (done, written) = oneshot::channel();
    let (feed, size) = (context.events.clone(), context.settings.log_size);
    context.logs.spawn(async move {
        event_log::writer::keep_writing(|| EventLog::new(&files, size), feed, stop).await;
        // Nobody waits when the start failed.
        let _nobody = done.send(());
    });
    KeptEvents { goes_on, written }
}

/// Where spans go, and of which part of the requests.
type Traces = (exporter::Sink, f64);

/// Starts what sends spans, where the settings name a collector. Returns where they go, and of which part of the requests.
fn start_exporter(
    settings: &Settings,
    host_name: &Arc<str>,
) -> Result<Option<(Traces, Exporter)>, DaemonError> {
    let Some(traces) = settings.traces.clone() else {
        return Ok(None);
    };
    let sample = traces.sample;
    let started = Exporter::start(traces, Arc::clone(host_name));
    let (sink, exporter) = started.map_err(|e| DaemonError::Start(e.to_string()))?;
    Ok(Some(((sink, sample), exporter)))
}
