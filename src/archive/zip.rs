//! Reads a zip, with what Info-ZIP and libraries write into it of modes and links.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use ::zip::ZipArchive;
use ::zip::result::ZipError;

use super::error::{ArchiveError, TooMuch};
use super::sink::Sink;
use super::tree::{self, Tree};

/// The directory at the end of a zip, which the crate reads into memory, is shorter: 200,000 entries fit.
const LONGEST_DIRECTORY: u64 = 24 << 20;

/// A target is a path.
const LONGEST_TARGET: u64 = 4096;

/// Type bits of a mode (inode(7)).
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DIRECTORY: u32 = 0o040_000;

pub(super) fn walk(
    file: &mut File,
    tree: &mut Tree,
    sink: &mut dyn Sink,
) -> Result<(), ArchiveError> {
    let left = Rc::new(Cell::new(LONGEST_DIRECTORY));
    let bounded = Bounded {
        inner: BufReader::new(file),
        left: Rc::clone(&left),
    };
    let mut archive = ZipArchive::new(bounded).map_err(damaged)?;
    // Content is bounded by the tree.
    left.set(u64::MAX);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name_raw().to_vec();
        let Some(path) = tree::path(&name)? else {
            continue;
        };
        let (mode, size) = (entry.unix_mode().unwrap_or_default(), entry.size());
        match mode & TYPE {
            _ if name.ends_with(b"/") => tree.directory(&path)?,
            DIRECTORY => tree.directory(&path)?,
            LINK => {
                let mut target = Vec::new();
                let read = (&mut entry).take(LONGEST_TARGET).read_to_end(&mut target);
                read.map_err(ArchiveError::damaged)?;
                tree.link(&path, &target)?;
                sink.link(&path, &target)?;
            }
            0 | REGULAR => {
                tree.file(&path, size)?;
                // Whatever it says of its size, no more comes out of it.
                let mut content = Exact {
                    inner: &mut entry,
                    left: size,
                };
                sink.file(&path, mode & 0o100 != 0, size, &mut content)?;
            }
            _ => {
                let why =
                    "is a device or a FIFO: only files, directories and links can be deployed";
                return Err(ArchiveError::refused(&name, why));
            }
        }
    }
    Ok(())
}

fn damaged(error: ZipError) -> ArchiveError {
    match error {
        ZipError::Io(error) => ArchiveError::damaged(error),
        ZipError::UnsupportedArchive(what) => ArchiveError::Damaged(format!(
            "it is a zip of a kind that is not read here ({what}): send a tar in gzip"
        )),
        other => ArchiveError::Damaged(other.to_string()),
    }
}

/// Reads a number of bytes in all, until that is lifted.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(read as u64) else {
            let what = "it has too many files: its directory has more than 24 MiB";
            return Err(io::Error::other(TooMuch(what.to_owned())));
        };
        self.left.set(left);
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Reads what a file said that it has; more is an error.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            let what = "a file in it unpacks to more than it says".to_owned();
            return Err(io::Error::other(TooMuch(what)));
        };
        self.left = left;
        Ok(read)
    }
}
