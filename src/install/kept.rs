//! Takes directories over from the release before, such as `node_modules`: the cache is the release itself, so that it
//! takes no space of its own and goes with it.
//!
//! The app's user owns what is put into its checkout, and may change it while it installs. Files that nobody will write
//! to are hard links to those of the release, which belong to root and which nobody may write to; all others are copies
//! (FICLONE where the file system has it). Every step goes through the descriptor of the directory that it is in, and no
//! link is followed: processes of the app may write to the checkout meanwhile.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use memchr::memmem;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fchmod, futimens,
    ioctl_ficlone, linkat, mkdirat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;

use super::built::Inventory;
use super::content;
use super::hard_links::Earlier;
use super::tree::{Owner, below, entries, open_directory, own, own_at, refuse_depth};

/// Larger files do not name the directory that they are in as text.
const LARGEST_TEXT: i64 = 1 << 20;

/// How directories are taken over.
pub(super) struct Takeover<'a> {
    /// The release that has them.
    pub(super) from: &'a Path,
    /// The new checkout.
    pub(super) to: &'a Path,
    /// Who builds in it, when we are root.
    pub(super) owner: Option<Owner>,
}

impl Takeover<'_> {
    /// Takes over the directory at `path` in both. With `linked`, nobody will write to its files, which become links where that is
    /// safe. `false`: the checkout has something of that name. Blocks.
    ///
    /// # Errors
    /// The disk is full, the release has no such directory.
    pub(super) fn take(&self, path: &Path, linked: Option<&Earlier>) -> io::Result<bool> {
        let old = below(self.from, path)?;
        let Some(new) = self.make(path)? else {
            return Ok(false);
        };
        let pass = Pass {
            owner: self.owner,
            linked,
            from: self.from.as_os_str().as_bytes(),
            to: self.to.as_os_str().as_bytes(),
        };
        pass.all(&old, &new, 0)?;
        Ok(true)
    }

    /// Makes the directory at `path` in the checkout, and those above it.
    fn make(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let mut at = open_directory(CWD, self.to)?;
        let parts: Vec<&OsStr> = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .map(Component::as_os_str)
            .collect();
        for (index, part) in parts.iter().enumerate() {
            let is_last = index + 1 == parts.len();
            match mkdirat(&at, *part, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    at = open_directory(at.as_fd(), *part)?;
                    self.owner.map_or(Ok(()), |owner| own(at.as_fd(), owner))?;
                }
                Err(Errno::EXIST) if is_last => return Ok(None),
                Err(Errno::EXIST) => at = open_directory(at.as_fd(), *part)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(at))
    }
}

/// Counts what is in the directory at `path` of a release; `None`: there is no such directory. Blocks.
#[must_use]
pub(super) fn inventory(release: &Path, path: &Path) -> Option<Inventory> {
    let mut counted = Inventory::default();
    count(&below(release, path).ok()?, 0, &mut counted).ok()?;
    Some(counted)
}

fn count(directory: &OwnedFd, depth: usize, counted: &mut Inventory) -> io::Result<()> {
    refuse_depth(depth)?;
    for (name, _) in entries(directory)? {
        let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        counted.entries += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => count(
                &open_directory(directory.as_fd(), &name)?,
                depth + 1,
                counted,
            )?,
            FileType::RegularFile => {
                counted.bytes += u64::try_from(stat.st_size).unwrap_or_default();
            }
            _ => {}
        }
    }
    Ok(())
}

struct Pass<'a> {
    owner: Option<Owner>,
    linked: Option<&'a Earlier>,
    /// The release and the checkout, as text: scripts name the directory that they are in.
    from: &'a [u8],
    to: &'a [u8],
}

impl Pass<'_> {
    fn all(&self, old: &OwnedFd, new: &OwnedFd, depth: usize) -> io::Result<()> {
        refuse_depth(depth)?;
        for (name, _) in entries(old)? {
            let stat = statat(old, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let inner = open_directory(old.as_fd(), &name)?;
                    mkdirat(new, &name, Mode::RWXU)?;
                    let made = open_directory(new.as_fd(), &name)?;
                    self.all(&inner, &made, depth + 1)?;
                    self.finish(made.as_fd(), stat.st_mode | 0o700)?;
                }
                FileType::RegularFile => self.file(old.as_fd(), new.as_fd(), &name, &stat)?,
                FileType::Symlink => self.link(old.as_fd(), new.as_fd(), &name)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn link(&self, old: BorrowedFd<'_>, new: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let target = readlinkat(old, name, Vec::new())?.into_bytes();
        let target = match target.starts_with(self.from) {
            true => CString::new(self.moved(&target))?,
            false => CString::new(target)?,
        };
        symlinkat(target, new, name)?;
        self.owner.map_or(Ok(()), |owner| {
            own_at(new, name, owner, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    fn file(
        &self,
        old: BorrowedFd<'_>,
        new: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> io::Result<()> {
        if self.linked.is_some_and(|earlier| earlier.may_share(stat)) {
            match linkat(old, name, new, name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                // The file has as many names as it may have.
                Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = File::from(openat(old, name, flags, Mode::empty())?);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(openat(new, name, flags, Mode::from_raw_mode(0o600))?);
        match self.renamed(&from, stat)? {
            Some(text) => to.write_all(&text)?,
            None if ioctl_ficlone(&to, &from).is_ok() => {}
            None => content::copy(&from, &to, stat.st_size)?,
        }
        self.finish(to.as_fd(), stat.st_mode | 0o600)?;
        let last = Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        };
        let times = Timestamps {
            last_access: last,
            last_modification: last,
        };
        Ok(futimens(&to, &times)?)
    }

    /// The text of a file that names the release, with the new one's name; `None`: it does not.
    fn renamed(&self, file: &File, stat: &Stat) -> io::Result<Option<Vec<u8>>> {
        if stat.st_size > LARGEST_TEXT || stat.st_size < self.from.len() as i64 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_TEXT.unsigned_abs())
            .read_to_end(&mut bytes)?;
        let is_text = memchr::memchr(0, &bytes).is_none();
        let names_it = memmem::find(&bytes, self.from).is_some();
        Ok((is_text && names_it).then(|| self.moved(&bytes)))
    }

    /// `text` with the new directory in place of the old one; `…/releases/12` is not `…/releases/1`.
    fn moved(&self, text: &[u8]) -> Vec<u8> {
        let (mut moved, mut rest) = (Vec::with_capacity(text.len()), text);
        while let Some(at) = memmem::find(rest, self.from) {
            let (before, after) = (&rest[..at], &rest[at + self.from.len()..]);
            moved.extend_from_slice(before);
            let is_whole = !after.first().is_some_and(u8::is_ascii_digit);
            moved.extend_from_slice(if is_whole { self.to } else { self.from });
            rest = after;
        }
        moved.extend_from_slice(rest);
        moved
    }

    fn finish(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        self.owner.map_or(Ok(()), |owner| own(file, owner))?;
        Ok(fchmod(file, Mode::from_raw_mode(mode & 0o777))?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn release(home: &Path) {
        let kept = home.join("1/vendor/kept");
        std::fs::create_dir_all(kept.join("inner")).unwrap();
        let own = format!("#!{0}/1/vendor/x and {0}/12\n", home.display());
        std::fs::write(kept.join("script"), own).unwrap();
        std::fs::write(kept.join("inner/file"), "x").unwrap();
        std::fs::set_permissions(kept.join("script"), std::fs::Permissions::from_mode(0o555))
            .unwrap();
        std::fs::set_permissions(
            kept.join("inner/file"),
            std::fs::Permissions::from_mode(0o444),
        )
        .unwrap();
        std::os::unix::fs::symlink(home.join("1/vendor"), kept.join("absolute")).unwrap();
        std::os::unix::fs::symlink("inner/file", kept.join("relative")).unwrap();
        std::fs::create_dir(home.join("2")).unwrap();
    }

    #[test]
    fn a_directory_is_taken_over_as_it_was_with_its_new_name_in_scripts() {
        let home = tempfile::tempdir().unwrap();
        release(home.path());
        let (from, to) = (home.path().join("1"), home.path().join("2"));
        let takeover = Takeover {
            from: &from,
            to: &to,
            owner: None,
        };
        assert!(takeover.take(Path::new("vendor/kept"), None).unwrap());
        assert_eq!(
            inventory(&from, Path::new("vendor/kept")).map(|i| i.entries),
            Some(5)
        );
        assert_eq!(
            inventory(&to, Path::new("vendor/kept")).map(|i| i.entries),
            Some(5)
        );
        let taken = to.join("vendor/kept");
        let script = std::fs::read_to_string(taken.join("script")).unwrap();
        assert_eq!(
            script,
            format!("#!{0}/2/vendor/x and {0}/12\n", home.path().display())
        );
        let about = taken.join("inner/file").metadata().unwrap();
        let before = from.join("vendor/kept/inner/file").metadata().unwrap();
        assert_eq!(about.mode() & 0o777, 0o644);
        assert_eq!(
            (about.mtime(), about.mtime_nsec()),
            (before.mtime(), before.mtime_nsec())
        );
        assert_ne!(about.ino(), before.ino());
        assert_eq!(
            std::fs::read_link(taken.join("absolute")).unwrap(),
            to.join("vendor")
        );
        assert_eq!(
            std::fs::read_link(taken.join("relative")).unwrap(),
            Path::new("inner/file")
        );
        assert!(
            !takeover.take(Path::new("vendor/kept"), None).unwrap(),
            "it is there now"
        );
    }

    #[test]
    fn no_link_is_followed_on_either_side() {
        let home = tempfile::tempdir().unwrap();
        release(home.path());
        let (from, to) = (home.path().join("1"), home.path().join("2"));
        std::os::unix::fs::symlink("/etc", from.join("etc")).unwrap();
        std::os::unix::fs::symlink(home.path(), to.join("vendor")).unwrap();
        let takeover = Takeover {
            from: &from,
            to: &to,
            owner: None,
        };
        assert!(takeover.take(Path::new("etc"), None).is_err());
        assert!(takeover.take(Path::new("vendor/kept"), None).is_err());
        assert!(!home.path().join("kept").exists());
        assert_eq!(inventory(&from, Path::new("etc")), None);
    }
}
