//! Files that two releases have in common, for a tree that was built in: found by looking at both trees.
//!
//! Commands of an app's user must find files of their own to write to, so links come last, when the tree is sealed.
//! What then is replaced by a link is the same in everything but its inode: bytes, mode, owner, and the time of its
//! last change, which build products (`.pyc`, bootsnap's cache) remember of their sources. So that this time can be
//! the same, a file that has not changed since the release before gets its time from there before the build.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, linkat, openat, renameat,
    statat, unlinkat, utimensat,
};

use super::share::Earlier;
use super::tree::{MAX_DEPTH, entries, open_directory};

/// Looking at both trees takes this long at most: what is not looked at then is not shared. Trees that are in the
/// page cache take some 10 µs a file, on a slow disk that is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is read of a file at once.
const CHUNK: usize = 64 * 1024;

/// A file of the new tree, and the one of the same name in the earlier one.
struct Pair<'a> {
    old: BorrowedFd<'a>,
    new: BorrowedFd<'a>,
    name: &'a CStr,
    before: Stat,
    now: Stat,
}

/// Gives the files of the fresh checkout at `directory` that are as in `earlier` the time they have there. Blocks.
pub fn carry_times(directory: &Path, earlier: &Earlier) {
    each_pair(directory, earlier, &mut |pair| {
        let is_twin = pair.now.st_size == pair.before.st_size && pair.has_same_bytes()?;
        if is_twin {
            let last = Timespec {
                tv_sec: pair.before.st_mtime,
                tv_nsec: i64::try_from(pair.before.st_mtime_nsec).unwrap_or_default(),
            };
            let times = Timestamps {
                last_access: last,
                last_modification: last,
            };
            utimensat(pair.new, pair.name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    });
}

/// Puts links to the files of `earlier` in the place of the same files of the sealed tree at `directory`; answers how
/// many. Blocks.
pub fn unify(directory: &Path, earlier: &Earlier) -> usize {
    let mut shared = 0;
    each_pair(directory, earlier, &mut |pair| {
        if earlier.may_share(&pair.now) && pair.looks_the_same() && pair.has_same_bytes()? {
            pair.link()?;
            shared += 1;
        }
        Ok(())
    });
    shared
}

/// Visits each pair of regular files of which the earlier one is sealed. What fails is left as it is: no release is
/// worse for having a file of its own.
fn each_pair(directory: &Path, earlier: &Earlier, visit: &mut Visit<'_>) {
    let until = Instant::now() + PATIENCE;
    let opened = open_directory(CWD, &earlier.directory)
        .and_then(|old| Ok((old, open_directory(CWD, directory)?)));
    let walked = opened.and_then(|(old, new)| {
        let trees = (old.as_fd(), new.as_fd());
        walk(trees, 0, earlier, until, visit)
    });
    if let Err(error) = walked {
        log::debug!("{}: not all is shared: {error}", directory.display());
    }
}

type Visit<'a> = dyn FnMut(&Pair<'_>) -> io::Result<()> + 'a;

fn walk(
    (old, new): (BorrowedFd<'_>, BorrowedFd<'_>),
    depth: usize,
    earlier: &Earlier,
    until: Instant,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    for (name, _) in entries(new)? {
        if Instant::now() > until {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let Ok(before) = statat(old, &name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let now = statat(new, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
        if kind(&before) == FileType::Directory && kind(&now) == FileType::Directory {
            if depth < MAX_DEPTH {
                let (old, new) = (open_directory(old, &name)?, open_directory(new, &name)?);
                walk((old.as_fd(), new.as_fd()), depth + 1, earlier, until, visit)?;
            }
        } else if kind(&now) == FileType::RegularFile && earlier.may_share(&before) {
            let name = &name;
            visit(&Pair {
                old,
                new,
                name,
                before,
                now,
            })?;
        }
    }
    Ok(())
}

impl Pair<'_> {
    /// All that can be seen of them without reading.
    fn looks_the_same(&self) -> bool {
        let look = |stat: &Stat| {
            let (mode, owner) = (stat.st_mode, (stat.st_uid, stat.st_gid));
            (
                stat.st_dev,
                stat.st_size,
                mode,
                owner,
                stat.st_mtime,
                stat.st_mtime_nsec,
            )
        };
        self.before.st_ino != self.now.st_ino && look(&self.before) == look(&self.now)
    }

    fn has_same_bytes(&self) -> io::Result<bool> {
        let open = |directory| -> io::Result<File> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(openat(directory, self.name, flags, Mode::empty())?.into())
        };
        let (mut old, mut new) = (open(self.old)?, open(self.new)?);
        let (mut left, mut right) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        loop {
            left.clear();
            right.clear();
            Read::by_ref(&mut old)
                .take(CHUNK as u64)
                .read_to_end(&mut left)?;
            Read::by_ref(&mut new)
                .take(CHUNK as u64)
                .read_to_end(&mut right)?;
            if left != right {
                return Ok(false);
            }
            if left.is_empty() {
                return Ok(true);
            }
        }
    }

    /// The link takes the place of the file at once: whenever this is cut short, one of the two is there.
    fn link(&self) -> io::Result<()> {
        let temporary = c".procserver-link";
        linkat(self.old, self.name, self.new, temporary, AtFlags::empty())?;
        let renamed = renameat(self.new, temporary, self.new, self.name);
        if renamed.is_err() {
            let _ = unlinkat(self.new, temporary, AtFlags::empty());
        }
        Ok(renamed?)
    }
}
