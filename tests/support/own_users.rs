//! The users that a server makes for its apps, as passwd has them.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::wait::{SOON, eventually, within};

/// Makes a user as an administrator would. Another test may hold the lock of passwd.
pub(crate) fn useradd(arguments: &[&str]) {
    eventually("the user is made", SOON, || {
        let made = Command::new("useradd").args(arguments).output().unwrap();
        let is_locked = String::from_utf8_lossy(&made.stderr).contains("lock");
        assert!(made.status.success() || is_locked, "{made:?}");
        made.status.success().then_some(())
    });
}

/// Removes one, for the end of a test: as long as another test may hold the lock of passwd, it is tried again.
pub(crate) fn userdel(name: &str) {
    let _gone_or_held = within(SOON, || {
        let gone = Command::new("userdel").arg(name).output().unwrap();
        let is_locked = String::from_utf8_lossy(&gone.stderr).contains("lock");
        (!is_locked).then_some(())
    });
}

/// The users of the apps of one data directory. Those that are left are removed when this is dropped.
pub(crate) struct OwnUsers(PathBuf);

impl OwnUsers {
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.to_owned())
    }

    /// Their names, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let mut names: Vec<String> = passwd.lines().filter_map(|line| self.own(line)).collect();
        names.sort();
        names
    }

    /// The name in this line of passwd, if it is of one of them: the comment has a hash of the app's directory.
    fn own(&self, line: &str) -> Option<String> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let comment = fields.nth(3)?.strip_prefix("procserver app ")?;
        let (app, hash) = comment.strip_suffix(')')?.split_once(" (")?;
        let own = Sha256::digest(self.0.join("apps").join(app).as_os_str().as_bytes());
        let own: String = own[..8].iter().map(|b| format!("{b:02x}")).collect();
        (own == hash).then(|| name.to_owned())
    }
}

impl Drop for OwnUsers {
    fn drop(&mut self) {
        for name in self.names() {
            userdel(&name);
        }
    }
}
