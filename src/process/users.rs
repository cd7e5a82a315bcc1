//! [`Users`]: as whom the processes of an instance run.
//!
//! Every user of the machine can give its own processes any environment and any limits. So the marker, the rlimit mark
//! and the pid of a record count only on processes of these users.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::procfs;
use crate::account::Account;
use crate::app_dirs::AppDirs;

/// The users whose processes may be an instance's: the app's, and the daemon's own, as whom the helper begins and git
/// runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users(BTreeSet<u32>);

impl Users {
    /// Only the daemon's own user.
    #[must_use]
    pub fn own() -> Self {
        Self(BTreeSet::from([nix::unistd::geteuid().as_raw()]))
    }

    /// The users of what runs as `account`; `None`: as the daemon.
    #[must_use]
    pub fn of_account(account: Option<&Account>) -> Self {
        Self::own().and(account.map(|account| account.uid))
    }

    /// The users of an app: the owners of its directories. That holds even when passwd has no such user any more, or
    /// another one of the name. The directories lie in one of the daemon's, and only root can give a directory away.
    /// Blocks.
    #[must_use]
    pub fn of_app(dirs: &AppDirs) -> Self {
        let own = [dirs.storage(), dirs.tmp(), dirs.home()];
        let found = own
            .iter()
            .filter_map(|path| fs::symlink_metadata(path).ok());
        Self::own().and(found.map(|directory| directory.uid()))
    }

    #[must_use]
    pub fn and(mut self, others: impl IntoIterator<Item = u32>) -> Self {
        self.0.extend(others);
        self
    }

    pub(super) fn contain(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }

    /// Whether a process runs as one of them alone. A set-user-ID program that a stranger runs has two users.
    pub(super) fn have(&self, pid: u32) -> bool {
        procfs::uid(pid).is_some_and(|uid| self.contain(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_of_its_user_alone() {
        let (pid, uid) = (std::process::id(), nix::unistd::geteuid().as_raw());
        assert!(Users::own().have(pid));
        assert!(!Users(BTreeSet::from([uid + 1])).have(pid));
        assert!(Users(BTreeSet::new()).and([uid]).have(pid));
        assert!(!Users::own().have(u32::MAX));
    }
}
