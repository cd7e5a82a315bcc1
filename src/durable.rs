//! Files that are never half written: a reader, also one after a power cut, sees the old content or the new.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failpoint;

/// Names of temporary files begin with this; one that is left behind belongs to a daemon that was killed.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Replaces (or makes) the file at `path`: a temporary file beside it is written and synchronised, renamed over it,
/// and the directory synchronised. `mode` is the file's, whatever the umask is. Blocks.
///
/// # Errors
/// The old file is intact then, and the temporary one is gone. Only when the very last step fails (synchronising the
/// directory) the new file may be in place already.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, bytes, mode, File::sync_all)?;
    sync_directory(directory_of(path))
}

/// As [`replace`], but nothing is synchronised: for a directory that a power cut empties anyway. Blocks.
///
/// # Errors
/// The old file is intact then, and the temporary one is gone.
pub fn replace_until_reboot(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, bytes, mode, |_| Ok(()))
}

fn replace_with(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    sync: fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = directory_of(path).join(temporary_name());
    let replaced = write(&temporary, bytes, mode, sync).and_then(|()| {
        failpoint::reach_file("before", path);
        std::fs::rename(&temporary, path)
    });
    if let Err(error) = replaced {
        // Gone already, or as unremovable as it was unwritable: the first error says what is wrong.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    failpoint::reach_file("after", path);
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// Makes renames and removals in `directory` survive a power cut. Blocks.
///
/// # Errors
/// As `open(2)` and `fsync(2)`.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes the temporary files that daemons before this one have left in `directory`. Blocks.
pub fn sweep(directory: &Path) {
    let own = format!("{TEMPORARY_PREFIX}{}-", std::process::id());
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMPORARY_PREFIX)
            && !name.starts_with(&own)
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            log::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

fn temporary_name() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("{TEMPORARY_PREFIX}{}-{count}", std::process::id()))
}

fn write(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    sync: fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    // Another daemon of the same pid may have left one: it is nobody's. `create_new` follows no link.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode & 0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    sync(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn content_and_mode_are_replaced_and_nothing_else_is_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.json");
        replace(&path, b"one", 0o644).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(names(home.path()), ["a.json"]);
    }

    #[test]
    fn a_refusal_leaves_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.json");
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"new", 0o600).is_err());
        assert_eq!(names(home.path()), ["a.json"]);
        assert!(path.is_dir());
        assert!(replace(&home.path().join("none/a.json"), b"new", 0o600).is_err());
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let other = home.path().join("other");
        std::fs::write(&other, "untouched").unwrap();
        let path = home.path().join("link");
        std::os::unix::fs::symlink(&other, &path).unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"untouched");
        assert!(!path.is_symlink());
    }
}
