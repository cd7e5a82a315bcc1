//! Removes trees that may be hostile. Somebody else may be removing them too: entries that are gone are no error.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, RenameFlags, chmodat, fchmod, fstat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::{MAX_DEPTH, entries, open_directory};

/// Removes the tree at `path`, if there is one, also a read-only one, and of any depth. Blocks.
///
/// # Errors
/// The first entry that cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let name = CString::new(name.as_encoded_bytes())?;
    let parent = match open_directory(CWD, parent) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    remove_at(&parent, &name)
}

/// Removes the tree `name` in `parent`, as [`remove`] does. Blocks.
///
/// # Errors
/// As [`remove`].
pub(in crate::install) fn remove_at(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            return unlink(parent, name, AtFlags::empty());
        }
        Ok(_) => {}
    }
    let Some(top) = open_to_empty(parent.as_fd(), name)? else {
        return Ok(());
    };
    // Directories that are too deep are moved up to the top, so that one round may not be enough.
    let mut lifted = Lifted::default();
    while lifted.empty(&top, &top, 0)? {}
    unlink(parent, name, AtFlags::REMOVEDIR)
}

/// What was too deep and is at the top now: how many names are taken there, so that none is tried twice.
#[derive(Default)]
struct Lifted(u64);

impl Lifted {
    /// Removes the entries of `directory`. `true`: some were moved to `top`.
    fn empty(&mut self, top: &OwnedFd, directory: &OwnedFd, depth: usize) -> io::Result<bool> {
        let mut moved = false;
        for (name, kind) in entries(directory)? {
            if kind != FileType::Directory {
                match unlinkat(directory, &name, AtFlags::empty()) {
                    // The file system may not report the type.
                    Err(Errno::ISDIR) => {}
                    Err(Errno::NOENT) | Ok(()) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if depth == MAX_DEPTH {
                self.lift(top, directory, &name)?;
                moved = true;
                continue;
            }
            let Some(inner) = open_to_empty(directory.as_fd(), &name)? else {
                continue;
            };
            moved |= self.empty(top, &inner, depth + 1)?;
            drop(inner);
            unlink(directory, &name, AtFlags::REMOVEDIR)?;
        }
        Ok(moved)
    }

    /// Moves the directory `name` up to `top`, under a name that is free there.
    fn lift(&mut self, top: &OwnedFd, directory: &OwnedFd, name: &CStr) -> io::Result<()> {
        // Renaming a directory rewrites its `..`, so it must be writable.
        drop(open_to_empty(directory.as_fd(), name)?);
        loop {
            let new = CString::new(format!(".lifted-{}", self.0))?;
            self.0 += 1;
            match renameat_with(directory, name, top, &new, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) | Ok(()) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn unlink(directory: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<()> {
    match unlinkat(directory, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Opens a directory that is to be emptied, `None` if it has gone; when it is closed to us although it is ours, its
/// mode is changed.
fn open_to_empty(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<OwnedFd>> {
    let directory = match open_directory(parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            // Only its owner gets here, never root; a link in its place would need the same owner.
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open_directory(parent, name)?
        }
        other => other?,
    };
    let mode = Mode::from_raw_mode(fstat(&directory)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        fchmod(&directory, Mode::RWXU)?;
    }
    Ok(Some(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_deep_is_moved_up_under_a_name_that_is_tried_once() {
        let home = tempfile::tempdir().unwrap();
        let deepest = (0..MAX_DEPTH).fold(home.path().join("1"), |path, _| path.join("d"));
        std::fs::create_dir_all(&deepest).unwrap();
        for n in 0..300 {
            std::fs::create_dir(deepest.join(n.to_string())).unwrap();
        }
        std::fs::create_dir(home.path().join("1/.lifted-7")).unwrap();
        let parent = open_directory(CWD, home.path()).unwrap();
        let top = open_directory(parent.as_fd(), c"1").unwrap();
        let mut lifted = Lifted::default();
        while lifted.empty(&top, &top, 0).unwrap() {}
        // One more when the name that is taken was still there.
        assert!((300..=301).contains(&lifted.0), "{}", lifted.0);
        assert!(entries(&top).unwrap().is_empty());
    }

    #[test]
    fn several_may_remove_the_same_tree_at_once() {
        for _ in 0..20 {
            let home = tempfile::tempdir().unwrap();
            let top = home.path().join("1");
            for n in 0..50 {
                let inner = top.join(format!("{n}/a/b"));
                std::fs::create_dir_all(&inner).unwrap();
                std::fs::write(inner.join("file"), "").unwrap();
            }
            let removed = std::thread::scope(|scope| {
                let at_work = [(); 3].map(|()| scope.spawn(|| remove(&top)));
                at_work.map(|thread| thread.join().unwrap())
            });
            assert!(removed.iter().all(Result::is_ok), "{removed:?}");
            assert!(!top.exists());
        }
    }
}
