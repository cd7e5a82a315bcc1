//! Files that are files: what lies in the place of one may be a FIFO that nobody ever writes to, a device, or a directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file to read it; follows links. Blocks, but waits for nobody.
///
/// # Errors
/// As `open(2)`; it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true), OFlags::empty())
}

/// Opens a file in this way and with these flags of `open(2)`. Blocks, but waits for nobody.
///
/// # Errors
/// As `open(2)`; it is no regular file.
pub fn open_with(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    // A device may do something when it is opened. What takes its place after this look is opened without a wait.
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(refusal()),
        _ => {}
    }
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(refusal()),
    }
}

/// Reads a file of at most `limit` bytes; follows links. Blocks, but waits for nobody.
///
/// # Errors
/// As [`open`]; it is larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_opened(open(path)?, limit)
}

/// Reads a file of at most `limit` bytes; `None` where there is none. Blocks, but waits for nobody.
///
/// # Errors
/// As [`read`]; the last part of `path` is a link.
pub fn read_nofollow(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match open_with(path, OpenOptions::new().read(true), OFlags::NOFOLLOW) {
        Ok(file) => read_opened(file, limit).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            Err(io::Error::other("is a symbolic link: it must be a file"))
        }
        Err(error) => Err(error),
    }
}

/// Reads the rest of an open file, of at most `limit` bytes. Blocks, but waits for nobody.
///
/// # Errors
/// It is no regular file, or larger.
pub fn read_opened(file: File, limit: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(refusal());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let reason = format!("is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(bytes)
}

fn refusal() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "is not a regular file")
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let home = tempfile::tempdir().unwrap();
        let fifo = home.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for path in [&fifo, home.path(), Path::new("/dev/zero")] {
            assert_eq!(open(path).unwrap_err().to_string(), "is not a regular file");
            let mut append = OpenOptions::new();
            append.append(true).create(true);
            assert!(open_with(path, &mut append, OFlags::empty()).is_err());
        }
        let none = open(&home.path().join("none")).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert!(read(&path, 3).is_err());
        assert_eq!(read_nofollow(&path, 4).unwrap().unwrap(), b"four");
        assert_eq!(read_nofollow(&home.path().join("none"), 4).unwrap(), None);
        let link = home.path().join("link");
        for to in [path.as_path(), Path::new("nothing"), home.path()] {
            std::os::unix::fs::symlink(to, &link).unwrap();
            assert!(read_nofollow(&link, 4).is_err(), "{to:?}");
            std::fs::remove_file(&link).unwrap();
        }
    }
}
