//! [`Cursor`]: up to which line a receiver has the logs, in a file.
//!
//! It is written in place, in one call of one size, after each batch that was taken: a server that is killed sends nothing
//! again. It is not synchronised, so after a power cut some lines may come twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::accounts::Accounts;
use crate::logs::record::{LARGEST_ID, Stream};
use crate::regular;

/// Digits of a place.
const WIDTH: usize = 20;

#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
}

impl Cursor {
    /// Opens or makes the one at `path`; what it says, if anything.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Accounts)> {
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let file = regular::open_with(path, &mut options, OFlags::NOFOLLOW)?;
        let mut bytes = vec![0; 256];
        let length = file.read_at(&mut bytes, 0)?;
        let accounts = read(&bytes[..length]).unwrap_or_else(|| {
            if length > 0 {
                log::error!(
                    "{}: it is damaged, lines are sent from now on",
                    path.display()
                );
            }
            Accounts::default()
        });
        Ok((Self { file }, accounts))
    }

    /// Removes those in `directory` whose names are not in `keys`: a receiver that comes back gets what is written from
    /// then on, not what was written while it was not wanted.
    pub(super) fn keep_only(directory: &Path, keys: &[&str]) -> io::Result<()> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if keys.iter().all(|key| name != **key) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, accounts: &Accounts) -> io::Result<()> {
        self.file.write_all_at(&written(accounts), 0)
    }
}

/// A number or dashes for each stream, all of one width.
fn written(accounts: &Accounts) -> Vec<u8> {
    let places = Stream::ALL.map(|stream| match accounts.last(stream) {
        Some(id) => format!("{id:0WIDTH$}"),
        None => "-".repeat(WIDTH),
    });
    format!("{}\n", places.join(" ")).into_bytes()
}

fn read(bytes: &[u8]) -> Option<Accounts> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let places: Vec<&str> = text.split(' ').collect();
    let is_whole = places.len() == Stream::ALL.len() && places.iter().all(|p| p.len() == WIDTH);
    let mut accounts = Accounts::default();
    for (stream, place) in Stream::ALL.into_iter().zip(is_whole.then_some(places)?) {
        if !place.starts_with('-') {
            accounts.set(stream, place.parse().ok().filter(|id| *id <= LARGEST_ID)?);
        }
    }
    Some(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_rubbish_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/drains/k");
        let (cursor, mut accounts) = Cursor::open(&path).unwrap();
        assert_eq!(accounts, Accounts::default());
        for id in [1, LARGEST_ID, 3] {
            accounts.set(Stream::Stderr, id);
            cursor.write(&accounts).unwrap();
            assert_eq!(Cursor::open(&path).unwrap().1, accounts);
        }
        for rubbish in [&b"x"[..], &[0; 84], b"1 2 3 4\n", &[b'9'; 83]] {
            std::fs::write(&path, rubbish).unwrap();
            assert_eq!(Cursor::open(&path).unwrap().1, Accounts::default());
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(Cursor::open(&path).is_err());
    }
}
