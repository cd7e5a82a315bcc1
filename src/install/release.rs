//! A release: code at a commit and a document, numbered, immutable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::directories::AppDirs;
use crate::app::dotenv::Dotenv;
use crate::app::procfile::Procfile;

/// `releases/N.json`, written when the release is complete: a directory without a record is rubbish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// N.
    pub id: u64,
    /// Full commit id.
    pub commit: String,
    /// When it was complete.
    pub created: jiff::Timestamp,
    /// The document it was made with.
    pub document: serde_json::Value,
}

/// A release that can be started.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Its record.
    pub record: ReleaseRecord,
    /// Its directory.
    pub directory: PathBuf,
    /// Its Procfile, checked.
    pub procfile: Procfile,
    /// Its `.env`.
    pub dotenv: BTreeMap<String, String>,
    /// Warnings of both files.
    pub warnings: Vec<String>,
}

/// Why a release cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file of it.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The record is not what was written.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        detail: String,
    },
    /// There is no Procfile.
    #[error(
        "the repository has no Procfile: add a file named Procfile with a line such as \"web: command\""
    )]
    NoProcfile,
    /// The Procfile.
    #[error(transparent)]
    Procfile(#[from] crate::app::procfile::ProcfileError),
    /// The `.env`.
    #[error(transparent)]
    Dotenv(#[from] crate::app::dotenv::DotenvError),
}

/// Reads Procfile and `.env` of a checkout; neither a link nor larger than 1 MiB. Blocks.
///
/// # Errors
/// [`ReleaseError`].
pub fn manifest(directory: &Path) -> Result<(Procfile, Dotenv), ReleaseError> {
    let _ = directory;
    todo!()
}

/// Loads release `id` from disk. Blocks.
///
/// # Errors
/// [`ReleaseError`].
pub fn load(dirs: &AppDirs, id: u64) -> Result<Release, ReleaseError> {
    let _ = (dirs, id);
    todo!()
}

/// The records of all complete releases, by id. Blocks.
#[must_use]
pub fn list(dirs: &AppDirs) -> Vec<ReleaseRecord> {
    let _ = dirs;
    todo!()
}

/// Removes what is not worth keeping: directories without a record, and the oldest releases beyond `keep`, never one
/// of `in_use`. Blocks.
pub fn prune(dirs: &AppDirs, keep: usize, in_use: &[u64]) {
    let _ = (dirs, keep, in_use);
    todo!()
}
