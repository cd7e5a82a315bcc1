//! The server's directories: who may pass through them, and who may open them.

use std::path::{Path, PathBuf};

use super::{DaemonError, io_error};
use crate::settings::Settings;

/// Apps' users pass through the data and runtime directories, but only root reads the documents.
pub(super) fn make(settings: &Settings) -> Result<(), DaemonError> {
    let data = &settings.data_dir;
    let runtime = &settings.runtime_dir;
    let all = [
        (data.clone(), 0o711),
        (data.join("apps"), 0o711),
        (runtime.clone(), 0o711),
        (runtime.join("apps"), 0o711),
        (settings.config_dir.clone(), 0o700),
    ];
    for (path, mode) in &all {
        make_directory(path, *mode).map_err(|e| io_error(path, e))?;
    }
    for (path, mode) in &all {
        if *mode == 0o711 {
            close(path).map_err(|e| io_error(path, e))?;
        }
    }
    Ok(())
}

/// Of `directory` and those above it, the ones that others may not pass through.
pub(super) fn impassable(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let real = directory.canonicalize();
    let real = real.unwrap_or_else(|_| directory.to_owned());
    let lets_nobody_pass = |path: &&Path| {
        let mode = path
            .metadata()
            .map(|metadata| metadata.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o001 == 0)
    };
    let closed = real.ancestors().filter(lets_nobody_pass);
    closed.map(Path::to_owned).collect()
}

pub(super) fn warn_of_impassable(directory: &Path) {
    log::warn!(
        "{0}: the users of applications cannot pass through it, so their deploys fail unless they are in its group: \
         chmod o+x {0}",
        directory.display()
    );
}

/// Takes from others what an older server, or who made the directory, left them: who can open it can lock it, and no
/// server would start again. That they pass through stays as it is.
fn close(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let found = std::fs::metadata(path)?;
    let mode = found.permissions().mode() & 0o7777;
    let is_own = found.uid() == nix::unistd::geteuid().as_raw() && mode & 0o1000 == 0;
    if mode & 0o066 == 0 {
        return Ok(());
    }
    if !is_own {
        log::warn!(
            "{} is open to other users, who can so keep the server from starting: give it a directory of its own",
            path.display()
        );
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & !0o066))
}

pub(super) fn make_directory(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn directories_that_others_cannot_pass_through_are_found_on_the_whole_way() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("closed/data");
        std::fs::create_dir_all(&inner).unwrap();
        for (path, mode) in [
            (top.path(), 0o711),
            (inner.parent().unwrap(), 0o750),
            (&inner, 0o755),
        ] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let closed = inner.parent().unwrap().canonicalize().unwrap();
        assert!(impassable(&inner).contains(&closed));
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o711)).unwrap();
        assert!(!impassable(&inner).contains(&closed));
    }
}
