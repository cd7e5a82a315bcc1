//! [`Wish`]: of what an image is made (pure).

use std::path::PathBuf;

use crate::account::Account;
use crate::document::name::AppName;
use crate::document::package::Package;

/// Of what an image is made.
#[derive(Clone, Debug)]
pub struct Wish {
    pub app: AppName,
    /// The release whose directory has the code: it makes the image, which releases with the same code share.
    pub code: u64,
    /// Directories of this machine that it has at the same paths: the checkout first, then the Python environment.
    pub files: Vec<PathBuf>,
    /// Directories that are empty in it and belong to the application's user.
    pub writable: Vec<PathBuf>,
    /// One for temporary files: what an engine mounts there gets its rights.
    pub tmp: PathBuf,
    pub owner: Owner,
    /// Debian packages that its root file system has: the document's,
    pub packages: Vec<Package>,
    /// and those of [`super::programs`], which a base image may have in another way.
    pub found: Vec<Package>,
}

/// The user as whom the application runs: the same numbers as on this machine, whose files the image has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub user: String,
    pub group: String,
    pub uid: u32,
    pub gid: u32,
    /// The user's home directory.
    pub home: PathBuf,
}

impl Owner {
    #[must_use]
    pub fn of(account: &Account, home: PathBuf) -> Self {
        Self {
            user: account.user.clone(),
            group: account.group.clone(),
            uid: account.uid,
            gid: account.gid,
            home,
        }
    }
}
