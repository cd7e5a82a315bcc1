//! [`Lock`]: one server per data directory, and per runtime directory.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::DaemonError;
use crate::regular;

/// How long a killed server may still hold the lock: until the kernel has taken it apart, and until each child that it
/// was starting, which inherits the lock, reaches its execve(2).
const DYING: Duration = Duration::from_secs(2);

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Held while this server lives; the kernel releases it however the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _directory: File,
}

impl Lock {
    /// Locks `directory`, itself and not a file in it that somebody may clear away, and writes this process' id into
    /// it.
    pub(super) fn acquire(directory: &Path) -> Result<Self, DaemonError> {
        let io = |source| DaemonError::Io {
            path: directory.to_owned(),
            source,
        };
        let opened = File::open(directory).map_err(io)?;
        let (note, deadline) = (directory.join("lock"), Instant::now() + DYING);
        while !try_lock(&opened).map_err(io)? {
            if Instant::now() >= deadline {
                return Err(DaemonError::InUse {
                    directory: directory.to_owned(),
                    pid: holder(&note),
                });
            }
            std::thread::sleep(PAUSE);
        }
        if let Err(e) = sign(&note) {
            log::warn!("{}: {e}", note.display());
        }
        Ok(Self { _directory: opened })
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes this process' id. Over the old one, which takes no room.
fn sign(note: &Path) -> io::Result<()> {
    let pid = format!("{}\n", std::process::id());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let mut file = regular::open_with(note, &mut options, OFlags::NOFOLLOW)?;
    // An older server has made it readable for all.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(pid.as_bytes())?;
    file.set_len(pid.len() as u64)
}

/// The id that the other wrote. Only for the message.
fn holder(note: &Path) -> String {
    let mut pid = String::new();
    let read = regular::open(note).and_then(|file| file.take(20).read_to_string(&mut pid));
    match (read, pid.trim()) {
        (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_told_the_pid_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::acquire(directory.path()).unwrap();
        match Lock::acquire(directory.path()) {
            Err(DaemonError::InUse { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(first);
        Lock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn what_a_killed_server_holds_for_a_moment_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let inherited = File::open(directory.path()).unwrap();
        assert!(try_lock(&inherited).unwrap());
        let child = std::thread::spawn(move || {
            std::thread::sleep(20 * PAUSE);
            drop(inherited);
        });
        Lock::acquire(directory.path()).unwrap();
        child.join().unwrap();
    }

    #[test]
    fn a_pid_that_cannot_be_written_or_is_cleared_away_lets_no_second_server_in() {
        let directory = tempfile::tempdir().unwrap();
        let note = directory.path().join("lock");
        std::fs::create_dir(&note).unwrap();
        let first = Lock::acquire(directory.path()).unwrap();
        std::fs::remove_dir(&note).unwrap();
        let second = Lock::acquire(directory.path()).unwrap_err().to_string();
        assert!(second.contains("pid unknown"), "{second}");
        drop(first);
    }
}
