//! [`BackupError`]: why a backup cannot be made or used.

use std::io;
use std::path::PathBuf;

/// Why a backup cannot be made or used; the text is for users.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It was cut off, changed, or never was one.
    #[error("the backup is damaged, or not whole: {0}")]
    Damaged(String),
    /// No server has written this.
    #[error("the backup is refused: {path:?} {why}")]
    Refused { path: String, why: String },
    #[error(
        "the backup is of format {0}, which this version of procserver does not know: install the one that made it, or a newer one"
    )]
    TooNew(u32),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// Who asked for it is gone.
    #[error("the backup broke off: {0}")]
    Output(io::Error),
    #[error("there are {free} MiB free at {path}, and {needed} MiB are needed{hint}")]
    NoSpace {
        path: PathBuf,
        free: u64,
        needed: u64,
        /// What to do, with leading punctuation.
        hint: &'static str,
    },
    #[error("the backup has no application \"{0}\": it has {1}")]
    NotInIt(String, String),
    #[error("there is no application \"{0}\"")]
    NoSuchApp(String),
    #[error("{0}: restore others with --only, or take their place with --replace")]
    Exist(String),
    #[error(
        "another restore is not over yet: wait for it, \"procserver apps\" shows what has come"
    )]
    Busy,
    #[error("the document of \"{name}\" in the backup is refused: {why}")]
    Document { name: String, why: String },
}

impl BackupError {
    /// An error of the file system, with where it was.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
