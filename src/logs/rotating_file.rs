//! [`RotatingFile`]: a plain file that is rotated by its size: `access.log`, `access.log.1` (the one before), and so
//! on.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::backward::Backward;
use super::segment_files::open;

/// A file that is rotated by its size, as its only writer. Somebody else may move it away: a new one is begun.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    /// Bytes.
    size: u64,
    files: usize,
    /// Whether only its owner may read it.
    is_private: bool,
    present: Option<Present>,
}

/// The file that is open.
#[derive(Debug)]
struct Present {
    file: File,
    /// Bytes.
    size: u64,
}

impl RotatingFile {
    /// The file `path` of at most `size` bytes, and `files` files in all; nothing is opened before it is needed.
    #[must_use]
    pub fn new(path: PathBuf, size: u64, files: usize) -> Self {
        Self {
            path,
            size,
            files: files.max(1),
            is_private: false,
            present: None,
        }
    }

    /// One that only its owner may read.
    #[must_use]
    pub fn that_is_private(self) -> Self {
        Self {
            is_private: true,
            ..self
        }
    }

    /// Appends whole lines: all of them or none.
    ///
    /// # Errors
    /// When they cannot be written; it may be tried again.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut present = self.take()?;
        if present.size > 0 && present.size + lines.len() as u64 > self.size {
            drop(present);
            self.rotate()?;
            present = self.take()?;
        }
        match present.file.write_all(lines) {
            Ok(()) => {
                present.size += lines.len() as u64;
                self.present = Some(present);
                Ok(())
            }
            Err(error) => {
                // Half of it may be there. If that cannot be undone now it will be when the file is opened again.
                if present.file.set_len(present.size).is_ok() {
                    self.present = Some(present);
                }
                Err(error)
            }
        }
    }

    /// The file that is open, unless another has taken its place: then that one.
    fn take(&mut self) -> io::Result<Present> {
        if let Some(present) = self.present.take()
            && is_at(&present.file, &self.path)
        {
            return Ok(present);
        }
        if let Some(directory) = self.path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(directory)?;
        }
        let file = open(&self.path)?;
        if self.is_private {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        // A line that a crash tore is cut off.
        let size = Backward::new(crate::regular::open(&self.path)?)?.offset();
        file.set_len(size)?;
        Ok(Present { file, size })
    }

    /// Gives each file the next number; the oldest one goes.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..self.files).rev() {
            let older = self.numbered(number);
            match std::fs::rename(self.numbered(number - 1), older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files == 1 {
            std::fs::remove_file(&self.path)?;
        }
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        numbered(&self.path, number)
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    if number > 0 {
        path.push(format!(".{number}"));
    }
    path.into()
}

/// Gives the lines of the file `path` and of those before it, the newest first, until `wants` says no. Blocks.
///
/// # Errors
/// A file cannot be read.
pub fn each_backward(
    path: &Path,
    files: usize,
    mut wants: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    // All are opened before the first is read: they get other names meanwhile.
    let mut opened: Vec<File> = Vec::new();
    for number in 0..files.max(1) {
        match crate::regular::open(&numbered(path, number)) {
            Ok(file) => opened.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut seen = Vec::new();
    for file in opened {
        let found = file.metadata()?;
        let identity = (found.dev(), found.ino());
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        let mut lines = Backward::new(file)?;
        while let Some((_, line)) = lines.previous()? {
            if !wants(line) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn logs(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().join("logs/access.log")
    }

    #[test]
    fn it_is_bounded_in_size_and_number_and_holds_the_newest_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = logs(&directory);
        let mut log = RotatingFile::new(path.clone(), 10, 3);
        for line in [
            "1234\n", "5678\n", "abcd\n", "efgh\n", "ijkl\n", "mnop\n", "q\n",
        ] {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "q\n");
        assert_eq!(read(&log.numbered(1)), "ijkl\nmnop\n");
        assert_eq!(read(&log.numbered(2)), "abcd\nefgh\n");
        assert!(!log.numbered(3).exists());
    }

    #[test]
    fn one_file_is_begun_anew_when_it_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = logs(&directory);
        let mut log = RotatingFile::new(path.clone(), 4, 1);
        log.append(b"123\n").unwrap();
        log.append(b"longer than allowed\n").unwrap();
        assert_eq!(read(&path), "longer than allowed\n");
        assert!(!log.numbered(1).exists());
    }

    #[test]
    fn a_new_life_goes_on_behind_the_last_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = logs(&directory);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "whole\nto").unwrap();
        let mut log = RotatingFile::new(path.clone(), 100, 2);
        log.append(b"next\n").unwrap();
        assert_eq!(read(&path), "whole\nnext\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = logs(&directory);
        let mut log = RotatingFile::new(path.clone(), 100, 2);
        log.append(b"a\n").unwrap();
        std::fs::rename(&path, directory.path().join("taken")).unwrap();
        log.append(b"b\n").unwrap();
        assert_eq!(read(&path), "b\n");
    }
}
