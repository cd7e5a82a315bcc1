//! [`GitUser`]: the user of git where the daemon is root. git reads what strangers have pushed, so it does not run as
//! root. Its group is one that nothing else on this machine has. So the app's own processes can neither enter what
//! belongs to that group (mirrors, a checkout that is being written) nor trace git (ptrace(2) requires the same
//! group).

use std::io;
use std::path::{Path, PathBuf};

use super::tree::{self, Owner};
use crate::account::Account;
use crate::process::landlock::Landlock;
use crate::process::lent::Limits;

/// The group of git. It needs no entry in /etc/group. systemd assigns ids from 61184 on, and containers may have only
/// 65536.
const GROUP: u32 = 61_170;

/// The user of git for an app of root's.
const NOBODY: u32 = 65_534;

/// The resources of git: 192 KiB of a pack can ask for gigabytes. Mapped packs do not count as memory.
pub(super) const LIMITS: Limits = Limits {
    memory: 1 << 30,
    file: 8 << 30,
    processes: 8192,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitUser {
    /// `None`: the daemon is not root, and git runs as its user.
    account: Option<Account>,
}

impl GitUser {
    /// The user of git for an app that runs as `account`.
    #[must_use]
    pub fn of(account: Option<&Account>) -> Self {
        let account = account.cloned().map(|mut account| {
            if account.is_root() {
                account = Account {
                    user: "nobody".into(),
                    uid: NOBODY,
                    groups: Vec::new(),
                    ..account
                };
            }
            account.groups.retain(|gid| *gid != 0);
            Account {
                gid: GROUP,
                ..account
            }
        });
        Self { account }
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    fn owner(&self) -> Option<Owner> {
        let owner = |account: &Account| Owner {
            uid: account.uid,
            gid: account.gid,
        };
        self.account.as_ref().map(owner)
    }

    /// Lets git write to `places` only.
    pub(super) fn landlock(places: &[&Path]) -> Landlock {
        let devices = ["/dev/null", "/dev/zero"].map(PathBuf::from);
        let places = places.iter().map(|place| place.to_path_buf());
        Landlock {
            protected: vec!["/".into()],
            writable: places.chain(devices).collect(),
            sockets: vec![],
        }
    }

    /// Makes the directory at `path`, or takes it over with its content, so that only git can enter. Its parent must
    /// be ours. Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)` and `chown(2)`.
    pub(super) fn directory(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let Some(owner) = self.owner() else {
            return tree::directory(path, 0o700, None);
        };
        let top = Owner {
            uid: 0,
            gid: owner.gid,
        };
        let found = path.symlink_metadata().ok().filter(|m| m.is_dir());
        if let Some(found) = found {
            // An older server made all of it as root. In a newer one the owner of HEAD is the user for whom it was
            // made.
            let head = path.join("HEAD").symlink_metadata();
            let of_old = (found.uid(), found.gid()) != (top.uid, top.gid);
            let made_by = head.map_or(owner.uid, |head| head.uid());
            if of_old || made_by != owner.uid {
                tree::give_from(path, made_by, owner)?;
            }
        }
        tree::directory_of(path, 0o770, top)
    }

    /// Lets git read our file or directory at `path`. `mode` must give others nothing. Blocks.
    ///
    /// # Errors
    /// As `chown(2)` and `chmod(2)`.
    pub(super) fn readable(&self, path: &Path, mode: u32) -> io::Result<()> {
        if let Some(owner) = self.owner() {
            std::os::unix::fs::lchown(path, Some(0), Some(owner.gid))?;
        }
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
    }

    /// Makes the directory at `path` in a tree that git writes. Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub(super) fn inner_directory(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other?,
        }
        match self.owner() {
            Some(owner) => tree::directory_of(path, 0o755, owner),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_never_root_and_in_no_group_of_roots() {
        let root = Account {
            user: "root".into(),
            group: "root".into(),
            uid: 0,
            gid: 0,
            groups: vec![0, 4],
            shell: "/bin/sh".into(),
        };
        let git = GitUser::of(Some(&root)).account.unwrap();
        assert_eq!((git.uid, git.gid, git.groups.len()), (NOBODY, GROUP, 0));
        let app = Account {
            uid: 33,
            gid: 33,
            ..root
        };
        let git = GitUser::of(Some(&app)).account.unwrap();
        assert_eq!((git.uid, git.gid, git.groups), (33, GROUP, vec![4]));
        assert_eq!(GitUser::of(None).account, None);
    }
}
