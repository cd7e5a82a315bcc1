//! The directory of one process: its FIFOs and its identity record.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, chown};
use std::path::Path;

use nix::sys::stat::Mode;

use super::socket::SocketDirectory;
use crate::account::Account;

/// The names of the FIFOs that the log reads.
pub(super) const FIFOS: [&str; 2] = ["stdout", "stderr"];

/// Makes the directory and these FIFOs, where they are missing, also where a file or a link has taken their place. The
/// directory is the daemon's alone; the FIFOs belong to the app's user, so that the app can open `/dev/stdout` anew.
/// Says whether any of them is new, so that nobody reads it yet. Blocks.
///
/// # Errors
/// Whatever the file system says, with the path.
pub(super) fn prepare(
    directory: &Path,
    fifos: &[&str],
    account: Option<&Account>,
) -> io::Result<bool> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| with_path(directory, &e))?;
    let mut is_new = false;
    for fifo in fifos.iter().map(|name| directory.join(name)) {
        is_new |= prepare_fifo(&fifo, account).map_err(|e| with_path(&fifo, &e))?;
    }
    Ok(is_new)
}

fn prepare_fifo(fifo: &Path, account: Option<&Account>) -> io::Result<bool> {
    let make = || nix::unistd::mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR);
    let is_new = match make() {
        Ok(()) => true,
        Err(nix::Error::EEXIST) if is_fifo(fifo) => false,
        Err(nix::Error::EEXIST) => {
            fs::remove_file(fifo)?;
            make()?;
            true
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(account) = account {
        chown(fifo, Some(account.uid), Some(account.gid))?;
    }
    Ok(is_new)
}

/// Removes the directory of a process, and that of its socket.
pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("cannot remove {}: {error}", directory.display());
    }
    if let Some(sockets) = SocketDirectory::of(directory)
        && let Err(error) = sockets.remove()
    {
        log::warn!("cannot remove {}: {error}", sockets.path().display());
    }
}

/// Whether both are there. A process without them would stop as soon as its output is more than a pipe holds.
pub(super) fn has_fifos(directory: &Path) -> bool {
    FIFOS.iter().all(|name| is_fifo(&directory.join(name)))
}

fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_can_be_prepared_again_and_is_private() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("apps/a/web.1-1");
        assert!(prepare(&directory, &FIFOS, None).expect("prepares"));
        assert!(!prepare(&directory, &FIFOS, None).expect("prepares again"));
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("stdout")), 0o600);
    }

    #[test]
    fn what_took_the_place_of_a_fifo_goes_and_what_a_link_led_to_stays() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let target = runtime.path().join("target");
        fs::write(&target, b"untouched").expect("write");
        fs::write(runtime.path().join("stdout"), b"").expect("write");
        std::os::unix::fs::symlink(&target, runtime.path().join("stderr")).expect("link");
        assert!(!has_fifos(runtime.path()));
        assert!(prepare(runtime.path(), &FIFOS, None).expect("prepares"));
        assert!(has_fifos(runtime.path()));
        assert_eq!(fs::read(target).expect("read"), b"untouched");
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let runtime = tempfile::tempdir().expect("tempdir");
        fs::create_dir(runtime.path().join("stdout")).expect("directory");
        let error = prepare(runtime.path(), &FIFOS, None).expect_err("no FIFO");
        assert!(error.to_string().contains("/stdout: "), "{error}");
    }
}
