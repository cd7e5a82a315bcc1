//! Why a key cannot be added or removed.

use std::path::PathBuf;

use super::user::UserError;

/// Why a key cannot be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("There is a key \"{0}\" already: choose another name, or remove that one first.")]
    Exists(String),
    #[error(
        "This key is here already, as \"{0}\": remove that one first (procserver ssh-key remove {0})."
    )]
    Known(String),
    #[error("There is no key \"{0}\": procserver ssh-key list shows them.")]
    NoSuchKey(String),
    #[error("There are {0} keys, more are not kept: remove those that nobody uses.")]
    TooMany(usize),
    /// Nobody could log in with it.
    #[error("Nobody could push over ssh: {0}.")]
    User(#[from] UserError),
    /// Only the administrator can mend it.
    #[error("The keys cannot be stored, nothing was changed: {}: {source}", path.display())]
    NotStored {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("No random bytes can be had: {0}")]
    NoChance(getrandom::Error),
}

/// Why the server does not start with the keys that it has.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} was written by a newer procserver (version {version} of the file): run that one, or move the file away, which \
         removes the ssh keys in it",
        path.display()
    )]
    Newer { path: PathBuf, version: u64 },
}
