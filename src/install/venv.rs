//! The Python environment of a release: a directory of its own, to which `.venv` of the release is a link.
//!
//! Scripts of an environment name the directory that they are in, so an environment can be taken over only where it
//! is. Releases with the same packages share one: it takes no time to make, and no space, of which the thousands of
//! directories of Django alone would take a seventh of an environment in each release. It is as read-only as a release,
//! and lives as long as a record of one names it. Blocks.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, symlinkat};

use super::tree::{self, Owner, own_at};
use crate::account::Account;
use crate::app_dirs::AppDirs;

/// The link in the release.
pub(super) const NAME: &str = ".venv";

/// Makes the empty environment `id`, which belongs to the app's user until it is handed over.
pub(super) fn make(dirs: &AppDirs, id: u64, account: Option<&Account>) -> io::Result<()> {
    let owner = account.map(|a| Owner {
        uid: a.uid,
        gid: a.gid,
    });
    tree::directory(&dirs.venvs(), 0o711, None)?;
    tree::remove(&dirs.venv(id))?;
    tree::directory(&dirs.venv(id), 0o700, owner)
}

/// Makes `.venv` of the application at `dir` in a checkout a link to the environment `id`.
pub(super) fn link(
    dirs: &AppDirs,
    id: u64,
    checkout: &Path,
    dir: &Path,
    account: Option<&Account>,
) -> io::Result<()> {
    let top = tree::below(checkout, dir)?;
    symlinkat(dirs.venv(id).as_path(), &top, NAME)?;
    match account {
        Some(a) => own_at(
            top.as_fd(),
            c".venv",
            Owner {
                uid: a.uid,
                gid: a.gid,
            },
            AtFlags::SYMLINK_NOFOLLOW,
        ),
        None => Ok(()),
    }
}

/// Those on disk, by number.
pub(super) fn list(dirs: &AppDirs) -> Vec<u64> {
    let entries = std::fs::read_dir(dirs.venvs())
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
