//! `DATA/version`: which layout the data directory has. An older server must not read what a newer one has written: it
//! would take what it does not know for damage.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DaemonError, io_error};
use crate::{durable, regular};

/// The layout that this server writes. Raise it when an older server could not read it.
const PRESENT: u32 = 1;

/// The file is a line.
const SIZE_LIMIT: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Version {
    state: u32,
    /// The version of the server that wrote it, for the message.
    #[serde(default)]
    procserver: String,
}

/// Looks whether this server can read the data directory. Blocks.
///
/// # Errors
/// [`DaemonError::NewerState`]; the file cannot be read.
pub fn check(data_dir: &Path) -> Result<(), DaemonError> {
    let path = data_dir.join("version");
    let text = match regular::read(&path, SIZE_LIMIT) {
        Ok(text) => text,
        // Servers before this file was there had the first layout.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error(&path, e)),
    };
    let found: Version =
        serde_json::from_slice(&text).map_err(|e| io_error(&path, io::Error::other(e)))?;
    match found.state <= PRESENT {
        true => Ok(()),
        false => Err(DaemonError::NewerState {
            directory: data_dir.to_owned(),
            version: found.procserver,
        }),
    }
}

/// Writes which layout it has from now on. Blocks.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(data_dir: &Path) -> Result<(), DaemonError> {
    let path = data_dir.join("version");
    let version = Version {
        state: PRESENT,
        procserver: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let text = serde_json::to_vec(&version).map_err(|e| io_error(&path, io::Error::other(e)))?;
    if regular::read(&path, SIZE_LIMIT).is_ok_and(|present| present == text) {
        return Ok(());
    }
    durable::replace(&path, &text, 0o600).map_err(|e| io_error(&path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_layout_is_read_and_a_newer_one_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        check(directory.path()).unwrap();
        write(directory.path()).unwrap();
        check(directory.path()).unwrap();
        let newer = r#"{"state":2,"procserver":"9.1.0","more":true}"#;
        std::fs::write(directory.path().join("version"), newer).unwrap();
        let error = check(directory.path()).unwrap_err().to_string();
        assert!(error.contains("procserver 9.1.0 or newer"), "{error}");
        std::fs::write(directory.path().join("version"), "x").unwrap();
        let error = check(directory.path()).unwrap_err().to_string();
        assert!(error.contains("/version: "), "{error}");
    }
}
