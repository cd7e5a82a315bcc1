//! [`Blobs`]: content on disk by its digest. A blob is there whole or not at all, and never changes.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::digest::{Digest, Hashing};
use crate::durable::{self, TEMPORARY_PREFIX};
use crate::regular;

/// A directory with a file for each blob, which its digits name.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    /// The blobs of `directory`, which is made. What interrupted writers of other servers have left there is removed.
    /// Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        make_directory(&directory)?;
        durable::sweep(&directory);
        Ok(Self { directory })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Opens a blob to read it; `None`: there is no such blob. Blocks.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn read(&self, digest: &Digest) -> io::Result<Option<File>> {
        match regular::open(&self.path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a blob whose content is not known yet. Blocks.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn write(&self) -> io::Result<Writer> {
        // `durable::sweep` of a later server knows it by that.
        let prefix = format!("{TEMPORARY_PREFIX}{}-", std::process::id());
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .tempfile_in(&self.directory)?;
        Ok(Writer {
            file: Hashing::new(BufWriter::new(file)),
            blobs: self.clone(),
        })
    }

    /// Stores content that is at hand. Blocks.
    ///
    /// # Errors
    /// As [`Writer::store`].
    pub fn put(&self, content: &[u8]) -> io::Result<(Digest, u64)> {
        let mut writer = self.write()?;
        writer.write_all(content)?;
        writer.store()
    }

    /// Removes all blobs but `kept`. One that is being read is read to its end. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read, or the first blob that cannot be removed.
    pub fn retain(&self, kept: &HashSet<Digest>) -> io::Result<()> {
        let names: HashSet<String> = kept.iter().map(Digest::hex).collect();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !names.contains(&name) && !name.starts_with(TEMPORARY_PREFIX) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Makes a directory and its parents, for the server alone.
pub(in crate::swarm) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// A blob that is being written. Dropped before [`Writer::store`], nothing of it is left.
pub struct Writer {
    file: Hashing<BufWriter<NamedTempFile>>,
    blobs: Blobs,
}

impl Writer {
    /// Makes it a blob, durably; returns its digest and its size in bytes. Blocks.
    ///
    /// # Errors
    /// The disk is full, or fails; there is no such blob then, unless there was one.
    pub fn store(self) -> io::Result<(Digest, u64)> {
        let stored = self.store_if(|_| true)?;
        stored.ok_or_else(|| io::Error::other("it is stored in any case"))
    }

    /// As [`Self::store`], if it has this digest; `None`: it has another, and nothing is left of it. Blocks.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn store_as(self, wanted: Digest) -> io::Result<Option<(Digest, u64)>> {
        self.store_if(|digest| digest == wanted)
    }

    fn store_if(self, is_wanted: impl FnOnce(Digest) -> bool) -> io::Result<Option<(Digest, u64)>> {
        let (file, digest, size) = self.file.finish();
        if !is_wanted(digest) {
            return Ok(None);
        }
        let file = file.into_inner().map_err(|error| error.into_error())?;
        if self.blobs.has(&digest) {
            return Ok(Some((digest, size)));
        }
        file.as_file().sync_all()?;
        file.persist(self.blobs.path(&digest))
            .map_err(|error| error.error)?;
        durable::sync_directory(&self.blobs.directory)?;
        Ok(Some((digest, size)))
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn content_is_found_by_its_digest_and_stored_once() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs/sha256")).unwrap();
        let (digest, size) = blobs.put(b"content").unwrap();
        assert_eq!((digest, size), (Digest::of(b"content"), 7));
        assert_eq!(blobs.put(b"content").unwrap(), (digest, size));
        assert_eq!(names(&blobs.directory), [digest.hex()]);
        let mut read = String::new();
        let file = blobs.read(&digest).unwrap();
        file.unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "content");
        assert!(blobs.read(&Digest::of(b"other")).unwrap().is_none());
    }

    #[test]
    fn content_of_another_digest_is_not_stored() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let mut writer = blobs.write().unwrap();
        writer.write_all(b"other").unwrap();
        assert_eq!(writer.store_as(Digest::of(b"wanted")).unwrap(), None);
        assert!(names(home.path()).is_empty());
        let mut writer = blobs.write().unwrap();
        writer.write_all(b"wanted").unwrap();
        assert!(writer.store_as(Digest::of(b"wanted")).unwrap().is_some());
    }

    #[test]
    fn what_is_not_stored_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let mut writer = blobs.write().unwrap();
        writer.write_all(&[0; 100_000]).unwrap();
        assert_eq!(names(home.path()).len(), 1);
        drop(writer);
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn what_a_killed_server_was_writing_is_removed_and_what_this_one_writes_is_not() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".tmp-1-abc"), "half").unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let mut writer = blobs.write().unwrap();
        writer.write_all(b"new").unwrap();
        Blobs::open(home.path().to_owned()).unwrap();
        blobs.retain(&HashSet::new()).unwrap();
        let (digest, _) = writer.store().unwrap();
        assert_eq!(names(home.path()), [digest.hex()]);
    }

    #[test]
    fn only_what_is_kept_stays_and_a_reader_has_it_to_the_end() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let (kept, _) = blobs.put(b"kept").unwrap();
        let (other, _) = blobs.put(b"other").unwrap();
        let mut open = blobs.read(&other).unwrap().unwrap();
        blobs.retain(&HashSet::from([kept])).unwrap();
        assert!(blobs.has(&kept) && !blobs.has(&other));
        let mut read = String::new();
        open.read_to_string(&mut read).unwrap();
        assert_eq!(read, "other");
    }
}
