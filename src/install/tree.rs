//! Directory trees that may be hostile: walked, given to a user, removed.
//!
//! A build runs as the app's user and may have planted links, hard links and deep directories, and processes of that
//! user may still write to the tree. So every step goes through the descriptor of the directory that it is in
//! (openat(2)), and no link is followed.

mod remove;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fchmod,
    fchown, fstat, mkdirat, openat, openat2, statat,
};
use rustix::io::Errno;

pub use remove::remove;
pub(super) use remove::remove_at;

/// A tree that nests deeper is refused: each level costs a descriptor while it is walked.
pub(super) const MAX_DEPTH: usize = 128;

/// To whom a tree belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// Root, with the group of an app: the owner of a release.
    #[must_use]
    pub fn root_of(gid: u32) -> Self {
        Self { uid: 0, gid }
    }
}

/// Gives `path`, and everything below it that belongs to the same user, to `owner`. Entries of third users stay
/// theirs. `path` comes last, so that an interrupted call can be repeated. Blocks.
///
/// # Errors
/// The first entry that fails; a part of the tree is given then.
pub fn give(path: &Path, owner: Owner) -> io::Result<()> {
    let from = fstat(open_directory(CWD, path)?)?.st_uid;
    give_from(path, from, owner)
}

/// As [`give`], for what belongs to the user `from`, whoever owns `path` itself. Blocks.
///
/// # Errors
/// As [`give`].
pub fn give_from(path: &Path, from: u32, owner: Owner) -> io::Result<()> {
    let top = open_directory(CWD, path)?;
    walk(&top, 0, &mut |directory, name, _| {
        // The descriptor makes sure that the entry which is checked is also given, even if its user exchanges it.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = openat(directory, name, flags, Mode::empty())?;
        if fstat(&entry)?.st_uid == from {
            own_at(entry.as_fd(), c"", owner, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    })?;
    own(top.as_fd(), owner)
}

/// Whether a file of the app's user's is already as [`super::read_only`] leaves it for `owner`.
pub(super) fn is_read_only(stat: &Stat, owner: Owner) -> bool {
    (stat.st_uid, stat.st_gid) == (owner.uid, owner.gid)
        && stat.st_mode & 0o7777 == read_only_mode(stat.st_mode, true).as_raw_mode()
}

/// Permissions without writing and set-id bits; with `group_as_user` the group gets the user's.
pub(super) fn read_only_mode(mode: u32, group_as_user: bool) -> Mode {
    let mode = mode & 0o555;
    let group = if group_as_user {
        (mode & 0o500) >> 3
    } else {
        0
    };
    Mode::from_raw_mode(mode | group)
}

type Visit<'a> = dyn FnMut(BorrowedFd<'_>, &CStr, &Stat) -> io::Result<()> + 'a;

/// Visits every entry below `directory`, a directory before what is in it.
fn walk(directory: &OwnedFd, depth: usize, visit: &mut Visit<'_>) -> io::Result<()> {
    refuse_depth(depth)?;
    for (name, _) in entries(directory)? {
        let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        visit(directory.as_fd(), &name, &stat).map_err(|e| named(&e, &name))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let inner = open_directory(directory.as_fd(), &name)?;
            walk(&inner, depth + 1, visit)?;
        }
    }
    Ok(())
}

pub(super) fn refuse_depth(depth: usize) -> io::Result<()> {
    match depth > MAX_DEPTH {
        true => Err(io::Error::other(format!(
            "directories are nested more than {MAX_DEPTH} deep"
        ))),
        false => Ok(()),
    }
}

pub(super) fn named(error: &io::Error, name: &CStr) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.to_string_lossy()))
}

/// All entries at once, so that a directory is not read while it is changed.
pub fn entries(directory: impl AsFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

pub fn open_directory<P: rustix::path::Arg>(
    parent: BorrowedFd<'_>,
    name: P,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Opens the directory at `path` below `root`, through no link.
pub(super) fn below(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let top = open_directory(CWD, root)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(top, path, flags, Mode::empty(), way)?)
}

/// Whether every part of `path` below `root` is a directory, and none a link. Blocks.
pub(super) fn is_directory_below(root: &Path, path: &str) -> bool {
    let mut at = root.to_owned();
    path.split('/').all(|part| {
        at.push(part);
        at.symlink_metadata().is_ok_and(|found| found.is_dir())
    })
}

pub(super) fn own(file: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(fchown(file, Some(uid), Some(gid))?)
}

pub(super) fn own_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    owner: Owner,
    flags: AtFlags,
) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(chownat(directory, name, Some(uid), Some(gid), flags)?)
}

/// Makes the directory at `path` if there is none, with exactly this mode and (when we are root) owner. Its parent
/// must be ours. If it belonged to another account, its content is given to the new one too. Blocks.
///
/// # Errors
/// As `mkdir(2)`; when something else is in its place.
pub fn directory(path: &Path, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
        Err(error) if error != Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let directory = open_directory(CWD, path)?;
    let stat = fstat(&directory)?;
    if let Some(owner) = owner.filter(|o| (o.uid, o.gid) != (stat.st_uid, stat.st_gid)) {
        give(path, owner)?;
    }
    if stat.st_mode & 0o7777 != mode {
        fchmod(&directory, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// As [`directory`], but the content keeps its owners. Blocks.
///
/// # Errors
/// As [`directory`].
pub(super) fn directory_of(path: &Path, mode: u32, owner: Owner) -> io::Result<()> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
        Err(error) if error != Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let directory = open_directory(CWD, path)?;
    own(directory.as_fd(), owner)?;
    Ok(fchmod(&directory, Mode::from_raw_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::test_support::is_root;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path)
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Somebody who is neither root nor a real user.
    const SOMEBODY: Owner = Owner {
        uid: 54_321,
        gid: 54_322,
    };

    #[test]
    fn a_directory_that_its_owner_closed_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("1");
        std::fs::create_dir_all(top.join("closed/inner")).unwrap();
        set_mode(&top.join("closed"), 0);
        remove(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn a_directory_is_made_with_its_mode_and_changes_hands() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("storage");
        directory(&path, 0o700, None).unwrap();
        std::fs::write(path.join("kept"), "x").unwrap();
        directory(&path, 0o711, None).unwrap();
        assert_eq!(mode(&path), 0o711);
        if is_root("a directory changes hands") {
            directory(&path, 0o700, Some(SOMEBODY)).unwrap();
            assert_eq!(
                std::fs::metadata(path.join("kept")).unwrap().uid(),
                SOMEBODY.uid
            );
        }
        std::fs::write(home.path().join("file"), "x").unwrap();
        assert!(directory(&home.path().join("file"), 0o700, None).is_err());
    }

    #[test]
    fn what_belongs_to_third_users_is_not_given_away() {
        if !is_root("what belongs to third users is not given away") {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("storage");
        directory(&path, 0o700, Some(SOMEBODY)).unwrap();
        std::fs::write(path.join("of-root"), "x").unwrap();
        std::fs::write(path.join("own"), "x").unwrap();
        std::os::unix::fs::lchown(path.join("own"), Some(SOMEBODY.uid), Some(SOMEBODY.gid))
            .unwrap();
        let another = Owner {
            uid: 54_323,
            gid: 54_323,
        };
        directory(&path, 0o700, Some(another)).unwrap();
        let uid = |name: &str| std::fs::metadata(path.join(name)).unwrap().uid();
        assert_eq!(
            (uid("of-root"), uid("own"), uid("")),
            (0, another.uid, another.uid)
        );
    }

    #[test]
    fn a_link_on_the_way_is_no_directory() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", home.path().join("link")).unwrap();
        assert!(is_directory_below(home.path(), "a/b"));
        for other in ["link", "link/b", "none", "a/none"] {
            assert!(!is_directory_below(home.path(), other), "{other}");
        }
    }
}
