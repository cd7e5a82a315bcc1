//! The file of a spool. These functions block: they run on threads that may wait for the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

/// Bytes of the file system that stay free, or a twentieth of it if that is less. Bodies of strangers must not fill a
/// disk that applications, logs and deployments need.
const LEFT: u64 = 1 << 30;

/// Fills the block, up to its capacity.
pub(super) fn read(file: &File, at: u64, mut block: Vec<u8>) -> io::Result<Vec<u8>> {
    file.read_exact_at(&mut block, at)?;
    Ok(block)
}

/// Writes a block. It makes the file in `directory` if there is none yet.
pub(super) fn write(
    file: Option<Arc<File>>,
    directory: &Path,
    at: u64,
    block: &[u8],
) -> io::Result<Arc<File>> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(create(directory)?),
    };
    let system = rustix::fs::fstatvfs(&*file)?;
    let available = system.f_bavail.saturating_mul(system.f_frsize);
    let whole = system.f_blocks.saturating_mul(system.f_frsize);
    if available < LEFT.min(whole / 20) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_all_at(block, at)?;
    Ok(file)
}

/// Makes a file without a name, so that nobody finds it and nothing is left behind.
fn create(directory: &Path) -> io::Result<File> {
    let unnamed = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::TMPFILE.bits().cast_signed())
        .open(directory);
    // Not every file system has such files. There a named one, with mode 0600 too, loses its name at once.
    unnamed.or_else(|_| tempfile::NamedTempFile::new_in(directory).map(|named| named.into_file()))
}
