//! The runtime directory of the previous server. If the settings name another one now, processes that still run are
//! recorded only there, and nobody else would find them.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::process::survivors;
use crate::process::users::Users;
use crate::settings::Settings;
use crate::{durable, regular};

/// In the data directory: the path of the runtime directory.
const FILE: &str = "runtime_dir";

/// As long as a path can be.
const LONGEST: u64 = 4096;

/// Ends the processes recorded in the previous runtime directory, if that was another one, and notes the present one.
/// Blocks.
pub(super) fn end(settings: &Settings) {
    let note = settings.data_dir.join(FILE);
    let present = settings.runtime_dir.as_os_str().as_bytes();
    let former = regular::read(&note, LONGEST).ok();
    if former.as_deref() == Some(present) {
        return;
    }
    if let Some(former) = former.map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes))) {
        end_all(settings, &former);
    }
    if let Err(e) = durable::replace(&note, present, 0o600) {
        log::warn!("{}: {e}", note.display());
    }
}

fn end_all(settings: &Settings, former: &Path) {
    let apps = former.join("apps");
    // Anybody may own the old path by now.
    if !former.is_absolute() || !is_own(former) || !is_own(&apps) {
        return;
    }
    // A server with another data directory may use it now.
    let Ok(unused) = std::fs::File::open(former) else {
        return;
    };
    if flock(&unused, FlockOperation::NonBlockingLockExclusive).is_err() {
        log::warn!(
            "{}, the runtime directory of before, is in use by another server",
            former.display()
        );
        return;
    }
    let entries = std::fs::read_dir(&apps).into_iter().flatten().flatten();
    let names = entries.filter_map(|e| AppName::parse(&e.file_name().to_string_lossy()).ok());
    for name in names {
        let dirs = AppDirs::new(&settings.data_dir, former, &name);
        if !dirs.root().is_dir() || !is_own(dirs.runtime()) {
            continue;
        }
        if !survivors::instances(dirs.runtime()).is_empty() {
            log::warn!(
                "{name}: the runtime directory was {} before: what runs of it there is ended",
                former.display()
            );
        }
        survivors::end_all(dirs.runtime(), &Users::of_app(&dirs));
        match std::fs::remove_dir(dirs.runtime()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {e}", dirs.runtime().display());
            }
            _ => {}
        }
    }
}

/// Whether the daemon owns the directory and nobody else may write to it.
fn is_own(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir()
            && found.uid() == nix::unistd::geteuid().as_raw()
            && found.mode() & 0o022 == 0
    })
}
