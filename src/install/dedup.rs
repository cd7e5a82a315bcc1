//! Finds the files that a tree which was built in has in common with the release before, by comparing both trees.
//!
//! A build must find files that it may write to, so links come last, while the tree is made read-only. A file that
//! becomes a link keeps its bytes, mode and owner. Only its time of change becomes that of the earlier release.
//!
//! Some build products remember the time of their sources (`.pyc`, bootsnap's cache), and some programs rebuild a
//! product that is older than its source. So a file that has not changed since the release before gets its time from
//! there before the build ([`carry_times`]), and a product of the build is shared only if its time is the same too.
//! Files below [`INSTALLED`] are an exception: package managers write them anew in each build, and nobody compares
//! their times. Byte code is shared together with its Python source ([`bytecode`]).

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, linkat, openat, renameat,
    statat, unlinkat, utimensat,
};

use super::bytecode;
use super::content;
use super::hard_links::Earlier;
use super::tree;
use super::tree::{MAX_DEPTH, entries, open_directory};

/// The most time for carrying times; files that are not reached keep their own. A tree in the page cache takes some 10
/// µs a file. On a slow disk the rest is not worth the wait.
const PATIENCE: Duration = Duration::from_secs(3);

/// Byte code of a larger size is not compared.
const LARGEST_BYTECODE: i64 = 16 * 1024 * 1024;

/// Directories that package managers fill.
const INSTALLED: [&CStr; 3] = [c"site-packages", c"dist-packages", c"node_modules"];

/// A directory of the earlier release, and its place beside one of the new tree.
#[derive(Debug)]
pub(super) struct Beside<'a> {
    old: OwnedFd,
    earlier: &'a Earlier,
    roots: &'a Roots,
    is_installed: bool,
    code: Option<Bytecode>,
}

/// The directory of all releases and that of the new one, as programs in it see them, with a slash at the end.
#[derive(Debug)]
pub(super) struct Roots {
    releases: PathBuf,
    new: PathBuf,
}

impl Roots {
    /// Of the release at `directory`, which is new. Blocks.
    pub(super) fn new(directory: &Path) -> Self {
        let real = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let releases = real.parent().unwrap_or(&real);
        Self {
            releases: releases.join(""),
            new: real.join(""),
        }
    }

    fn bytes(&self) -> (&[u8], &[u8]) {
        let (old, new) = (self.releases.as_os_str(), self.new.as_os_str());
        (old.as_bytes(), new.as_bytes())
    }
}

/// A file of the new tree, and the one of the same name in the earlier one.
struct Pair<'a> {
    old: BorrowedFd<'a>,
    new: BorrowedFd<'a>,
    name: &'a CStr,
    before: Stat,
    now: Stat,
}

impl<'a> Beside<'a> {
    /// The top of the earlier release. `None` if it cannot be opened: it may just be removed. Blocks.
    pub(super) fn top(earlier: &'a Earlier, roots: &'a Roots) -> Option<Self> {
        let old = open_directory(CWD, &earlier.directory).ok()?;
        Some(Self {
            old,
            earlier,
            roots,
            is_installed: false,
            code: None,
        })
    }

    /// The directory `name` in it, if there is one.
    pub(super) fn inner(&self, name: &CStr) -> Option<Self> {
        let old = open_directory(self.old.as_fd(), name).ok()?;
        Some(Self {
            old,
            is_installed: self.is_installed || INSTALLED.contains(&name),
            code: None,
            earlier: self.earlier,
            roots: self.roots,
        })
    }

    /// Lists the byte code of the sources of this directory, which `new` holds in the new tree.
    pub(super) fn look_at_bytecode(&mut self, new: OwnedFd) -> io::Result<()> {
        let old = open_directory(self.old.as_fd(), bytecode::DIRECTORY).ok();
        let names = entries(&new)?.into_iter().map(|(name, _)| name);
        self.code = Some(Bytecode {
            names: names.collect(),
            new,
            old,
        });
        Ok(())
    }

    /// Replaces a file of the new tree by a link to the earlier one, if they are the same. Whoever holds the new file
    /// open and writes to it does not write to the earlier one. After an error the release keeps a file of its own.
    pub(super) fn take(&self, new: BorrowedFd<'_>, name: &CStr, now: &Stat) -> bool {
        let taken = || -> io::Result<bool> {
            let Some(pair) = self.earlier.pair(self.old.as_fd(), new, name, now) else {
                return Ok(false);
            };
            let is_candidate = pair.before.st_size == pair.now.st_size
                && (self.is_installed || pair.has_same_time());
            if !is_candidate || !pair.has_same_bytes()? {
                return Ok(false);
            }
            let followers = self.followers(&pair)?;
            if !followers.are_all && !pair.has_same_time() {
                return Ok(false);
            }
            pair.link()?;
            followers.pairs.iter().try_for_each(Pair::link)?;
            Ok(true)
        };
        taken().unwrap_or(false)
    }

    /// The byte code of `source` for which the earlier byte code can stand.
    fn followers(&self, source: &Pair<'_>) -> io::Result<Followers<'_>> {
        let mut followers = Followers {
            pairs: Vec::new(),
            are_all: true,
        };
        let Some((code, stem)) = self.code.as_ref().zip(bytecode::stem(source.name)) else {
            return Ok(followers);
        };
        let told = bytecode::Source {
            time: source.before.st_mtime,
            size: source.before.st_size,
        };
        let from = code.names.range(CString::new(stem)?..);
        let names = from.take_while(|name| name.to_bytes().starts_with(stem));
        for name in names.filter(|name| bytecode::is_of(name, stem)) {
            let now = statat(&code.new, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let new = read(code.new.as_fd(), name, &now)?;
            let old = code.old.as_ref().map(AsFd::as_fd);
            let pair = old.and_then(|old| self.earlier.pair(old, code.new.as_fd(), name, &now));
            let does = |pair: &Pair<'_>| -> io::Result<bool> {
                let old = read(pair.old, name, &pair.before)?;
                Ok(bytecode::does_for(&old, &new, told, self.roots.bytes()))
            };
            match pair {
                Some(pair) if does(&pair)? => followers.pairs.push(pair),
                _ => followers.are_all &= !bytecode::minds_time(&new),
            }
        }
        Ok(followers)
    }
}

/// The byte code of a directory's sources.
#[derive(Debug)]
struct Bytecode {
    names: BTreeSet<CString>,
    new: OwnedFd,
    old: Option<OwnedFd>,
}

struct Followers<'a> {
    pairs: Vec<Pair<'a>>,
    /// Whether these are all that remember the time of the source.
    are_all: bool,
}

/// All of a small regular file.
fn read(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<Vec<u8>> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || stat.st_size > LARGEST_BYTECODE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    let limit = LARGEST_BYTECODE.unsigned_abs();
    open(directory, name)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Earlier {
    /// A file and the earlier one, if that may be shared and has the mode that this one gets when it is read-only.
    fn pair<'a>(
        &self,
        old: BorrowedFd<'a>,
        new: BorrowedFd<'a>,
        name: &'a CStr,
        now: &Stat,
    ) -> Option<Pair<'a>> {
        let before = statat(old, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let is_same = is_file(now)
            && (before.st_dev, before.st_mode) == (now.st_dev, read_only(now.st_mode))
            && before.st_ino != now.st_ino
            && self.may_share(&before);
        let now = *now;
        is_same.then_some(Pair {
            old,
            new,
            name,
            before,
            now,
        })
    }
}

/// Gives files of the fresh checkout at `directory` the time that they have in `earlier`, if their bytes are the same.
/// Blocks.
pub fn carry_times(directory: &Path, earlier: &Earlier) {
    each_pair(directory, earlier, &mut |pair| {
        let is_same = pair.now.st_size == pair.before.st_size && pair.has_same_bytes()?;
        if is_same {
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

/// Visits each pair of regular files whose earlier one may be shared. An error ends the walk and is only logged.
fn each_pair(directory: &Path, earlier: &Earlier, visit: &mut Visit<'_>) {
    let until = Instant::now() + PATIENCE;
    let opened = open_directory(CWD, &earlier.directory)
        .and_then(|old| Ok((old, open_directory(CWD, directory)?)));
    let walked =
        opened.and_then(|(old, new)| walk(old.as_fd(), new.as_fd(), 0, earlier, until, visit));
    if let Err(error) = walked {
        log::debug!("{}: not all is shared: {error}", directory.display());
    }
}

type Visit<'a> = dyn FnMut(&Pair<'_>) -> io::Result<()> + 'a;

fn walk(
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
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
                walk(old.as_fd(), new.as_fd(), depth + 1, earlier, until, visit)?;
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
    fn has_same_bytes(&self) -> io::Result<bool> {
        let (old, new) = (open(self.old, self.name)?, open(self.new, self.name)?);
        content::are_same(&old, &new, self.now.st_size)
    }

    fn has_same_time(&self) -> bool {
        time(&self.before) == time(&self.now)
    }

    /// Replaces the file by the link in one step: whenever this is interrupted, one of the two is there.
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

/// Type and mode that a file of this type and mode gets.
fn read_only(mode: u32) -> u32 {
    mode & !0o7777 | tree::read_only_mode(mode, true).as_raw_mode()
}

fn time(stat: &Stat) -> (i64, u64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

fn open(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?.into())
}
