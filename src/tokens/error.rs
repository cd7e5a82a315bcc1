//! Why a token cannot be made or revoked.

use std::path::PathBuf;

/// Why a token cannot be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("There is a token \"{0}\" already: choose another name, or revoke that one first.")]
    Exists(String),
    #[error("There is no token \"{0}\": GET /tokens lists them.")]
    NoSuchToken(String),
    #[error(
        "The first token is not revoked but replaced: remove the file {} and restart the server, which makes a new one.",
        .0.display()
    )]
    First(PathBuf),
    #[error("There are {0} tokens, more are not kept: revoke those that nobody uses.")]
    TooMany(usize),
    /// Only the administrator can mend it.
    #[error("The tokens cannot be stored, nothing was changed: {}: {source}", path.display())]
    NotStored {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("No random bytes can be had: {0}")]
    NoChance(getrandom::Error),
}

/// Why the server does not start with the tokens that it has.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} was written by a newer procserver (version {version} of the file, this one knows {known}): run that one, or \
         move the file away, which revokes the tokens in it",
        path.display()
    )]
    Newer {
        path: PathBuf,
        version: u64,
        known: u64,
    },
}
