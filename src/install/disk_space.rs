//! Decides whether the disk has space for a deploy.

use std::io;
use std::path::Path;

use super::record::{Failure, Step};

/// A deploy begins only with this much free, bytes: with less, running apps would soon fail to write their own files.
const FLOOR: u64 = 256 << 20;

/// On a small file system this part of it is enough: one in 20.
const PART: u64 = 20;

/// The failure of `step` if the file system of `path` has less than the floor free. Blocks.
///
/// # Errors
/// As `statvfs(3)`.
pub(super) fn missing(step: Step, path: &Path) -> io::Result<Option<Failure>> {
    let disk = rustix::fs::statvfs(path)?;
    let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    let floor = floor(total);
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Ok((free < floor).then(|| {
        let (path, missing) = (path.display(), floor - free);
        let reason = format!(
            "the disk of {path} has {} MiB free, a deploy needs {} MiB: {} MiB are missing",
            free >> 20,
            mebibytes(floor),
            mebibytes(missing)
        );
        Failure::new(step, reason).hint("free some; a lower keep_releases keeps fewer old releases")
    }))
}

/// Whether the file system of `path` has room for so many bytes more, beside the floor. Blocks.
///
/// # Errors
/// As `statvfs(3)`.
pub fn has_room_for(path: &Path, bytes: u64) -> io::Result<bool> {
    let disk = rustix::fs::statvfs(path)?;
    let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    Ok(free >= floor(total).saturating_add(bytes))
}

/// A file system with less free counts as full; bytes. It need not be 0: a program that failed removes its
/// half-written file.
const REST: u64 = 64 << 10;

/// Whether the file system of a directory has no space or no inode left. Blocks.
pub(super) fn is_full(directory: &Path) -> bool {
    let Ok(disk) = rustix::fs::statvfs(directory) else {
        return false;
    };
    // File systems without counts (devices, /proc) report 0.
    let has_room = disk.f_blocks == 0 || disk.f_bavail * disk.f_frsize >= REST;
    let has_inodes = disk.f_files == 0 || disk.f_favail > 0;
    directory.is_dir() && !(has_room && has_inodes)
}

pub(super) fn floor(total: u64) -> u64 {
    FLOOR.min(total / PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_needs_less_room() {
        assert_eq!(floor(1 << 40), FLOOR);
        assert_eq!(floor(100 << 20), 5 << 20);
        assert_eq!(floor(0), 0);
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error_not_a_full_disk() {
        assert!(missing(Step::Fetch, Path::new("/nonexistent")).is_err());
    }
}
