//! Directory trees that may be hostile: given to a user, sealed, removed.
//!
//! A build runs as the app's user and may have planted links, hard links and depths; processes of the same user may
//! still be at work in the tree. So every step goes through the descriptor of the directory it is in (`openat(2)`),
//! no link is ever followed, and a directory is taken from the user *before* its entries are looked at: from then on
//! nobody but root can exchange them.

mod remove;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat,
    chownat, fchmod, fchown, fstat, futimens, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::bytecode;
use super::content;
use super::dedup::Beside;

pub use remove::remove;

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

/// Gives `path` and everything below it that belongs to the same user as `path` itself to `owner`; entries of third
/// users stay theirs. `path` comes last: when this was interrupted, it can be repeated. Blocks.
///
/// # Errors
/// The first entry that refuses; the tree is partly given then.
pub fn give(path: &Path, owner: Owner) -> io::Result<()> {
    let from = fstat(open_directory(CWD, path)?)?.st_uid;
    give_from(path, from, owner)
}

/// As [`give`], of what belongs to the user `from`, whoever owns `path` itself. Blocks.
///
/// # Errors
/// As [`give`].
pub fn give_from(path: &Path, from: u32, owner: Owner) -> io::Result<()> {
    let top = open_directory(CWD, path)?;
    walk(&top, 0, &mut |directory, name, _| {
        // What is checked is what is given, even if its user exchanges the entry meanwhile.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = openat(directory, name, flags, Mode::empty())?;
        if fstat(&entry)?.st_uid == from {
            own_at(entry.as_fd(), c"", owner, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    })?;
    own(top.as_fd(), owner)
}

/// Makes everything below (and including) `path` unwritable. With `owner` (when we are root), it is given to that
/// owner first, and the owner's group may do what its owner may: the group is the app's, which so can read and run
/// what only its own user could before. Set-id bits go. A file that has other names (hard links), which may be
/// outside of the tree, is replaced by a copy, unless nothing has to change of it. Blocks.
///
/// # Errors
/// The first entry that refuses; the tree is partly sealed then. A file that belongs to another user than the tree (a
/// hard link to `/etc/shadow`, or one that was moved in) is refused: it would become readable.
pub fn seal(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    let from = fstat(open_directory(CWD, path)?)?.st_uid;
    seal_made(path, Made::By(from), owner)
}

/// Who has made a tree that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    By(u32),
    /// This user, and programs of the user's may hold files of it open, or have sent their descriptors away: what they
    /// write must not be of the release, nor of the next one that shares its files. So every file is a copy that nobody
    /// had open.
    Openly(u32),
}

/// As [`seal`], of a tree that `made` tells of, whoever owns `path` itself. Blocks.
///
/// # Errors
/// As [`seal`].
pub fn seal_made(path: &Path, made: Made, owner: Option<Owner>) -> io::Result<()> {
    seal_beside(path, made, owner, None)
}

/// As [`seal_made`]. Files of which `beside` has twins become links to those: they need no copy then. Blocks.
///
/// # Errors
/// As [`seal`].
pub(super) fn seal_beside(
    path: &Path,
    made: Made,
    owner: Option<Owner>,
    beside: Option<Beside<'_>>,
) -> io::Result<()> {
    let top = open_directory(CWD, path)?;
    seal_directory(top.as_fd(), owner)?;
    Sealing { made, owner }.all_in(&top, beside, 0)
}

/// How a tree is sealed.
struct Sealing {
    made: Made,
    owner: Option<Owner>,
}

impl Sealing {
    /// Seals what is in a directory that is sealed itself. Files come before directories: a source decides for the byte
    /// code in the directory beside it.
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

    /// Opens a directory, which is sealed then: its entries are nobody's to exchange.
    fn directory(&self, parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
        let directory = open_directory(parent.as_fd(), name)?;
        seal_directory(directory.as_fd(), self.owner)?;
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
            // Sockets and FIFOs are of no use in a tree that nobody may write to; devices have no business there.
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
        let (Made::By(from) | Made::Openly(from)) = self.made;
        if self
            .owner
            .is_some_and(|owner| is_foreign(stat, from, owner))
        {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user: a build may leave files of its own only",
            ));
        }
        // It is shared with an earlier release.
        if self.owner.is_some_and(|owner| is_sealed(stat, owner)) {
            return Ok(());
        }
        if beside.is_some_and(|beside| beside.take(directory, name, stat)) {
            return Ok(());
        }
        if stat.st_nlink > 1 || matches!(self.made, Made::Openly(_)) {
            unshare(directory, name, stat)?;
        }
        if let Some(owner) = self.owner {
            own_at(directory, name, owner, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let mode = sealed(stat.st_mode, self.owner.is_some());
        Ok(chmodat(directory, name, mode, AtFlags::empty())?)
    }
}

/// Whether a file is neither of `from`, to whom its tree belongs, nor sealed already. What root builds root may collect.
fn is_foreign(stat: &Stat, from: u32, owner: Owner) -> bool {
    from != 0 && stat.st_uid != from && !is_sealed(stat, owner)
}

/// Whether there is nothing left to do to seal a file for `owner`, who is not the app's user.
pub(super) fn is_sealed(stat: &Stat, owner: Owner) -> bool {
    (stat.st_uid, stat.st_gid) == (owner.uid, owner.gid)
        && stat.st_mode & 0o7777 == sealed(stat.st_mode, true).as_raw_mode()
}

/// Type and mode of a file that was sealed for another owner than the app's user.
pub(super) fn sealed_as(mode: u32) -> u32 {
    mode & !0o7777 | sealed(mode, true).as_raw_mode()
}

/// Permissions without writing and set-id bits; with `group_as_user` the group gets the user's.
fn sealed(mode: u32, group_as_user: bool) -> Mode {
    let mode = mode & 0o555;
    let group = if group_as_user {
        (mode & 0o500) >> 3
    } else {
        0
    };
    Mode::from_raw_mode(mode | group)
}

fn seal_directory(directory: BorrowedFd<'_>, owner: Option<Owner>) -> io::Result<()> {
    let mode = fstat(directory)?.st_mode;
    if let Some(owner) = owner {
        own(directory, owner)?;
    }
    // Who owns a directory can always enter it: a build's `chmod 0` must not keep us from reading on.
    Ok(fchmod(directory, sealed(mode | 0o500, owner.is_some()))?)
}

/// Puts a copy, with the time of the last change, in place of a file that has other names, or that somebody may have open.
fn unshare(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let copy = c".procserver-copy";
    let from = openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // The directory is ours, but its entry may have been exchanged before it was.
    let opened = fstat(&from)?;
    if (opened.st_ino, opened.st_dev) != (stat.st_ino, stat.st_dev) {
        return Err(io::Error::other("a file changed while the tree was sealed"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || openat(directory, copy, flags, Mode::from_raw_mode(0o600));
    let (to, writable) = match create() {
        // Who is not root has closed the directory to itself.
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

/// A directory that its owner may write to for a moment (root always may).
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
        // It is a mode that the directory had; the removal of the tree copes with any.
        let _ = fchmod(self.directory, self.before);
    }
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

fn refuse_depth(depth: usize) -> io::Result<()> {
    match depth > MAX_DEPTH {
        true => Err(io::Error::other(format!(
            "directories are nested more than {MAX_DEPTH} deep"
        ))),
        false => Ok(()),
    }
}

fn named(error: &io::Error, name: &CStr) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.to_string_lossy()))
}

/// All entries at once, so that a directory is not read while it is changed.
pub(super) fn entries(directory: impl AsFd) -> io::Result<Vec<(CString, FileType)>> {
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

pub(super) fn open_directory<P: rustix::path::Arg>(
    parent: BorrowedFd<'_>,
    name: P,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Whether every part of `path` below `root` is a directory, and none a link. Blocks.
pub(super) fn is_directory_below(root: &Path, path: &str) -> bool {
    let mut at = root.to_owned();
    path.split('/').all(|part| {
        at.push(part);
        at.symlink_metadata().is_ok_and(|found| found.is_dir())
    })
}

fn own(file: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(fchown(file, Some(uid), Some(gid))?)
}

fn own_at(directory: BorrowedFd<'_>, name: &CStr, owner: Owner, flags: AtFlags) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(chownat(directory, name, Some(uid), Some(gid), flags)?)
}

/// Makes the directory at `path` if there is none, with exactly this mode and (when we are root) owner. Its parent
/// must be ours. When it belonged to another account before, its content is given to the new one too. Blocks.
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

/// As [`directory`], but what is in it stays whose it is. Blocks.
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
#[path = "tree_tests.rs"]
mod tests;
