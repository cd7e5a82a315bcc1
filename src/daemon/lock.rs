//! [`Lock`]: one server per data directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::DaemonError;

/// How long a server that was killed may still hold it: until the kernel has taken it apart, and until each child that it
/// was starting, which has inherited it, has come to its execve(2).
const DYING: Duration = Duration::from_secs(2);

/// How soon that is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// Held while this server lives; the kernel releases it however the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `directory` and writes this process' id into the lock file.
    pub(super) fn acquire(directory: &Path) -> Result<Self, DaemonError> {
        let path = directory.join("lock");
        let io = |source| DaemonError::Io {
            path: path.clone(),
            source,
        };
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = open.map_err(io)?;
        let deadline = Instant::now() + DYING;
        while !try_lock(&file).map_err(io)? {
            if Instant::now() >= deadline {
                return Err(DaemonError::InUse {
                    directory: directory.to_owned(),
                    pid: holder(&file),
                });
            }
            std::thread::sleep(PAUSE);
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The id that the other wrote. Only for the message: an unreadable one is an empty one.
fn holder(file: &File) -> String {
    let mut pid = String::new();
    let _length = file.take(20).read_to_string(&mut pid);
    pid.trim().to_owned()
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
        let inherited = File::create(directory.path().join("lock")).unwrap();
        assert!(try_lock(&inherited).unwrap());
        let child = std::thread::spawn(move || {
            std::thread::sleep(20 * PAUSE);
            drop(inherited);
        });
        Lock::acquire(directory.path()).unwrap();
        child.join().unwrap();
    }
}
