//! Whether an application is deployed for the first time: then `scripts.postdeploy` of its `app.json` runs.
//!
//! A mark says so, from the first deploy that began to the first that made a release. An application whose storage was
//! there before (a restored one, one of an older server) gets none: its data is there.

use std::io;

use super::release;
use crate::app_dirs::AppDirs;
use crate::durable;

/// Notes that the first deploy begins, where it does. Its directories are there. Blocks.
///
/// # Errors
/// As `read(2)` and [`durable::replace`].
pub(super) fn note(dirs: &AppDirs) -> io::Result<()> {
    let is_new = !dirs.first_deploy().exists()
        && release::list(dirs).is_empty()
        && std::fs::read_dir(dirs.storage())?.next().is_none();
    match is_new {
        true => durable::replace(&dirs.first_deploy(), b"", 0o600),
        false => Ok(()),
    }
}

/// Whether no release was made yet. Blocks.
pub fn is_due(dirs: &AppDirs) -> bool {
    dirs.first_deploy().is_file()
}

/// Notes that a release is there. Blocks.
///
/// # Errors
/// As `unlink(2)`.
pub fn done(dirs: &AppDirs) -> io::Result<()> {
    match std::fs::remove_file(dirs.first_deploy()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
