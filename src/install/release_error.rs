//! [`ReleaseError`]: why a release cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::document::dotenv::DotenvError;
use crate::document::procfile::ProcfileError;

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The record is not what was written.
    #[error("{path} is damaged: {detail}")]
    Damaged { path: PathBuf, detail: String },
    /// `repo.dir` names what is not there.
    #[error("the repository has no directory {dir}, which repo.dir names: {there}")]
    NoDirectory { dir: String, there: String },
    #[error(
        "the repository has no Procfile: add a file named Procfile with a line such as \"web: command\""
    )]
    NoProcfile,
    /// There is one by another name.
    #[error(
        "the repository has no Procfile, but a file called {0}: rename it to Procfile, with a capital P and no ending"
    )]
    Misnamed(String),
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
    /// The `.env`.
    #[error(transparent)]
    Dotenv(#[from] DotenvError),
}

impl ReleaseError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
