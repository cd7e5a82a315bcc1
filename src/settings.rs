//! Server settings: flags, environment and `procserver.toml`, as typed and then as true.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::front::front::FrontSettings;
use crate::install::installer::StepTimeouts;

/// Validated settings of the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of the public listeners.
    pub listen: Vec<std::net::SocketAddr>,
    /// One document per app.
    pub config_dir: PathBuf,
    /// Everything that outlives a reboot.
    pub data_dir: PathBuf,
    /// Sockets, FIFOs and identity records.
    pub runtime_dir: PathBuf,
    /// First and last port for processes.
    pub ports: (u16, u16),
    /// Account of apps that name none.
    pub default_user: String,
    /// Environment of all apps.
    pub env: BTreeMap<String, String>,
    /// `user: "root"` is allowed.
    pub allow_root_apps: bool,
    /// Repositories on this machine's own disk are allowed.
    pub allow_file_repos: bool,
    /// Bytes of a log segment.
    pub log_size: u64,
    /// Log segments per stream.
    pub log_files: usize,
    /// Limits of deploy steps.
    pub step_timeouts: StepTimeouts,
    /// The front end's.
    pub front: Arc<FrontSettings>,
}
