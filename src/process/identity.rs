//! The identity record of a running process, and how a new daemon finds survivors.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Who a process is, written by `procserver exec` just before it becomes the command: `identity.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `web.1`.
    pub id: String,
    /// The release it runs.
    pub release: u64,
    /// The activation it belongs to.
    pub batch: u64,
    /// Process id, also its session and group.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: with the boot id it makes the pid unique for ever.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Its PORT.
    pub port: u16,
    /// SHA-256 of command, environment and directory: another one is another process.
    pub digest: String,
    /// The directory with its FIFOs and this record.
    pub directory: PathBuf,
}

/// The processes of one app that still run, by their records below `runtime`; records of dead ones are removed.
#[must_use]
pub fn survivors(runtime: &Path) -> Vec<Identity> {
    let _ = runtime;
    todo!()
}

/// Kills everything of a survivor that nobody wants, and removes its directory.
pub async fn end(survivor: Identity) {
    let _ = survivor;
    todo!()
}
