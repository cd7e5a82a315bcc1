//! [`Shm`]: what an app has as `/dev/shm`, shared by all its processes.
//!
//! A directory in the machine's `/dev/shm`, so it is in memory and has its limits. It lies in one that only root can
//! enter: on the machine nobody else reads or runs what is left in it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::app_dirs::AppDirs;

pub(super) const PLACE: &str = "/dev/shm";

/// In [`PLACE`]: holds those of all apps of all servers of this machine.
const PARENT: &str = ".procserver";

/// The directory that is an app's `/dev/shm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shm(String);

impl Shm {
    /// That of the app with these directories.
    #[must_use]
    pub fn of(dirs: &AppDirs) -> Self {
        let hash = Sha256::digest(dirs.root().as_os_str().as_bytes());
        Self(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Where it is; `None`: it has not been made. Blocks.
    #[must_use]
    pub fn found(&self) -> Option<PathBuf> {
        let parent = Path::new(PLACE).join(PARENT);
        let found = fs::symlink_metadata(&parent).ok()?;
        let is_ours = found.is_dir() && found.mode() & 0o077 == 0 && found.uid() == 0;
        let path = parent.join(&self.0);
        (is_ours && rustix::process::geteuid().is_root() && path.is_dir()).then_some(path)
    }

    /// Opens it; as root, who makes it where it is not there. Somebody who has made a directory of that name before gets
    /// nothing.
    pub(super) fn make(&self) -> io::Result<OwnedFd> {
        let place = openat(CWD, PLACE, directory(), Mode::empty())?;
        let parent = make_in(&place, PARENT, 0o700)?;
        let found = fstat(&parent)?;
        if found.st_uid != 0 || found.st_mode & 0o077 != 0 {
            return Err(io::Error::other("belongs to somebody else"));
        }
        Ok(make_in(&parent, &self.0, 0o1777)?)
    }
}

fn directory() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn make_in(parent: &OwnedFd, name: &str, mode: u32) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(mode);
    let made = match mkdirat(parent, name, Mode::RWXU) {
        Err(Errno::EXIST) => false,
        made => made.map(|()| true)?,
    };
    let opened = openat(parent, name, directory(), Mode::empty())?;
    // Not what another has made. Again where a helper was killed here; two that do so at once do the same.
    if made || fstat(&opened)?.st_uid == 0 {
        fchmod(&opened, mode)?;
    }
    Ok(opened)
}
