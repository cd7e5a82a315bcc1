//! What the API shows of an application (pure).

use std::path::PathBuf;

use serde::Serialize;

use crate::process::exit::ExitRecord;
use crate::process::worker::Phase;

/// State of an app as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AppState {
    /// A deployment is at work.
    Deploying,
    /// All processes that should run are starting or ready.
    Running,
    /// Stopped by request.
    Stopped,
    /// A process keeps crashing.
    Crashlooping,
    /// No deployment has succeeded: there is nothing to run, or what there is has not got ready yet.
    Failed,
}

/// One line of `GET /applications`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The name.
    pub name: String,
    /// The state.
    pub state: AppState,
    /// The release that runs (or would).
    pub release: Option<u64>,
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
    /// Its release.
    pub release: u64,
    /// OS process.
    pub pid: Option<u32>,
    /// PORT.
    pub port: Option<u16>,
    /// SOCKET, where it answers there instead of at its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Spawned.
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
}

/// `GET /applications/A/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The name.
    pub name: String,
    /// The state.
    pub state: AppState,
    /// The release that runs.
    pub release: Option<u64>,
    /// Its commit.
    pub commit: Option<String>,
    /// The deployment at work, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<u64>,
    /// The processes.
    pub processes: Vec<ProcessStatus>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// The public key for the repository, of an app that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_key: Option<String>,
}
