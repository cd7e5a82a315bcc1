//! [`Process`]: the actor that owns one OS process.
//!
//! It interprets the commands of [`super::state::Life`]; what takes time runs as futures of the actor, whose results
//! come back as events.

mod exit;
mod one_off;
mod port;
mod start;
mod watch;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::{Notify, oneshot};

use super::identity::{self, Identity};
use super::instance;
use super::phase::Phase;
use super::ports::{PortLease, Ports};
use super::running::Running;
pub use super::snapshot::Snapshot;
pub use super::spec::ProcessSpec;
use super::start_permits::StartPermit;
use super::state::{Command, Life, LifeEvent};
use super::stop::{self, Stopped};
use super::users::Users;
use crate::document::config::StopPolicy;
use crate::exit_status::{ExitRecord, ExitStatus};
use crate::logs::log::{Attach, Detach, Log};
use crate::supervision::jitter::random;
use crate::supervision::{ChildRef, Exit, ExitReason, Shutdown};
use watch::Watch;

/// How long the log may take to read what is left in the FIFOs. A process that is gone writes no more: this is only
/// for a log actor that is stuck.
const DETACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Sent to the App after every change of a Process.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct ProcessChanged {
    /// [`ProcessSpec::batch`].
    pub batch: u64,
    /// The state after the change.
    pub snapshot: Snapshot,
    /// Set when the change is the end of its OS process: each end is reported once.
    pub exited: Option<ExitRecord>,
}

/// Whether to spawn a process or to take over one that outlived the previous daemon.
#[derive(Clone, Debug)]
pub enum Origin {
    Spawn,
    /// Take this one over; when it has ended meanwhile, it counts as a crash with
    /// [`crate::exit_status::ExitStatus::Unknown`].
    Adopt(Identity),
    /// It ended for good before, in this activation.
    Finished(ExitRecord),
}

/// The actor that owns one OS process. [`Shutdown`] stops the OS process (signal, grace, kill) and then the actor.
/// Dropped without that (a panic), it leaves the OS process running for its successor to adopt.
#[derive(Debug)]
pub struct Process {
    spec: ProcessSpec,
    origin: Origin,
    ports: Ports,
    log: ChildRef<Log>,
    parent: Recipient<ProcessChanged>,
    exit: ExitReason,
    life: Life,
    running: Option<Rc<Running>>,
    /// Kept while it waits for a restart, so that the port stays the same.
    lease: Option<Arc<PortLease>>,
    port: Option<u16>,
    port_warning: Option<String>,
    has_no_port: bool,
    lacks: Option<String>,
    started_at: Option<jiff::Timestamp>,
    is_attached: bool,
    /// While it starts with the server.
    permit: Option<StartPermit>,
    /// Wakes it when it is stopped while it waits for its permit.
    stopped: Rc<Notify>,
    watch: Watch,
    /// Tells who is attached how it ended.
    exit_told: Option<oneshot::Sender<ExitRecord>>,
    /// Why a one-off process is stopped, if it was not asked for.
    stop_reason: Option<String>,
}

impl Process {
    /// A Process for `spec`, reporting to `parent`, its output going to `log`.
    #[must_use]
    pub fn new(
        spec: ProcessSpec,
        origin: Origin,
        ports: Ports,
        log: ChildRef<Log>,
        parent: Recipient<ProcessChanged>,
        exit: ExitReason,
    ) -> Self {
        Self {
            port: spec.preferred_port,
            life: match spec.one_off {
                Some(_) => Life::of_one_off(),
                None => Life::new(spec.restart),
            },
            spec,
            origin,
            ports,
            log,
            parent,
            exit,
            running: None,
            lease: None,
            port_warning: None,
            has_no_port: false,
            lacks: None,
            started_at: None,
            is_attached: false,
            permit: None,
            stopped: Rc::default(),
            watch: Watch::default(),
            exit_told: None,
            stop_reason: None,
        }
    }

    fn apply(&mut self, event: LifeEvent, ctx: &mut Context<Self>) {
        for command in self.life.handle(event, Instant::now(), random()) {
            self.carry_out(command, ctx);
        }
        if self.life.phase() != Phase::Starting {
            self.permit = None;
        }
        if self.life.phase() == Phase::Finished {
            (self.lease, self.port) = (None, None);
        }
    }

    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) {
        match command {
            Command::Spawn => self.spawn(ctx),
            Command::Watch { attempt } => self.watch(attempt, ctx),
            Command::Clean => self.clean(ctx),
            Command::Stop => self.stop(ctx),
            Command::Report { exited } => self.report(exited),
            Command::Finish { exited } => self.finish(exited, ctx),
            Command::ArmRestart { attempt, after } => {
                ctx.run_later(after, move |this, ctx| {
                    this.apply(LifeEvent::Due { attempt }, ctx);
                });
            }
            Command::ArmProved { attempt, after } => {
                ctx.run_later(after, move |this, ctx| {
                    this.apply(LifeEvent::Proved { attempt }, ctx);
                });
            }
        }
    }

    /// Goes on with a process that outlived the daemon, or the actor before this one.
    fn adopt(&mut self, survivor: Identity, ctx: &mut Context<Self>) {
        if self.spec.one_off.is_none() {
            self.port = Some(survivor.port);
            self.lease = self.ports.adopt(survivor.port).map(Arc::new);
        }
        self.spec.start_permits = None;
        self.apply(LifeEvent::Adopting, ctx);
        let attaching = attach(self.log.clone(), self.attach());
        let limits = self.spec.limits;
        let held = async move {
            let hold = move || {
                let running = Running::of_survivor(&survivor)?;
                stop::let_go(&running);
                let lacks = running.limit_again(&limits);
                Ok::<_, io::Error>((running, lacks, spawned_at(&survivor)))
            };
            let held = blocking(hold).await.flatten()?;
            Ok::<_, io::Error>((held, attaching.await))
        };
        ctx.spawn(held.into_actor(self).map(|held, this, ctx| {
            let event = match held {
                Ok(((running, lacks, started_at), attached)) => {
                    this.attached(attached);
                    this.warn_of_lacks(&lacks);
                    this.started_at = started_at;
                    let pid = running.pid();
                    this.running = Some(Rc::new(running));
                    this.arm_time_limit(ctx);
                    LifeEvent::Running { pid }
                }
                Err(_) => LifeEvent::Exited {
                    record: record(ExitStatus::Unknown, None),
                },
            };
            this.apply(event, ctx);
        }));
    }

    fn attached(&mut self, result: Result<(), String>) {
        self.is_attached = result.is_ok();
        if let Err(e) = result {
            log::error!(
                "{} {}: its output is not read: {e}",
                self.spec.app,
                self.spec.id
            );
        }
    }

    /// Ends what the ended process left, with the same grace: no slot has two live sets of processes.
    fn clean(&mut self, ctx: &mut Context<Self>) {
        let running = self.running.take();
        let policy = self.spec.stop.clone();
        let directory = self.spec.instance_directory();
        let users = Users::of_account(self.spec.account.as_ref());
        let clean = async move {
            if let Some(running) = running {
                stop::gracefully(&running, &policy).await;
                running.reap();
                return;
            }
            let instance = directory.to_string_lossy().into_owned();
            let kill = move || stop::kill_remains(&instance, &users);
            // An error is a panic in there, which has been logged.
            let _ = tokio::task::spawn_blocking(kill).await;
        };
        ctx.spawn(
            clean
                .into_actor(self)
                .map(|(), this, ctx| this.apply(LifeEvent::Cleaned, ctx)),
        );
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.unwatch(ctx);
        let Some(running) = self.running.take() else {
            return;
        };
        let (policy, stop_reason) = (self.spec.stop.clone(), self.stop_reason.clone());
        let stopped = async move {
            let outcome = stop::gracefully(&running, &policy).await;
            let reason = stop_reason.or_else(|| killed(outcome, &policy));
            record(running.reap(), reason)
        };
        ctx.spawn(stopped.into_actor(self).map(|record, this, ctx| {
            this.apply(LifeEvent::Stopped { record }, ctx);
        }));
    }

    fn finish(&mut self, exited: Option<ExitRecord>, ctx: &mut Context<Self>) {
        let directory = self.spec.instance_directory();
        let detach = Detach {
            directory: directory.clone(),
        };
        let log = self.log.get();
        let put_away = async move {
            if let Some(log) = log {
                // A log that is stuck or gone has nothing more to read; the process has ended either way. One that is
                // only late must be told all the same, or it keeps what it has open for good.
                let told = log.send(detach.clone());
                if tokio::time::timeout(DETACH_TIMEOUT, told).await.is_err() {
                    log.do_send(detach);
                }
            }
            let _ = tokio::task::spawn_blocking(move || instance::remove(&directory)).await;
        };
        ctx.spawn(put_away.into_actor(self).map(move |(), this, ctx| {
            this.lease = None;
            this.report(exited);
            this.exit.set(Exit::Shutdown);
            ctx.stop();
        }));
    }

    fn attach(&self) -> Attach {
        Attach {
            process: self.spec.id.clone(),
            release: self.spec.release,
            directory: self.spec.instance_directory(),
        }
    }

    fn report(&mut self, exited: Option<ExitRecord>) {
        if let (Some(exit), Some(tell)) = (&exited, self.exit_told.take_if(|_| exited.is_some())) {
            // Nobody is attached any more: fine.
            let _unheard = tell.send(exit.clone());
        }
        // Unbounded, but few: the back-off bounds how often anything changes.
        self.parent.do_send(ProcessChanged {
            batch: self.spec.batch,
            snapshot: self.snapshot(),
            exited,
        });
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            id: self.spec.id.clone(),
            phase: self.life.phase(),
            pid: self.life.pid(),
            port: self.lease.as_ref().map(|lease| lease.port()).or(self.port),
            address: self.life.address().cloned(),
            place: None,
            started_at: self.started_at.filter(|_| self.life.pid().is_some()),
            restarts: self.life.restarts(),
            crashlooping: self.life.is_crashlooping(),
            last_exit: self.life.last_exit().cloned(),
            has_no_port: self.has_no_port,
            is_refused: false,
            is_fetching: false,
            seen_since: None,
            trouble: self.watch.trouble(),
            alarm: self.watch.alarm(),
            warning: self
                .life
                .spawn_error()
                .map(str::to_owned)
                .or_else(|| self.port_warning.clone())
                .or_else(|| self.spec.socket_directory().err())
                .or_else(|| self.lacks.clone()),
        }
    }
}

fn record(status: ExitStatus, reason: Option<String>) -> ExitRecord {
    ExitRecord {
        status,
        at: jiff::Timestamp::now(),
        oom: false,
        reason,
    }
}

/// What a person should know of a stop that took too long.
fn killed(outcome: Stopped, policy: &StopPolicy) -> Option<String> {
    let grace = humantime::format_duration(policy.timeout);
    let signal = stop::name(policy.signal);
    match outcome {
        Stopped::InTime => None,
        Stopped::Killed => Some(format!("killed after {grace}: ignored {signal}")),
        Stopped::RestKilled => Some(format!(
            "it ended, but something that it had started did not end on {signal} and was killed after {grace}"
        )),
    }
}

/// The record is written as the process starts.
fn spawned_at(survivor: &Identity) -> Option<jiff::Timestamp> {
    let written = std::fs::metadata(survivor.directory.join(identity::FILE));
    jiff::Timestamp::try_from(written.ok()?.modified().ok()?).ok()
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)
}

async fn attach(log: ChildRef<Log>, attach: Attach) -> Result<(), String> {
    let log = log.get().ok_or("the log does not run")?;
    let attached = log
        .send(attach)
        .await
        .map_err(|e| format!("the log does not run: {e}"))?;
    attached.map_err(|e| format!("the log cannot read its output: {e}"))
}

/// There is a fresh Log: the output goes to it from now on.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Reattach;

impl Handler<Reattach> for Process {
    type Result = ();

    fn handle(&mut self, _: Reattach, ctx: &mut Self::Context) {
        self.is_attached = false;
        if self.running.is_some() {
            let attached = attach(self.log.clone(), self.attach());
            ctx.spawn(
                attached
                    .into_actor(self)
                    .map(|attached, this, _| this.attached(attached)),
            );
        }
    }
}

impl Actor for Process {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.origin.clone() {
            Origin::Spawn => self.apply(LifeEvent::Begin, ctx),
            Origin::Adopt(survivor) => self.adopt(survivor, ctx),
            Origin::Finished(record) => self.apply(LifeEvent::Finished { record }, ctx),
        }
    }
}

impl Handler<Shutdown> for Process {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.stopped.notify_one();
        self.apply(LifeEvent::Stop, ctx);
    }
}
