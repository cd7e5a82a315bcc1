//! Reads a tar: ustar, GNU and pax, as tar(1), git archive and libraries write them.
//!
//! The heads that name what follows are read here and not by the crate, which takes them whatever their size.

use std::io::{self, Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::bounded::Bounded;
use super::error::ArchiveError;
use super::sink::Sink;
use super::tree::{self, Tree};

/// The unit of a tar.
pub(super) const BLOCK: u64 = 512;

/// A path or a target is shorter, and other records of pax (times, attributes) are few.
const LONGEST_HEAD: u64 = 64 << 10;

/// Whether it begins as a tar does: with a head whose checksum is right.
pub(super) fn is_one(start: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(start) else {
        return false;
    };
    let header = tar::Header::from_byte_slice(block);
    // The checksum is made with blanks in its own place.
    let sum =
        |range: std::ops::Range<usize>| block[range].iter().map(|b| u32::from(*b)).sum::<u32>();
    let is_empty = block.iter().all(|byte| *byte == 0);
    let own = sum(0..148) + 8 * u32::from(b' ') + sum(156..512);
    is_empty || header.cksum().is_ok_and(|said| said == own)
}

/// What heads say of the entry that follows.
#[derive(Debug, Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

/// An entry that counts.
struct Head {
    kind: EntryType,
    path: Vec<u8>,
    target: Vec<u8>,
    is_executable: bool,
    size: u64,
}

pub(super) fn walk(
    input: Bounded<impl Read>,
    tree: &mut Tree,
    sink: &mut dyn Sink,
) -> Result<(), ArchiveError> {
    let mut archive = Archive::new(input);
    let entries = archive.entries().map_err(ArchiveError::damaged)?;
    let mut ahead = Ahead::default();
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(ArchiveError::damaged)?;
        if let Some(head) = next(&mut entry, &mut ahead)? {
            take(&head, &mut entry, tree, sink)?;
        }
    }
    let mut rest = archive.into_inner();
    // The checksum of gzip comes after the last byte.
    io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::damaged)?;
    match rest.zeros() >= BLOCK {
        true => Ok(()),
        false => Err(ArchiveError::Damaged(
            "it has no end: it was cut off".to_owned(),
        )),
    }
}

/// Reads the head of an entry; `None`: it says something of what follows.
fn next<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    ahead: &mut Ahead,
) -> Result<Option<Head>, ArchiveError> {
    match entry.header().entry_type() {
        EntryType::GNULongName => ahead.path = Some(c_text(bounded(entry)?)),
        EntryType::GNULongLink => ahead.target = Some(c_text(bounded(entry)?)),
        EntryType::XHeader => read_pax(&bounded(entry)?, ahead)?,
        // Of all entries that follow: git archive has its commit there.
        EntryType::XGlobalHeader => {}
        kind => return head(entry, kind, std::mem::take(ahead)).map(Some),
    }
    Ok(None)
}

fn head<R: Read>(
    entry: &tar::Entry<'_, R>,
    kind: EntryType,
    ahead: Ahead,
) -> Result<Head, ArchiveError> {
    let header = entry.header();
    let path = ahead
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let target = ahead
        .target
        .or_else(|| header.link_name_bytes().map(|t| t.into_owned()));
    let is_executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
    let size = header.entry_size().map_err(ArchiveError::damaged)?;
    // The oldest tars know directories by their names only.
    let kind = match kind {
        EntryType::Regular if path.ends_with(b"/") => EntryType::Directory,
        kind => kind,
    };
    Ok(Head {
        kind,
        path,
        target: target.unwrap_or_default(),
        is_executable,
        size,
    })
}

fn take(
    head: &Head,
    content: &mut dyn Read,
    tree: &mut Tree,
    sink: &mut dyn Sink,
) -> Result<(), ArchiveError> {
    let Some(path) = tree::path(&head.path)? else {
        return Ok(());
    };
    match head.kind {
        EntryType::Directory => tree.directory(&path),
        EntryType::Regular | EntryType::Continuous => {
            tree.file(&path, head.size)?;
            sink.file(&path, head.is_executable, head.size, content)
        }
        EntryType::Symlink => {
            tree.link(&path, &head.target)?;
            sink.link(&path, &head.target)
        }
        EntryType::Link => {
            let from = tree::path(&head.target)?;
            let from = from.filter(|from| tree.has_file(from));
            let from = from.ok_or_else(|| {
                let why = "is a hard link to what is no file of the archive before it";
                ArchiveError::refused(&head.path, why)
            })?;
            tree.file(&path, 0)?;
            sink.copy(&path, &from)
        }
        EntryType::GNUSparse => Err(ArchiveError::refused(&head.path, SPARSE)),
        EntryType::Fifo => refused(head, "a FIFO"),
        EntryType::Char | EntryType::Block => refused(head, "a device"),
        other => refused(head, &format!("of the type {:?}", other.as_byte() as char)),
    }
}

const SPARSE: &str = "has holes: pack it without --sparse";

fn refused(head: &Head, what: &str) -> Result<(), ArchiveError> {
    let why = format!("is {what}: only files, directories and links can be deployed");
    Err(ArchiveError::refused(&head.path, why))
}

fn bounded<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let mut text = Vec::new();
    let read = entry.take(LONGEST_HEAD + 1).read_to_end(&mut text);
    read.map_err(ArchiveError::damaged)?;
    match text.len() as u64 > LONGEST_HEAD {
        true => Err(ArchiveError::TooMuch(
            "the name of a file in it has more than 64 KiB".to_owned(),
        )),
        false => Ok(text),
    }
}

/// GNU ends a name with a NUL.
fn c_text(mut text: Vec<u8>) -> Vec<u8> {
    if text.last() == Some(&0) {
        text.pop();
    }
    text
}

fn read_pax(text: &[u8], ahead: &mut Ahead) -> Result<(), ArchiveError> {
    for record in PaxExtensions::new(text) {
        let record = record.map_err(ArchiveError::damaged)?;
        match record.key_bytes() {
            b"path" => ahead.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => ahead.target = Some(record.value_bytes().to_vec()),
            // It would count in place of the size in the head, which ends at 8 GiB.
            b"size" => {
                let why = "a file in it has more than 8 GiB, or says its size in two ways";
                return Err(ArchiveError::TooMuch(why.to_owned()));
            }
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(ArchiveError::refused(b"a file", SPARSE));
            }
            _ => {}
        }
    }
    Ok(())
}
