//! Makes trees read-only that a build may have filled with traps: links, other names of files outside, open files.
//!
//! A directory is taken from its user before its entries are looked at, so that only root can exchange them. Every
//! step goes through the descriptor of the directory that it is in (openat(2)), and no link is followed.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, chmodat, fchmod, fstat,
    futimens, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::bytecode;
use super::content;
use super::dedup::Beside;
use super::tree::{
    Owner, entries, is_read_only, named, open_directory, own, own_at, read_only_mode, refuse_depth,
};

/// Makes `path` and everything below it unwritable, and removes set-id bits. With `owner` (when we are root), it is
/// given to that owner, and the owner's group gets the permissions that the user had: the group is the app's, which so
/// can read and run what its user could before. A file with other names (hard links), which may be outside of the
/// tree, is replaced by a copy, unless it is read-only and the owner's already. Blocks.
///
/// # Errors
/// The first entry that fails; a part of the tree is read-only then. A file of a user other than the tree's (a hard
/// link to `/etc/shadow`, or one that was moved in) is refused: it would become readable.
pub(super) fn make(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    let from = fstat(open_directory(CWD, path)?)?.st_uid;
    make_beside(path, Origin::Closed(from), owner, None)
}

/// Who has written a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This user, and nobody else could enter the tree.
    Closed(u32),
    /// This user, whose programs may still hold files open, or have passed their descriptors on. What they write must
    /// reach neither this release nor a later one that shares its files, so every file is replaced by a copy.
    Open(u32),
}

/// As [`make`], for a tree from `origin`. A file that the release at `beside` has too becomes a link to that one,
/// without a copy. Blocks.
///
/// # Errors
/// As [`make`].
pub(super) fn make_beside(
    path: &Path,
    origin: Origin,
    owner: Option<Owner>,
    beside: Option<Beside<'_>>,
) -> io::Result<()> {
    let top = open_directory(CWD, path)?;
    take_directory(top.as_fd(), owner)?;
    Pass { origin, owner }.all_in(&top, beside, 0)
}

/// One pass through a tree.
struct Pass {
    origin: Origin,
    owner: Option<Owner>,
}

impl Pass {
    /// Makes the entries of a read-only directory read-only. Files come before directories: whether byte code is
    /// shared depends on its source, which is in the directory above.
    fn all_in(
        &self,
        directory: &OwnedFd,
        mut beside: Option<Beside<'_>>,
        depth: usize,
    ) -> io::Result<()> {
        refuse_depth(depth)?;
        let (mut files, mut inner) = (Vec::new(), Vec::new());
        for (name, _) in entries(directory)? {
            let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => inner.push(name),
                _ => files.push((name, stat)),
            }
        }
        if let Some(beside) = &mut beside
            && let Some(name) = inner.iter().find(|name| **name == *bytecode::DIRECTORY)
        {
            beside.look_at_bytecode(self.directory(directory, name)?)?;
        }
        for (name, stat) in &files {
            self.entry(directory.as_fd(), name, stat, beside.as_ref())
                .map_err(|e| named(&e, name))?;
        }
        for name in &inner {
            let opened = self.directory(directory, name);
            let inner = opened.map_err(|e| named(&e, name))?;
            let beside = beside.as_ref().and_then(|beside| beside.inner(name));
            self.all_in(&inner, beside, depth + 1)?;
        }
        Ok(())
    }

    /// Opens a directory and takes it: only root can exchange its entries then.
    fn directory(&self, parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
        let directory = open_directory(parent.as_fd(), name)?;
        take_directory(directory.as_fd(), self.owner)?;
        Ok(directory)
    }

    fn entry(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        beside: Option<&Beside<'_>>,
    ) -> io::Result<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => match self.owner {
                Some(owner) => own_at(directory, name, owner, AtFlags::SYMLINK_NOFOLLOW),
                None => Ok(()),
            },
            FileType::RegularFile => self.file(directory, name, stat, beside),
            // Sockets, FIFOs and devices: nobody needs them in a read-only tree.
            _ => Ok(unlinkat(directory, name, AtFlags::empty())?),
        }
    }

    fn file(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        beside: Option<&Beside<'_>>,
    ) -> io::Result<()> {
        let (Origin::Closed(from) | Origin::Open(from)) = self.origin;
        if self
            .owner
            .is_some_and(|owner| is_foreign(stat, from, owner))
        {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user: a build may leave files of its own only",
            ));
        }
        // A link to a file of an earlier release.
        if self.owner.is_some_and(|owner| is_read_only(stat, owner)) {
            return Ok(());
        }
        if beside.is_some_and(|beside| beside.take(directory, name, stat)) {
            return Ok(());
        }
        if stat.st_nlink > 1 || matches!(self.origin, Origin::Open(_)) {
            unshare(directory, name, stat)?;
        }
        if let Some(owner) = self.owner {
            own_at(directory, name, owner, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let mode = read_only_mode(stat.st_mode, self.owner.is_some());
        Ok(chmodat(directory, name, mode, AtFlags::empty())?)
    }
}

/// Whether a file belongs neither to `from`, the tree's user, nor to `owner` as a read-only one. Root may collect
/// files of any user in its builds.
fn is_foreign(stat: &Stat, from: u32, owner: Owner) -> bool {
    from != 0 && stat.st_uid != from && !is_read_only(stat, owner)
}

fn take_directory(directory: BorrowedFd<'_>, owner: Option<Owner>) -> io::Result<()> {
    let mode = fstat(directory)?.st_mode;
    if let Some(owner) = owner {
        own(directory, owner)?;
    }
    // Its owner can always enter it: a build's `chmod 0` must not keep us out.
    Ok(fchmod(
        directory,
        read_only_mode(mode | 0o500, owner.is_some()),
    )?)
}

/// Replaces a file that has other names, or that somebody may have open, by a copy with the same time of change.
fn unshare(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let copy = c".procserver-copy";
    let from = openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // The entry may have been exchanged before the directory was ours.
    let opened = fstat(&from)?;
    if (opened.st_ino, opened.st_dev) != (stat.st_ino, stat.st_dev) {
        return Err(io::Error::other(
            "a file changed while the tree was made read-only",
        ));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || openat(directory, copy, flags, Mode::from_raw_mode(0o600));
    let (to, writable) = match create() {
        // A daemon that is not root has just taken its own right to write here.
        Err(Errno::ACCESS) => {
            let writable = Writable::make(directory)?;
            (create()?, Some(writable))
        }
        other => (other?, None),
    };
    let (from, to) = (File::from(from), File::from(to));
    let done = content::copy(&from, &to, opened.st_size).and_then(|()| {
        futimens(&to, &last_change(&opened))?;
        Ok(renameat(directory, copy, directory, name)?)
    });
    if done.is_err() {
        let _ = unlinkat(directory, copy, AtFlags::empty());
    }
    drop(writable);
    done
}

fn last_change(stat: &Stat) -> Timestamps {
    let last = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    };
    Timestamps {
        last_access: last,
        last_modification: last,
    }
}

/// A directory that its owner may write to until this is dropped. Root always may.
struct Writable<'a> {
    directory: BorrowedFd<'a>,
    before: Mode,
}

impl<'a> Writable<'a> {
    fn make(directory: BorrowedFd<'a>) -> io::Result<Self> {
        let before = Mode::from_raw_mode(fstat(directory)?.st_mode & 0o777);
        fchmod(directory, before | Mode::RWXU)?;
        Ok(Self { directory, before })
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        // If it fails, the release has a writable directory; removing the tree works with any mode.
        let _ = fchmod(self.directory, self.before);
    }
}

#[cfg(test)]
#[path = "read_only_tests.rs"]
mod tests;
