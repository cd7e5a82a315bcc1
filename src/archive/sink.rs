//! [`Sink`]: takes what is in an archive. [`Look`] takes nothing.

use std::io::{self, Read};

use super::error::ArchiveError;

/// Takes what is in an archive. The paths are as [`super::tree::path`] returns them.
pub trait Sink {
    /// A file of `size` bytes. All of `content` must be read.
    ///
    /// # Errors
    /// It cannot be taken, or `content` cannot be read, which [`ArchiveError::Damaged`] says.
    fn file(
        &mut self,
        path: &[u8],
        is_executable: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError>;

    /// A symbolic link.
    ///
    /// # Errors
    /// It cannot be taken.
    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError>;

    /// The same file as at `from`, which came before.
    ///
    /// # Errors
    /// It cannot be taken.
    fn copy(&mut self, path: &[u8], from: &[u8]) -> Result<(), ArchiveError>;
}

/// Looks at everything and keeps nothing.
#[derive(Debug)]
pub struct Look;

impl Sink for Look {
    fn file(
        &mut self,
        _: &[u8],
        _: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let read = io::copy(content, &mut io::sink()).map_err(ArchiveError::damaged)?;
        match read == size {
            true => Ok(()),
            false => Err(ArchiveError::Damaged("it ends within a file".to_owned())),
        }
    }

    fn link(&mut self, _: &[u8], _: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn copy(&mut self, _: &[u8], _: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }
}
