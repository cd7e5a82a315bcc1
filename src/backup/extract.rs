//! Unpacks a backup into a directory of the server's own. Every entry is made through the descriptor of its directory,
//! which this server has made just before: no link is followed, and nothing that is there is taken for it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, mkdirat, openat,
    symlinkat,
};

use super::copy::write_sparse;
use super::error::BackupError;
use super::place::{self, Kind, Place};
use super::reader::{self, Contents, Entry};
use crate::install::tree::open_directory;

/// Which entries of a backup are unpacked.
pub type Wanted<'a> = dyn Fn(&[&[u8]]) -> bool + 'a;

/// A directory that is being filled.
struct Open {
    directory: OwnedFd,
    name: Vec<u8>,
    mode: u32,
    mtime: u64,
}

/// Unpacks what is `wanted` into `into`, which is empty, and writes it all to the disk.
///
/// # Errors
/// As [`reader::walk`]; what cannot be made.
pub fn extract(
    input: impl Read,
    into: &Path,
    wanted: &Wanted<'_>,
) -> Result<Contents, BackupError> {
    let top = open_directory(CWD, into).map_err(BackupError::at(into))?;
    let mut open: Vec<Open> = Vec::new();
    let contents = reader::walk(input, |_, entry| {
        let names =
            place::names(&entry.head.path).map_err(|why| reader::refused(&entry.head.path, why))?;
        if !wanted(&names) {
            return Ok(());
        }
        let shown = || into.join(String::from_utf8_lossy(&entry.head.path).into_owned());
        let at = shown();
        make(&top, &mut open, &names, entry).map_err(BackupError::at(at))
    })?;
    leave(&mut open, 0).map_err(BackupError::at(into))?;
    rustix::fs::syncfs(&top).map_err(|e| BackupError::at(into)(e.into()))?;
    Ok(contents)
}

fn make(top: &OwnedFd, open: &mut Vec<Open>, names: &[&[u8]], entry: Entry<'_>) -> io::Result<()> {
    let Some((last, parents)) = names.split_last() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    leave(open, parents.len())?;
    // The reader has seen to the order; this is what keeps the way.
    let is_there = parents.len() == open.len()
        && parents
            .iter()
            .zip(open.iter())
            .all(|(name, is)| *name == is.name);
    if !is_there {
        return Err(io::Error::other("its directory was not made"));
    }
    let parent: BorrowedFd<'_> = open
        .last()
        .map_or(top.as_fd(), |open| open.directory.as_fd());
    let name = CString::new(*last)?;
    // What is the server's own is closed to others, whatever the backup says.
    let mode = match (&entry.place, entry.head.kind) {
        (Place::Storage(_), Kind::Directory) => entry.head.mode & 0o3777,
        (Place::Storage(_), _) => entry.head.mode & 0o777,
        (_, Kind::Directory) => 0o700,
        (_, _) => 0o600,
    };
    match entry.head.kind {
        Kind::Directory => {
            mkdirat(parent, &name, Mode::from_raw_mode(0o700))?;
            let directory = open_directory(parent, &name)?;
            open.push(Open {
                directory,
                name: last.to_vec(),
                mode,
                mtime: entry.head.mtime,
            });
        }
        Kind::Link => symlinkat(CString::new(entry.head.target.clone())?, parent, &name)?,
        Kind::File => {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(parent, &name, flags, Mode::from_raw_mode(0o600))?);
            write_sparse(&mut file, entry.content, entry.head.size)?;
            file.flush()?;
            fchmod(&file, Mode::from_raw_mode(mode))?;
            set_time(&file, entry.head.mtime)?;
        }
    }
    Ok(())
}

/// Leaves directories until there are `depth`: they get their mode and time.
fn leave(open: &mut Vec<Open>, depth: usize) -> io::Result<()> {
    while open.len() > depth {
        let Some(done) = open.pop() else { break };
        fchmod(&done.directory, Mode::from_raw_mode(done.mode))?;
        set_time(&done.directory, done.mtime)?;
    }
    Ok(())
}

fn set_time(file: impl std::os::fd::AsFd, mtime: u64) -> io::Result<()> {
    let omitted = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omitted,
        last_modification: Timespec {
            tv_sec: i64::try_from(mtime).unwrap_or(0),
            tv_nsec: 0,
        },
    };
    Ok(futimens(file, &times)?)
}

/// Counts what a backup takes on a disk: bytes that are no zeros, in blocks, and entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    pub bytes: u64,
    pub entries: u64,
}

impl Volume {
    /// Reads the content of an entry to its end.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn add(&mut self, entry: Entry<'_>) -> io::Result<()> {
        const BLOCK: usize = 4096;
        self.entries += 1;
        let mut buffer = [0; 16 * BLOCK];
        loop {
            let read = entry.content.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            // Pieces of any size: a block may count twice, which is on the safe side.
            let blocks = buffer[..read]
                .chunks(BLOCK)
                .filter(|block| block.iter().any(|byte| *byte != 0));
            self.bytes += blocks.count() as u64 * BLOCK as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::super::manifest::{FORMAT, Manifest};
    use super::super::writer::Writer;
    use super::*;

    #[test]
    fn what_is_the_servers_own_is_closed_and_what_is_an_apps_keeps_its_modes() {
        let manifest = Manifest {
            format: FORMAT,
            procserver: "0.1.0".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            applications: vec![],
            whole: true,
            certificates: vec![],
        };
        let mut writer = Writer::new(Vec::new(), &manifest).unwrap();
        let all = [
            ("server", 0o777, 0o700),
            ("apps", 0o777, 0o700),
            ("apps/a", 0o777, 0o700),
            ("apps/a/files", 0o777, 0o700),
            ("apps/a/files/ssh", 0o777, 0o700),
            ("apps/a/files/storage", 0o700, 0o700),
            ("apps/a/files/storage/open", 0o2775, 0o2775),
        ];
        for (path, mode, _) in all {
            writer.directory(path.as_bytes(), mode, 7).unwrap();
        }
        let file = "apps/a/files/storage/open/file";
        writer
            .file(file.as_bytes(), 0o664, 7, 2, &b"hi"[..])
            .unwrap();
        writer
            .file(b"apps/a/files/storage/last", 0o600, 7, 0, io::empty())
            .unwrap();
        let bytes = writer.finish().unwrap();
        let home = tempfile::tempdir().unwrap();
        extract(&bytes[..], home.path(), &|_| true).unwrap();
        let mode = |path: &str| home.path().join(path).metadata().unwrap().mode() & 0o7777;
        for (path, _, kept) in all {
            assert_eq!(mode(path), kept, "{path}");
        }
        assert_eq!(mode(file), 0o664);
        assert_eq!(home.path().join(file).metadata().unwrap().mtime(), 7);
        // Nothing that is there is taken for what is to be made.
        assert!(extract(&bytes[..], home.path(), &|_| true).is_err());
        let other = tempfile::tempdir().unwrap();
        let only_app = |names: &[&[u8]]| names[0] == b"apps";
        extract(&bytes[..], other.path(), &only_app).unwrap();
        assert!(!other.path().join("server").exists() && other.path().join(file).exists());
    }
}
