//! [`Process`]: the actor that owns one OS process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use actix::prelude::*;
use serde::Serialize;

use super::exit::ExitRecord;
use super::identity::Identity;
use super::ports::Ports;
use crate::app::account::Account;
use crate::app::config::{HealthCheck, StopPolicy};
use crate::app::name::AppName;
use crate::logs::log::Log;
use crate::supervision::{ExitReason, Shutdown};

/// What a Process actor runs. Fixed for its life: another command or environment is another actor.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// The application.
    pub app: AppName,
    /// `web.1`.
    pub id: String,
    /// `web`.
    pub process_type: String,
    /// The release it belongs to.
    pub release: u64,
    /// The activation it belongs to: two sets of processes of one release differ in it.
    pub batch: u64,
    /// For `/bin/sh -c`.
    pub command: String,
    /// The release's directory.
    pub directory: PathBuf,
    /// The account to switch to; `None` when the daemon is not root.
    pub account: Option<Account>,
    /// Layers one to three; the worker adds PORT, PS and PROCSERVER_*.
    pub environment: BTreeMap<String, String>,
    /// Whether the proxy routes to it: then ready means `health`, else alive for a second.
    pub routed: bool,
    /// How readiness is found out.
    pub health: HealthCheck,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// `RUNTIME/apps/NAME`: the process makes its directory `ID-BATCH` below.
    pub runtime: PathBuf,
    /// The port its predecessor had.
    pub preferred_port: Option<u16>,
}

/// Where one process is in its life, as the API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Spawned, not ready yet.
    Starting,
    /// Serving (or alive, when it is not routed).
    Ready,
    /// Ended; waits for its back-off.
    Backoff,
    /// Asked to stop.
    Stopping,
    /// Ended for good.
    Stopped,
}

/// What a Process tells its App after every change.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// `web.1`.
    pub id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// The OS process (and session leader), while there is one.
    pub pid: Option<u32>,
    /// Its PORT.
    pub port: Option<u16>,
    /// Where the proxy reaches it, once ready.
    pub address: Option<std::net::SocketAddr>,
    /// When the present OS process was spawned.
    pub started_at: Option<jiff::Timestamp>,
    /// Restarts since this actor started.
    pub restarts: u32,
    /// Five crashes or more within five minutes.
    pub crashlooping: bool,
    /// The last end of its OS process.
    pub last_exit: Option<ExitRecord>,
    /// What a person should know, e.g. that port 8001 is taken by pid 77 (nginx).
    pub warning: Option<String>,
}

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
    /// Spawn a new one.
    Spawn,
    /// Take this one over; when it has ended meanwhile, it counts as a crash with [`super::exit::ExitStatus::Unknown`].
    Adopt(Identity),
}

/// The actor that owns one OS process. [`Shutdown`] stops the OS process (signal, grace, kill) and then the actor.
/// Dropped without that (a panic), it leaves the OS process running for its successor to adopt.
#[derive(Debug)]
pub struct Process {
    #[allow(dead_code)]
    spec: ProcessSpec,
}

impl Process {
    /// A Process for `spec`, reporting to `parent`, its output going to `log`.
    #[must_use]
    pub fn new(
        spec: ProcessSpec,
        origin: Origin,
        ports: Ports,
        log: Addr<Log>,
        parent: Recipient<ProcessChanged>,
        exit: ExitReason,
    ) -> Self {
        let _ = (origin, ports, log, parent, exit);
        Self { spec }
    }
}

impl Actor for Process {
    type Context = Context<Self>;
}

impl Handler<Shutdown> for Process {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        todo!()
    }
}
