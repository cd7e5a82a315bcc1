//! Compares and copies files that may be hostile.
//!
//! A file of 200 GiB may be one hole, which costs its maker nothing. Holes are neither read nor filled, so that root
//! spends only the time and disk that the data needs. A file that grows meanwhile is read only up to the size that was
//! found.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use rustix::fs::SeekFrom as Place;
use rustix::io::Errno;

/// How much is read at once; bytes.
const CHUNK: u64 = 64 * 1024;

/// Copies the first `size` bytes of a file to an empty one. Blocks.
///
/// # Errors
/// As `read(2)` and `write(2)`.
pub(super) fn copy(from: &File, to: &File, size: i64) -> io::Result<()> {
    let size = u64::try_from(size).unwrap_or_default();
    let (mut reader, mut writer) = (from, to);
    let mut at = next(from, Place::Data(0), size);
    while at < size {
        let end = next(from, Place::Hole(at), size);
        reader.seek(SeekFrom::Start(at))?;
        writer.seek(SeekFrom::Start(at))?;
        let copied = io::copy(&mut reader.take(end - at), &mut writer)?;
        if copied == 0 {
            // The file has become shorter.
            break;
        }
        at = next(from, Place::Data(at + copied), size);
    }
    let shorter = from.metadata()?.len().min(size);
    to.set_len(shorter)
}

/// Whether two files have the same first `size` bytes. Blocks.
///
/// # Errors
/// As `read(2)`, also where one is shorter.
pub(super) fn are_same(old: &File, new: &File, size: i64) -> io::Result<bool> {
    let size = u64::try_from(size).unwrap_or_default();
    let length = size.min(CHUNK) as usize;
    let (mut left, mut right) = (vec![0; length], vec![0; length]);
    let mut at = 0;
    while at < size {
        let part = (size - at).min(CHUNK) as usize;
        old.read_exact_at(&mut left[..part], at)?;
        new.read_exact_at(&mut right[..part], at)?;
        if left[..part] != right[..part] {
            return Ok(false);
        }
        at += part as u64;
        // Most files are small and end here.
        if at < size {
            let data = |file| next(file, Place::Data(at), size);
            at = data(old).min(data(new));
        }
    }
    Ok(true)
}

/// The offset of the next data or hole, at most `size`. A file system without holes reports everything as data.
fn next(file: &File, place: Place, size: u64) -> u64 {
    let found = match (rustix::fs::seek(file, place), place) {
        (Ok(found), _) => found,
        (Err(Errno::NXIO), _) | (Err(_), Place::Hole(_)) => size,
        (Err(_), Place::Data(at)) => at,
        (Err(_), _) => size,
    };
    found.min(size)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::time::{Duration, Instant};

    use super::*;

    /// A file of this length with these bytes in it.
    fn file(length: u64, bytes: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        for (at, bytes) in bytes {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    fn same(old: &File, new: &File, size: u64) -> bool {
        are_same(old, new, i64::try_from(size).unwrap()).unwrap()
    }

    const LARGE: u64 = 1 << 40;
    const MIDDLE: u64 = LARGE / 2 + 5;

    #[test]
    fn a_copy_has_the_holes_of_its_file() {
        let from = file(LARGE, &[(3, b"abc"), (MIDDLE, b"x")]);
        let to = file(0, &[]);
        let begun = Instant::now();
        copy(&from, &to, LARGE.cast_signed()).unwrap();
        let about = to.metadata().unwrap();
        assert_eq!(about.len(), LARGE);
        assert!(about.blocks() * 512 < 1 << 20, "{}", about.blocks());
        assert!(same(&from, &to, LARGE));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_a_file_has_grown_by_is_not_copied_and_less_is_no_error() {
        let from = file(0, &[(0, b"abcdef")]);
        for (size, wanted) in [(3, "abc"), (6, "abcdef"), (9, "abcdef"), (0, "")] {
            let to = file(0, &[]);
            copy(&from, &to, size).unwrap();
            let mut text = vec![0; 9];
            let length = to.read_at(&mut text, 0).unwrap();
            assert_eq!(&text[..length], wanted.as_bytes());
        }
    }

    #[test]
    fn files_differ_where_one_has_data_and_the_other_a_hole() {
        let one = file(LARGE, &[(MIDDLE, b"x")]);
        assert!(same(&one, &file(LARGE, &[(MIDDLE, b"x")]), LARGE));
        let zeros = [0; 100_000];
        let other = file(LARGE, &[(MIDDLE, b"x"), (LARGE / 4, &zeros)]);
        assert!(same(&one, &other, LARGE));
        for other in [
            file(LARGE, &[]),
            file(LARGE, &[(MIDDLE, b"x"), (LARGE - 1, b"x")]),
            file(LARGE, &[(MIDDLE, b"y")]),
        ] {
            assert!(!same(&one, &other, LARGE));
            assert!(!same(&other, &one, LARGE));
        }
    }
}
