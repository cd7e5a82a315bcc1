//! The files of segments: their names, which there are, and how one is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::record::{LARGEST_ID, Stream};
use crate::regular;

/// The segments of `stream` below `directory`: the id of the first line, the path; oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn segments(directory: &Path, stream: Stream) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| first_id(stream, name));
        // What else has such a name (a directory, a link, a FIFO that nobody would read) is not ours.
        if let Some(id) = id
            && entry.file_type()?.is_file()
        {
            found.push((id, directory.join(name)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) fn file_name(stream: Stream, first_id: u64) -> String {
    format!("{}-{first_id:020}.log", stream.name())
}

fn first_id(stream: Stream, name: &str) -> Option<u64> {
    let id = name.strip_prefix(stream.name())?.strip_prefix('-')?;
    let id = id.strip_suffix(".log")?.parse().ok();
    id.filter(|id| *id <= LARGEST_ID)
}

/// Opens a log to append to it. A link in its place is refused.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    regular::open_with(path, &mut options, OFlags::NOFOLLOW)
}
