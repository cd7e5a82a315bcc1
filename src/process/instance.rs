//! The directory of one process: its FIFOs and its identity record.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, chown};
use std::path::Path;

use nix::sys::stat::Mode;

use crate::app::account::Account;

/// The names of the FIFOs.
pub(super) const FIFOS: [&str; 2] = ["stdout", "stderr"];

/// Makes the directory and the FIFOs, where they are missing. The directory is the daemon's alone; the FIFOs belong
/// to the app's user, so that the app can open `/dev/stdout` anew. Blocks.
///
/// # Errors
/// Whatever the file system says, with the path.
pub(super) fn prepare(directory: &Path, account: Option<&Account>) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| with_path(directory, &e))?;
    FIFOS
        .iter()
        .map(|name| directory.join(name))
        .try_for_each(|fifo| prepare_fifo(&fifo, account).map_err(|e| with_path(&fifo, &e)))
}

fn prepare_fifo(fifo: &Path, account: Option<&Account>) -> io::Result<()> {
    match nix::unistd::mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) => {}
        Err(nix::Error::EEXIST) if fs::symlink_metadata(fifo)?.file_type().is_fifo() => {}
        Err(error) => return Err(error.into()),
    }
    match account {
        Some(account) => chown(fifo, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
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
        for _ in 0..2 {
            prepare(&directory, None).expect("prepares");
        }
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("stdout")), 0o600);
    }

    #[test]
    fn what_is_no_fifo_is_refused_with_its_path() {
        let runtime = tempfile::tempdir().expect("tempdir");
        fs::write(runtime.path().join("stdout"), b"").expect("write");
        let error = prepare(runtime.path(), None).expect_err("no FIFO");
        assert!(error.to_string().contains("/stdout: "), "{error}");
    }
}
