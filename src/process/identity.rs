//! [`Identity`]: the record of a running process, by which a later server knows it again.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::exec_spec::{MARKER, Purpose};
use super::procfs;
use super::rlimit_mark::RlimitMark;
use super::users::Users;
use crate::{durable, regular};

/// The record's name in the directory of its process.
pub const FILE: &str = "identity.json";

/// A record is a few hundred bytes.
const SIZE_LIMIT: u64 = 64 * 1024;

/// No app gets as far: a larger number is damage, after which batches could not be counted on.
pub(super) const LAST_BATCH: u64 = u64::MAX / 2;

/// Who a process is, written by `procserver exec` just before it becomes the command: `identity.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `web.1`.
    pub id: String,
    pub release: u64,
    /// The activation it belongs to.
    pub batch: u64,
    /// Process id, also its session and group.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: with the boot id it makes the pid unique for ever.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    pub port: u16,
    /// SHA-256 of command, environment and directory: another one is another process.
    pub digest: String,
    /// The directory with its FIFOs and this record.
    pub directory: PathBuf,
    /// The user that the command runs as; an older server did not write it.
    #[serde(default)]
    pub uid: Option<u32>,
    /// It is outside of the formation ([`super::one_off`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_off: bool,
}

impl Identity {
    /// Whether that very process still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| stat.is_alive())
    }

    /// Whether that very process has ended, and how is for this one to hear: the server before was the same process
    /// and went by execve(2).
    pub(super) fn is_ended_child(&self) -> bool {
        let is_it = |stat: procfs::Stat| {
            !stat.is_alive() && stat.parent == std::process::id() && stat.session == self.pid
        };
        self.stat().is_some_and(is_it)
    }

    /// Whether that process is really one of this instance. A record that was damaged, or is of another pid namespace,
    /// may name anybody.
    pub(super) fn is_of_its_instance(&self, users: &Users) -> bool {
        let instance = self.directory.to_string_lossy();
        let leads = self.stat().is_some_and(|stat| stat.session == self.pid);
        // What root starts may become anybody.
        let is_of_users = self.uid == Some(0) || users.have(self.pid);
        leads
            && is_of_users
            && (Cgroup::of_process(self.pid, &instance).is_some()
                || RlimitMark::marks(self.pid, &instance)
                || procfs::has_variable(self.pid, &format!("{MARKER}={instance}")))
    }

    /// Whose processes may be of it.
    pub(super) fn users(&self) -> Users {
        Users::own().and(self.uid)
    }

    /// The state of that very process, be it a zombie.
    pub(super) fn stat(&self) -> Option<procfs::Stat> {
        let boot_id = procfs::boot_id().ok()?;
        procfs::stat(self.pid)
            .filter(|stat| boot_id == self.boot_id && stat.start_time == self.start_time)
    }

    /// Lets the kernel forget a zombie that an actor of ours left when it panicked. No other process can have its
    /// pid before that; where it is no child of ours, this does nothing.
    pub(super) fn reap(&self) {
        if self.stat().is_some_and(|stat| !stat.is_alive())
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = rustix::process::waitid(WaitId::Pid(pid), options);
        }
    }
}

/// Writes the record of the calling process, which goes on as the user `uid`.
pub(super) fn record_self(purpose: &Purpose, uid: u32) -> io::Result<()> {
    record(purpose, std::process::id(), uid)
}

pub(super) fn record(purpose: &Purpose, pid: u32, uid: u32) -> io::Result<()> {
    let stat = procfs::stat(pid).ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    let identity = Identity {
        id: purpose.id.clone(),
        release: purpose.release,
        batch: purpose.batch,
        pid,
        start_time: stat.start_time,
        boot_id: procfs::boot_id()?,
        port: purpose.port,
        digest: purpose.digest.clone(),
        directory: purpose.directory.clone(),
        uid: Some(uid),
        one_off: purpose.one_off,
    };
    durable::replace_until_reboot(
        &purpose.directory.join(FILE),
        &serde_json::to_vec(&identity)?,
        0o600,
    )
}

/// Removes the record in `directory`. One call, on a file system in memory.
pub(super) fn forget(directory: &Path) {
    // None is as good.
    let _gone = std::fs::remove_file(directory.join(FILE));
}

/// The record in `directory`; `None` when there is none, or it names another directory.
pub(super) fn read(directory: &Path) -> Option<Identity> {
    let text = regular::read(&directory.join(FILE), SIZE_LIMIT).ok()?;
    serde_json::from_slice(&text)
        .ok()
        .filter(|identity: &Identity| {
            identity.directory == directory && identity.batch <= LAST_BATCH
        })
}
