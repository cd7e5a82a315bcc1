//! [`Lock`]: one server per data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::DaemonError;

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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // Only for the message: an unreadable one is an empty one.
                let _length = (&file).take(20).read_to_string(&mut pid);
                return Err(DaemonError::InUse {
                    directory: directory.to_owned(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(e) => return Err(io(e.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
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
}
