//! [`walk`]: reads an archive to its end, whatever it is.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};

use flate2::read::MultiGzDecoder;

use super::bounded::Bounded;
use super::error::ArchiveError;
use super::sink::Sink;
use super::tree::{Limits, Tree};
use super::{tar, zip};

/// Reads an archive to its end. Returns what is in it. Blocks.
///
/// # Errors
/// It is none, is damaged, has what may not be or too much of it; what `sink` returns.
pub fn walk(archive: &mut File, limits: Limits, sink: &mut dyn Sink) -> Result<Tree, ArchiveError> {
    archive.rewind().map_err(ArchiveError::Sink)?;
    let mut start = Vec::new();
    let read = archive.take(tar::BLOCK).read_to_end(&mut start);
    read.map_err(ArchiveError::Sink)?;
    archive.rewind().map_err(ArchiveError::Sink)?;
    let mut tree = Tree::new(limits);
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        zip::walk(archive, &mut tree, sink)?;
    } else if start.starts_with(&[0x1f, 0x8b]) {
        let unpacked = MultiGzDecoder::new(BufReader::new(archive));
        tar::walk(Bounded::new(unpacked, limits), &mut tree, sink)?;
    } else if tar::is_one(&start) {
        let read = BufReader::new(archive);
        tar::walk(Bounded::new(read, limits), &mut tree, sink)?;
    } else {
        return Err(ArchiveError::Unknown);
    }
    tree.check_links()?;
    match tree.files() {
        0 => Err(ArchiveError::Empty),
        _ => Ok(tree),
    }
}

#[cfg(test)]
mod tests;
