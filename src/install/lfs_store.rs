//! The files that git-lfs has downloaded into a mirror, and how they get into a checkout.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::lfs_pointer::Pointer;
use super::limits::StepLimits;
use super::tree;

/// Opens a regular file of the checkout. `None`: it is something else, or behind a link.
pub(super) fn open(root: &Path, path: &str, write: bool) -> io::Result<Option<File>> {
    if path
        .rsplit_once('/')
        .is_some_and(|(parent, _)| !tree::is_directory_below(root, parent))
    {
        return Ok(None);
    }
    let path = root.join(path);
    if !path.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    options.read(true).write(write);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map(Some)
}

/// The directory where git-lfs keeps what it has downloaded.
pub(super) fn store(mirror: &Path) -> PathBuf {
    mirror.join("lfs").join("objects")
}

fn object(store: &Path, id: &str) -> PathBuf {
    store.join(&id[..2]).join(&id[2..4]).join(id)
}

/// Writes the object over its pointer. `false`: there is no object, or a damaged one. Then the pointer is restored,
/// and a damaged object is removed, so that it is fetched again.
pub(super) fn replace(
    store: &Path,
    root: &Path,
    path: &str,
    pointer: &Pointer,
    limits: &StepLimits,
) -> io::Result<bool> {
    let source = object(store, &pointer.id);
    if !source.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return Ok(false);
    }
    let Some(mut file) = open(root, path, true)? else {
        return Ok(true);
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    file.rewind()?;
    file.set_len(0)?;
    let (size, id) = copy(&mut File::open(&source)?, &mut file, limits)?;
    if (size, id.as_str()) == (pointer.size, pointer.id.as_str()) {
        return Ok(true);
    }
    std::fs::remove_file(&source)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&text)?;
    Ok(false)
}

/// Copies, and returns the size and the SHA-256. A file may be large: it ends between two pieces when a limit is
/// reached.
fn copy(from: &mut File, to: &mut File, limits: &StepLimits) -> io::Result<(u64, String)> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        limits.check()?;
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
        size += length as u64;
    }
    let id = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((size, id))
}

/// Removes from the mirror the objects that the new release does not need, and incomplete downloads. Blocks.
///
/// # Errors
/// The first file that cannot be removed.
pub(super) fn prune(mirror: &Path, needed: &BTreeSet<String>) -> io::Result<()> {
    let store = store(mirror);
    if let Some(home) = store.parent() {
        for left in ["tmp", "incomplete"] {
            tree::remove(&home.join(left))?;
        }
    }
    for first in std::fs::read_dir(&store).into_iter().flatten() {
        for second in std::fs::read_dir(first?.path()).into_iter().flatten() {
            for entry in std::fs::read_dir(second?.path()).into_iter().flatten() {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_str().is_none_or(|name| !needed.contains(name)) {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;

    #[test]
    fn an_object_takes_its_pointers_place_and_a_damaged_one_does_not() {
        let home = tempfile::tempdir().unwrap();
        let (store, root) = (home.path().join("store"), home.path().join("root"));
        let id = Sha256::digest(b"content")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let pointer = Pointer { id, size: 7 };
        let source = object(&store, &pointer.id);
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("a"), "pointer").unwrap();
        let read = || std::fs::read_to_string(root.join("a")).unwrap();
        let (cancel, cancelled) = watch::channel(false);
        let limits = StepLimits::new(Duration::from_secs(60), cancelled);
        let put = || replace(&store, &root, "a", &pointer, &limits);
        assert!(!put().unwrap());
        std::fs::write(&source, "content and more").unwrap();
        assert!(!put().unwrap());
        assert_eq!((read().as_str(), source.exists()), ("pointer", false));
        std::fs::write(&source, "content").unwrap();
        assert!(put().unwrap());
        assert_eq!(read(), "content");
        cancel.send_replace(true);
        assert!(put().is_err(), "it goes on after it was cancelled");
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let (kept, gone) = ("aabb".repeat(16), "aacc".repeat(16));
        for id in [&kept, &gone] {
            let path = object(&store(home.path()), id);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let half = home.path().join("lfs/incomplete/half");
        std::fs::create_dir_all(half.parent().unwrap()).unwrap();
        std::fs::write(&half, "x").unwrap();
        prune(home.path(), &BTreeSet::from([kept.clone()])).unwrap();
        let exists = |id: &str| object(&store(home.path()), id).exists();
        assert!(exists(&kept) && !exists(&gone) && !half.exists());
        prune(&home.path().join("none"), &BTreeSet::new()).unwrap();
    }
}
