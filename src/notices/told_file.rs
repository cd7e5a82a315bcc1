//! [`ToldFile`]: `notices.json` of the data directory, what was told to be wrong.

use std::io;
use std::path::{Path, PathBuf};

use super::policy::ToldBefore;
use crate::durable;
use crate::regular;

const FILE: &str = "notices.json";

/// Of the file.
const LARGEST: u64 = 16 << 20;

/// Where it is.
#[derive(Clone, Debug)]
pub(super) struct ToldFile(PathBuf);

impl ToldFile {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE))
    }

    /// What the server before told. Of one that cannot be read nothing is known: then it is told again. Blocks.
    pub(super) fn load(&self) -> Vec<ToldBefore> {
        let read = regular::read(&self.0, LARGEST);
        let read = read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.unwrap_or_else(|error: io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                let file = self.0.display();
                log::warn!("{file} cannot be read, so notices are told again: {error}");
            }
            vec![]
        })
    }

    /// Blocks.
    pub(super) fn store(&self, told: &[ToldBefore]) {
        let bytes = serde_json::to_vec_pretty(told).map_err(io::Error::from);
        if let Err(error) = bytes.and_then(|bytes| durable::replace(&self.0, &bytes, 0o600)) {
            let file = self.0.display();
            log::warn!("{file} cannot be written, so a restart tells notices again: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_damaged_or_not_there_tells_of_nothing() {
        let home = tempfile::tempdir().unwrap();
        let file = ToldFile::of(home.path());
        assert_eq!(file.load(), []);
        for damage in ["", "[{", "{}", "[{\"event\": 1}]"] {
            std::fs::write(home.path().join(FILE), damage).unwrap();
            assert_eq!(file.load(), []);
        }
        file.store(&[]);
        assert_eq!(file.load(), []);
    }
}
