//! The file with the first token.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::regular;

/// Bytes of randomness in a token.
const STRENGTH: usize = 32;

/// Characters that a token chosen by a person must have at least.
const MIN_LENGTH: usize = 16;

/// Reads the token in `path`; at the first start makes one, readable by its owner only. Blocks.
///
/// # Errors
/// The file cannot be read or written, or what it holds cannot be a token.
pub fn load_or_create_token(path: &Path) -> io::Result<Arc<str>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        other => other,
    }
}

fn read(path: &Path) -> io::Result<Arc<str>> {
    // O_NOFOLLOW: whoever may write to the directory cannot point the daemon at another file.
    let file = regular::open_with(path, OpenOptions::new().read(true), OFlags::NOFOLLOW)?;
    let metadata = file.metadata()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        log::warn!(
            "{}: others could read the token, now they cannot",
            path.display()
        );
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text)?;
    let token = text.trim();
    if token.len() < MIN_LENGTH || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!(
            "{}: not a token of at least {MIN_LENGTH} visible ASCII characters: remove the file to get a new one",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Arc::from(token))
}

fn create(path: &Path) -> io::Result<Arc<str>> {
    let mut random = [0_u8; STRENGTH];
    getrandom::fill(&mut random)?;
    let token = random.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    // Temporary files of this crate are 0600 from the start.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{token}")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            File::open(directory)?.sync_all()?;
            Ok(Arc::from(token))
        }
        // Another daemon was faster: its token is the one.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_read_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let made = load_or_create_token(&path).unwrap();
        assert_eq!(made.len(), 2 * STRENGTH);
        assert_eq!(load_or_create_token(&path).unwrap(), made);
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load_or_create_token(&path).unwrap(), made);
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for wrong in ["", "\n", "short", "with a blank in the middle"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(load_or_create_token(&path).is_err(), "{wrong:?}");
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(load_or_create_token(&path).is_err());
    }
}
