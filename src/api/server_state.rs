//! [`ServerStatus`]: what `GET /-/status` answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::app::status::AppState;

/// How the server is. Sizes are bytes.
#[derive(Debug, Default, Serialize)]
pub(super) struct ServerStatus {
    /// `ok`, `warning` or `problem`.
    pub(super) state: &'static str,
    pub(super) version: &'static str,
    pub(super) pid: u32,
    pub(super) started_at: Option<Timestamp>,
    pub(super) uptime_seconds: u64,
    pub(super) listen: Vec<String>,
    pub(super) tls_listen: Vec<String>,
    pub(super) socket: PathBuf,
    pub(super) ports: PortCount,
    pub(super) connections: usize,
    pub(super) descriptors: Descriptors,
    /// Resident memory of the server itself.
    pub(super) memory_bytes: u64,
    pub(super) applications: BTreeMap<String, App>,
    pub(super) disk: Disk,
    pub(super) certificates: Vec<Certificate>,
    /// Spans of requests, where the settings name a collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traces: Option<Traces>,
    /// What keeps something from working, or soon will.
    pub(super) problems: Vec<String>,
    /// What a person should look at some time.
    pub(super) warnings: Vec<String>,
}

/// The ports that processes are given.
#[derive(Debug, Default, Serialize)]
pub(super) struct PortCount {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) used: usize,
    pub(super) free: usize,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Descriptors {
    pub(super) open: usize,
    /// `null`: there is none.
    pub(super) limit: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct App {
    pub(super) state: AppState,
    /// The last deployment, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed_deployment: Option<u64>,
    /// What it has on disk; it may have been measured a while ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk_bytes: Option<u64>,
}

/// The file system of the data directory.
#[derive(Debug, Default, Serialize)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) total_bytes: u64,
    /// For users other than root.
    pub(super) free_bytes: u64,
    /// 0 where the file system counts none, as btrfs.
    pub(super) total_inodes: u64,
    pub(super) free_inodes: u64,
}

/// What became of spans since the server's start.
#[derive(Debug, Serialize)]
pub(super) struct Traces {
    pub(super) exported: u64,
    /// They found no room, or no collector has taken them.
    pub(super) dropped: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Certificate {
    pub(super) names: Vec<String>,
    pub(super) state: String,
    /// Whole days until it ends; negative since it has.
    pub(super) days_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}
