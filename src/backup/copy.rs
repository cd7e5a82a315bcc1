//! Copies the storage of an application, in passes: the first while its processes run, the last while they are paused, when
//! little is left to copy. The tree is hostile: every step goes through the descriptor of a directory, and no link is
//! followed.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat,
    futimens, mkdirat, openat, readlinkat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::manifest::Copied;
use super::place::MAX_DEPTH;
use crate::install::tree::{entries, open_directory};

/// How long a page of a file that is mapped may be written to without another time of change: the kernel writes it out
/// after 30 s (`dirty_expire_centisecs`), and seconds pass until then.
pub const BLUR: Duration = Duration::from_secs(90);

/// What is read at once, in bytes.
const PIECE: usize = 1 << 18;

/// One pass.
pub struct Pass<'a> {
    /// Files that were changed since then (seconds of the wall clock) are copied though time and size are the same.
    pub since: i64,
    /// Called before each entry; an error ends the pass.
    pub check: &'a mut dyn FnMut() -> io::Result<()>,
    /// What was left out.
    pub told: &'a mut Copied,
    /// How often a file was copied in this pass.
    pub copied: u64,
}

impl Pass<'_> {
    /// Makes `to` what `from` is. Files that another user made keep no owner: at the end all is the application's.
    ///
    /// # Errors
    /// The first entry that cannot be copied; one that goes meanwhile is none.
    pub fn run(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
        self.directory(from, to, 0)
    }

    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> io::Result<()> {
        // Beneath `apps/NAME/files/storage`.
        if depth + 5 > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "directories nest more than {MAX_DEPTH} deep"
            )));
        }
        let present = entries(from)?;
        let names: HashSet<&CStr> = present.iter().map(|(name, _)| name.as_c_str()).collect();
        for (name, _) in entries(to)? {
            if !names.contains(name.as_c_str()) {
                remove(to, &name)?;
            }
        }
        for (name, _) in present {
            (self.check)()?;
            match self.entry(from, to, &name, depth) {
                // It went after the directory was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => remove(to, &name)?,
                Err(e) => {
                    return Err(io::Error::new(
                        e.kind(),
                        format!("{}: {e}", name.to_string_lossy()),
                    ));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> io::Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let there = statat(to, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let there = match there {
            Some(other) if FileType::from_raw_mode(other.st_mode) == kind => Some(other),
            Some(_) => {
                remove(to, name)?;
                None
            }
            None => None,
        };
        match kind {
            FileType::Directory => {
                if there.is_none() {
                    mkdirat(to, name, Mode::from_raw_mode(0o700))?;
                }
                let (inner, copy) = (
                    open_directory(from.as_fd(), name)?,
                    open_directory(to.as_fd(), name)?,
                );
                self.directory(&inner, &copy, depth + 1)?;
                // The set-group-ID bit of a directory gives files its group; other such bits give rights.
                let stat = fstat(&inner)?;
                fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o3777))?;
                set_time(&copy, &stat)
            }
            FileType::RegularFile => {
                let same =
                    there.is_some_and(|there| is_same(&stat, &there) && stat.st_ctime < self.since);
                if same {
                    return Ok(());
                }
                if there.is_some() {
                    unlinkat(to, name, AtFlags::empty())?;
                }
                self.copied += 1;
                if stat.st_mode & 0o6000 != 0 {
                    self.told.note(format!(
                        "{}: its set-id bit is left out",
                        name.to_string_lossy()
                    ));
                }
                copy_file(from.as_fd(), to.as_fd(), name)
            }
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new())?;
                if there.is_some() {
                    unlinkat(to, name, AtFlags::empty())?;
                }
                Ok(symlinkat(&target, to, name)?)
            }
            _ => {
                self.told.note(format!(
                    "{}: a socket, a pipe or a device, which is left out",
                    name.to_string_lossy()
                ));
                Ok(())
            }
        }
    }
}

/// Whether a copy is one of what is there now, as far as size and time tell.
fn is_same(stat: &Stat, copy: &Stat) -> bool {
    (stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
        == (copy.st_size, copy.st_mtime, copy.st_mtime_nsec)
}

fn set_time(file: impl AsFd, stat: &Stat) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    Ok(futimens(file, &times)?)
}

/// Copies a regular file: as a clone where the file system has these, else what is no hole. The copy has the time that
/// the file had before.
pub fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let source = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::NotFound.into());
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = File::from(openat(to, name, flags, Mode::from_raw_mode(0o600))?);
    if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
        copy_data(&File::from(source), &copy)?;
    }
    fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    set_time(&copy, &stat)
}

/// Copies what is no hole (lseek(2), SEEK_DATA), and makes it as long.
fn copy_data(mut source: &File, copy: &File) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    loop {
        match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
            Ok(begin) => at = begin,
            // A hole up to its end.
            Err(Errno::NXIO) => break,
            // A file system without holes.
            Err(_) => {
                source.seek(SeekFrom::Start(at))?;
            }
        }
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        copy.write_all_at(&buffer[..read], at)?;
        at += read as u64;
    }
    copy.set_len(source.metadata()?.len())
}

/// Writes `content` to `file` and makes holes of blocks of zeros, `size` bytes in all.
///
/// # Errors
/// As `write(2)`.
pub fn write_sparse(file: &mut File, content: &mut dyn Read, size: u64) -> io::Result<()> {
    const BLOCK: usize = 4096;
    let mut buffer = vec![0; PIECE];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match content.read(&mut buffer[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        if filled == 0 {
            return file.set_len(size);
        }
        for block in buffer[..filled].chunks(BLOCK) {
            match block.iter().all(|byte| *byte == 0) {
                true => {
                    file.seek(SeekFrom::Current(block.len() as i64))?;
                }
                false => file.write_all(block)?,
            }
        }
    }
}

/// Removes an entry of a copy, with all that is in it.
fn remove(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let directory = open_directory(parent.as_fd(), name)?;
    let inner: Vec<(CString, FileType)> = entries(&directory)?;
    for (name, _) in inner {
        remove(&directory, &name)?;
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    use rustix::fs::CWD;

    use super::*;

    fn pass(from: &Path, to: &Path, since: i64) -> (u64, Copied) {
        let (from, to) = (
            open_directory(CWD, from).unwrap(),
            open_directory(CWD, to).unwrap(),
        );
        let mut told = Copied::default();
        let mut pass = Pass {
            since,
            check: &mut || Ok(()),
            told: &mut told,
            copied: 0,
        };
        pass.run(&from, &to).unwrap();
        (pass.copied, told)
    }

    #[test]
    fn a_second_pass_copies_what_has_changed_and_removes_what_has_gone() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::create_dir_all(from.join("in/deep")).unwrap();
        std::fs::create_dir(&to).unwrap();
        for name in ["a", "in/b", "in/deep/c", "gone", "becomes"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        symlink("/etc/passwd", from.join("link")).unwrap();
        std::fs::set_permissions(from.join("a"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        let (copied, told) = pass(&from, &to, i64::MAX);
        assert_eq!(copied, 5);
        assert!(told.notes[0].contains("set-id"), "{told:?}");
        assert_eq!(
            std::fs::metadata(to.join("a")).unwrap().mode() & 0o7777,
            0o751
        );
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        // Nothing has changed since then.
        assert_eq!(pass(&from, &to, i64::MAX).0, 0);
        std::fs::write(from.join("in/b"), "other").unwrap();
        std::fs::remove_file(from.join("gone")).unwrap();
        std::fs::remove_file(from.join("becomes")).unwrap();
        std::fs::create_dir(from.join("becomes")).unwrap();
        std::fs::remove_dir_all(from.join("in/deep")).unwrap();
        assert_eq!(pass(&from, &to, i64::MAX).0, 1);
        assert_eq!(std::fs::read(to.join("in/b")).unwrap(), b"other");
        assert!(
            !to.join("gone").exists()
                && !to.join("in/deep").exists()
                && to.join("becomes").is_dir()
        );
        // Of the same size and time, but changed lately: a mapped page may be newer than its time.
        assert_eq!(pass(&from, &to, 0).0, 2);
    }

    #[test]
    fn holes_stay_holes_and_what_is_no_file_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"end", 50 << 20).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let (_, told) = pass(&from, &to, 0);
        assert!(told.notes[0].starts_with("fifo: "), "{told:?}");
        let copy = std::fs::metadata(to.join("sparse")).unwrap();
        assert_eq!(copy.len(), (50 << 20) + 3);
        assert!(copy.blocks() * 512 < 1 << 20, "{} blocks", copy.blocks());
        let mut restored = File::create(home.path().join("restored")).unwrap();
        let mut content = File::open(to.join("sparse")).unwrap();
        write_sparse(&mut restored, &mut content, copy.len()).unwrap();
        let restored = std::fs::metadata(home.path().join("restored")).unwrap();
        assert_eq!(restored.len(), copy.len());
        assert!(restored.blocks() * 512 < 1 << 20);
    }
}
