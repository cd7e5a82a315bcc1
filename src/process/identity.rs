//! The identity record of a running process, and how a new daemon finds survivors.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use super::running::Running;
use super::spawn::MARKER;
use super::{instance, procfs, stop};

/// The record's name in the directory of its process.
pub const FILE: &str = "identity.json";

/// A record is a few hundred bytes.
const SIZE_LIMIT: u64 = 64 * 1024;

/// No app gets as far: a larger number is damage, after which batches could not be counted on.
const LAST_BATCH: u64 = u64::MAX / 2;

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

/// What a process is started for: the part of its [`Identity`] that is known before it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// [`Identity::id`].
    pub id: String,
    /// [`Identity::release`].
    pub release: u64,
    /// [`Identity::batch`].
    pub batch: u64,
    /// [`Identity::port`].
    pub port: u16,
    /// [`Identity::digest`].
    pub digest: String,
    /// [`Identity::directory`].
    pub directory: PathBuf,
}

impl Identity {
    /// Whether that very process still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| stat.is_alive())
    }

    /// The state of that very process, be it a zombie.
    pub(super) fn stat(&self) -> Option<procfs::Stat> {
        let boot_id = procfs::boot_id().ok()?;
        procfs::stat(self.pid)
            .filter(|stat| boot_id == self.boot_id && stat.start_time == self.start_time)
    }

    /// Lets the kernel forget a zombie that an actor of ours left when it panicked. No other process can have its
    /// pid before that; where it is no child of ours, this does nothing.
    fn reap(&self) {
        if self.stat().is_some_and(|stat| !stat.is_alive())
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = rustix::process::waitid(WaitId::Pid(pid), options);
        }
    }
}

/// Writes the record of the calling process.
pub(super) fn record_self(purpose: &Purpose) -> io::Result<()> {
    let pid = std::process::id();
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
    };
    // The runtime directory is a tmpfs that a crash of the machine empties: no fsync needed, only all or nothing.
    let part = purpose.directory.join(".identity.part");
    File::create(&part)?.write_all(&serde_json::to_vec(&identity)?)?;
    fs::rename(part, purpose.directory.join(FILE))
}

/// The processes of one app that still run, by their records below `runtime`; records of dead ones are removed, and
/// with them whatever lived on of what they had started. Blocks.
#[must_use]
pub fn survivors(runtime: &Path) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir(runtime) else {
        return Vec::new();
    };
    let directories = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path());
    let mut found: Vec<Identity> = directories.filter_map(|d| survivor(&d)).collect();
    found.sort_by(|a, b| (a.batch, &a.id).cmp(&(b.batch, &b.id)));
    found
}

/// The process of one directory, if it still runs and can be taken over; else whatever it had started is ended and the directory removed.
/// Blocks.
#[must_use]
pub fn survivor(directory: &Path) -> Option<Identity> {
    let identity = read(directory);
    match identity {
        Some(identity) if identity.is_alive() && instance::has_fifos(directory) => Some(identity),
        dead => {
            if directory.exists() {
                bury(directory);
            }
            if let Some(identity) = dead {
                identity.reap();
            }
            None
        }
    }
}

/// Kills the processes of instances below `runtime` (`RUNTIME/apps`) of which there is no record any more: somebody removed
/// it, and nobody will ever find them otherwise. To be called before anything is started there. Blocks.
pub fn end_unrecorded(runtime: &Path) {
    let marked = procfs::pids().filter_map(|pid| procfs::variable(pid, MARKER));
    let lost: BTreeSet<PathBuf> = marked
        .map(PathBuf::from)
        .filter(|directory| directory.starts_with(runtime) && !directory.join(FILE).exists())
        .collect();
    for directory in lost {
        log::warn!(
            "{} was removed while its processes ran: they are ended",
            directory.display()
        );
        bury(&directory);
    }
}

/// Kills everything of a survivor that nobody wants, and removes its directory.
pub async fn end(survivor: Identity) {
    if let Ok(running) = Running::of_survivor(&survivor) {
        stop::kill(&running).await;
        // It may be a child of ours, left by an actor that panicked.
        running.reap();
    }
    let burial = tokio::task::spawn_blocking(move || bury(&survivor.directory));
    if let Err(error) = burial.await {
        log::error!("removing what a process left: {error}");
    }
}

/// The record in `directory`; `None` when there is none, or it names another directory.
fn read(directory: &Path) -> Option<Identity> {
    let mut text = Vec::new();
    File::open(directory.join(FILE))
        .ok()?
        .take(SIZE_LIMIT)
        .read_to_end(&mut text)
        .ok()?;
    serde_json::from_slice(&text)
        .ok()
        .filter(|identity: &Identity| {
            identity.directory == directory && identity.batch <= LAST_BATCH
        })
}

/// Kills what a dead process left running and removes its directory.
fn bury(directory: &Path) {
    stop::kill_remains(&directory.to_string_lossy());
    remove(directory);
}

/// Removes the directory of a process.
pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("cannot remove {}: {error}", directory.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(directory: &Path) -> Purpose {
        instance::prepare(directory, None).expect("directory");
        Purpose {
            id: "web.1".into(),
            release: 3,
            batch: 4,
            port: 8001,
            digest: "d".into(),
            directory: directory.to_owned(),
        }
    }

    fn rewrite(directory: &Path, change: impl FnOnce(&mut Identity)) {
        let mut identity = read(directory).expect("record");
        change(&mut identity);
        fs::write(
            directory.join(FILE),
            serde_json::to_vec(&identity).expect("JSON"),
        )
        .expect("write");
    }

    #[test]
    fn a_running_process_survives() {
        let runtime = tempfile::tempdir().expect("tempdir");
        record_self(&purpose(&runtime.path().join("web.1-4"))).expect("record");
        let found = survivors(runtime.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pid, std::process::id());
        assert_eq!((found[0].release, found[0].port), (3, 8001));
    }

    #[test]
    fn another_start_time_or_boot_is_another_process_and_its_record_goes() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let (late, reboot) = (runtime.path().join("a"), runtime.path().join("b"));
        record_self(&purpose(&late)).expect("record");
        rewrite(&late, |identity| identity.start_time += 1);
        record_self(&purpose(&reboot)).expect("record");
        rewrite(&reboot, |identity| identity.boot_id = "another".into());
        assert_eq!(survivors(runtime.path()), Vec::new());
        assert!(!late.exists() && !reboot.exists());
    }

    #[test]
    fn who_is_alive_but_has_lost_its_output_cannot_be_taken_over() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        record_self(&purpose(&directory)).expect("record");
        fs::remove_file(directory.join("stderr")).expect("remove");
        assert_eq!(survivors(runtime.path()), Vec::new());
    }

    #[test]
    fn a_batch_that_could_not_be_counted_on_from_is_damage() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        record_self(&purpose(&directory)).expect("record");
        rewrite(&directory, |identity| identity.batch = u64::MAX);
        assert_eq!(survivors(runtime.path()), Vec::new());
    }

    #[test]
    fn a_truncated_record_and_a_missing_directory_are_nobody() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        fs::create_dir(&directory).expect("directory");
        fs::write(directory.join(FILE), b"{\"id\":\"we").expect("write");
        assert_eq!(survivors(runtime.path()), Vec::new());
        assert_eq!(survivors(&runtime.path().join("none")), Vec::new());
    }
}
