//! What the API shows of an application.

use std::num::NonZero;
use std::path::PathBuf;

use serde::Serialize;

use crate::document::config::{AppConfig, Reference};
use crate::drains::status::DrainStatus;
use crate::exit_status::ExitRecord;
use crate::install::record::Step;
use crate::process::phase::Phase;
use crate::process::usage::Run;

/// State of an app as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AppState {
    /// A deployment is at work.
    Deploying,
    /// All processes that should run are starting or ready.
    Running,
    Stopped,
    /// Nothing runs until a request comes.
    Asleep,
    /// Nothing has been pushed yet.
    Empty,
    /// A process has crashed and waits for its restart, or all that answer requests have ended for good.
    Degraded,
    Crashlooping,
    /// No deployment has succeeded: there is nothing to run.
    Failed,
}

impl AppState {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Asleep => "asleep",
            Self::Empty => "empty",
            Self::Degraded => "degraded",
            Self::Crashlooping => "crashlooping",
            Self::Failed => "failed",
        }
    }
}

/// The last deployment, where it failed: a good one ends what there is to tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastFailure {
    pub deployment: u64,
    pub step: Step,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<jiff::Timestamp>,
}

/// By what an app is reached, as far as a URL can be made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The first name in `hosts`, else the first that a pattern in `domain` spells out.
    pub host: Option<String>,
    /// A listener of its own.
    pub port: Option<u16>,
    /// Whether its name as a path leads to it.
    pub path: bool,
    /// The port of the server's first listener, and of its first for HTTPS.
    pub listener: Option<u16>,
    pub tls_listener: Option<u16>,
}

/// Of which application and branch an app is a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewStatus {
    pub of: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// When it is removed, unless it is deployed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<jiff::Timestamp>,
}

impl PreviewStatus {
    /// What `config` says; `None`: it is no preview. It was deployed `last`.
    #[must_use]
    pub fn of(config: &AppConfig, last: Option<jiff::Timestamp>) -> Option<Self> {
        let preview = config.preview.as_ref()?;
        Some(Self {
            of: preview.app.to_string(),
            branch: match &config.repo.reference {
                Reference::Branch(branch) => Some(branch.clone()),
                _ => None,
            },
            expires_at: last.and_then(|last| last.checked_add(preview.expires).ok()),
        })
    }
}

/// One line of `GET /applications`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub name: String,
    pub state: AppState,
    /// The release that runs (or would).
    pub release: Option<u64>,
    pub commit: Option<String>,
    /// Where it is reached; filled in by the API, which knows by which name the server is called.
    pub url: Option<String>,
    /// Resident memory of its processes; filled in by the API.
    pub memory_bytes: u64,
    /// Set while the last deployment is one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// When its pause ends by itself, while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<jiff::Timestamp>,
    /// Everybody gets 503 instead of what it would answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub maintenance: bool,
    /// Set where it is a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewStatus>,
    /// What `url` is made of.
    #[serde(skip)]
    pub reach: Reach,
    #[serde(skip)]
    pub pids: Vec<u32>,
    /// The tasks of its processes on a swarm.
    #[serde(skip)]
    pub tasks: Vec<String>,
}

/// One process of `GET /applications/A/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// `web.1`.
    pub id: String,
    /// `web`.
    #[serde(rename = "type")]
    pub process_type: String,
    /// Where it is in its life.
    pub state: Phase,
    pub release: u64,
    /// Of one that runs once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    /// The machine of a swarm that it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The swarm's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// SOCKET, where it answers there instead of at its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    pub started_at: Option<jiff::Timestamp>,
    /// Since this process was deployed.
    pub restarts: u32,
    /// The last end.
    pub last_exit: Option<ExitRecord>,
    /// Resident memory of all it started.
    pub memory_bytes: u64,
    /// CPU time of all it started.
    pub cpu_seconds: f64,
    /// The last lines of stderr, while it crashloops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Why it fails its checks, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<String>,
    /// How many requests and tunnels are left on it, while it drains: then it gets its signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<usize>,
}

/// `GET /applications/A/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    pub name: String,
    pub state: AppState,
    pub release: Option<u64>,
    pub commit: Option<String>,
    /// The deployment at work, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<u64>,
    /// Set while the last deployment is one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// As whom its processes run, where the server can switch users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When its pause ends by itself, while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<jiff::Timestamp>,
    /// Everybody gets 503 instead of what it would answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub maintenance: bool,
    /// Requests that wait for it: it is starting, sleeps or is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<NonZero<usize>>,
    pub processes: Vec<ProcessStatus>,
    /// Where its logs are sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<DrainStatus>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// Why not all of the newest document is in effect; one of the warnings too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// The public key for the repository, of an app that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_key: Option<String>,
}

impl ProcessStatus {
    /// What runs it now, if anything does.
    #[must_use]
    pub fn run(&self) -> Option<Run> {
        let task = self.task.clone().filter(|_| self.started_at.is_some());
        self.pid.map(Run::Pid).or(task.map(Run::Task))
    }
}
