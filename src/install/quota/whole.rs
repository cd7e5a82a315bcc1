//! Looks for directories of an application that are not of its project.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, fstat, fstatvfs, statat};

use super::super::tree::{MAX_DEPTH, entries, open_directory};

/// Counts directories at and below `root` of which statfs(2) says another size than `is_own` (blocks, and bytes of a block)
/// allows. What is deeper than any other walk goes is one. Through no link, whatever the application does meanwhile. Blocks.
///
/// # Errors
/// As `openat(2)` of `root`.
pub(super) fn others(root: &Path, is_own: impl Fn(u64, u64) -> bool) -> io::Result<u64> {
    let top = open_directory(CWD, root)?;
    let device = fstat(&top)?.st_dev;
    Ok(below(&top, device, 0, &is_own))
}

fn below(directory: &OwnedFd, device: u64, depth: usize, is_own: &dyn Fn(u64, u64) -> bool) -> u64 {
    if depth > MAX_DEPTH {
        return 1;
    }
    let is_right = fstatvfs(directory).is_ok_and(|found| is_own(found.f_blocks, found.f_frsize));
    let mut others = u64::from(!is_right);
    // What cannot be listed is gone.
    for (name, _) in entries(directory).unwrap_or_default() {
        let Ok(stat) = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && stat.st_dev == device
            && let Ok(inner) = open_directory(directory.as_fd(), &name)
        {
            others += below(&inner, device, depth + 1, is_own);
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_is_looked_at_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("a/b")).unwrap();
        std::fs::create_dir_all(home.path().join("c")).unwrap();
        std::fs::write(home.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/usr", home.path().join("c/link")).unwrap();
        assert_eq!(others(home.path(), |_, _| true).unwrap(), 0);
        assert_eq!(others(home.path(), |_, _| false).unwrap(), 4);
        assert!(others(&home.path().join("file"), |_, _| true).is_err());
    }
}
