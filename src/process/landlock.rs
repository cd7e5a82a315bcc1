//! [`Landlock`]: keeps an app from writing outside of its own directories by landlock(7), whoever owns the files.
//!
//! Ownership alone keeps an app from its release only where the daemon is root, and never from the files of another app
//! of the same user. Landlock knows no prohibitions, only permissions for whole trees. So it permits writing to all
//! that lies beside the path to what is protected. The few directories on that path (`/`, `/var`, `/var/lib`) take no
//! new entries from an app; where the daemon is root, their owner denies that anyway. Below a directory that is open to
//! all, such as `/tmp`, nothing is restricted: apps need that directory more.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::app_dirs::AppDirs;

/// Linux 6.2: writing, truncating, creating, removing, moving. An older kernel keeps what it knows of these.
const KNOWN: ABI = ABI::V3;

/// Its number.
pub const NEWEST: u8 = 3;

/// Where an app may not write, and the exceptions below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    /// The server's own directories; `/`: everything.
    pub protected: Vec<PathBuf>,
    /// The app's own places in them.
    pub writable: Vec<PathBuf>,
    /// Directories in them in which it may make and remove sockets, and nothing else: sockets take no space.
    #[serde(default)]
    pub sockets: Vec<PathBuf>,
}

impl Landlock {
    /// Restricts all that runs for an app as `account`: install commands, the release phase, processes. `server` are
    /// the server's directories. `None`: it runs as root, who may do what landlock would forbid besides, such as
    /// mounting.
    #[must_use]
    pub fn of_app(account: Option<&Account>, server: [&Path; 2], dirs: &AppDirs) -> Option<Self> {
        let uid = account.map_or_else(|| nix::unistd::geteuid().as_raw(), |account| account.uid);
        (uid != 0).then(|| Self {
            protected: server.map(Path::to_owned).to_vec(),
            writable: vec![dirs.storage(), dirs.tmp(), dirs.home()],
            sockets: vec![],
        })
    }

    /// Permits one more place to be written.
    #[must_use]
    pub fn but(mut self, writable: PathBuf) -> Self {
        self.writable.push(writable);
        self
    }
}

/// The newest of the kernel's versions of landlock up to [`NEWEST`]; `None`: it has none.
#[must_use]
pub fn level() -> Option<u8> {
    let has = |abi: &ABI| {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = ruleset.handle_access(AccessFs::from_write(*abi));
        ruleset.and_then(Ruleset::create).is_ok()
    };
    let known = [(3, KNOWN), (2, ABI::V2), (1, ABI::V1)];
    known
        .iter()
        .find(|(_, abi)| has(abi))
        .map(|(number, _)| *number)
}

/// Says in the log whether landlock keeps apps from writing to these directories of the server. Blocks.
pub fn prepare(protected: &[&Path]) {
    let tried = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V1))
        .and_then(Ruleset::create);
    match tried {
        Ok(_) => match protected.iter().find_map(|path| above_open_to_all(path)) {
            None => {
                log::info!(
                    "landlock keeps apps from writing to releases and to each other's files"
                );
            }
            Some(open) => log::info!(
                "landlock is not used, since all may write to {} and apps may need to: \
                 only the owners of files keep them from writing to the server's own files there",
                open.display()
            ),
        },
        Err(e) => log::info!(
            "no landlock here ({e}): only the owners of files keep apps from writing to them"
        ),
    }
}

impl Landlock {
    /// Restricts the calling process, which must have one thread, and all that it starts, for good.
    pub(super) fn apply(&self) -> Result<(), LandlockError> {
        let writing = AccessFs::from_write(KNOWN);
        let mut protected = Vec::new();
        for path in &self.protected {
            match fs::canonicalize(path) {
                Ok(path) => protected.push(path),
                // Hidden by `mounts` in another that is protected: nothing is there to be written to.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(LandlockError::io(path)(e)),
            }
        }
        if protected
            .iter()
            .any(|path| above_open_to_all(path).is_some())
        {
            return Ok(());
        }
        let mut open = Vec::new();
        beside(Path::new("/"), &protected, &mut open)?;
        open.extend(self.writable.iter().cloned());
        let restricted = Ruleset::default()
            .handle_access(writing)?
            .create()?
            .add_rules(path_beneath_rules(open, writing))?
            .add_rules(path_beneath_rules(
                &self.sockets,
                AccessFs::MakeSock | AccessFs::RemoveFile,
            ))?
            .restrict_self()?;
        match restricted.ruleset {
            RulesetStatus::NotEnforced => Err(LandlockError::Missing),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

/// Why nothing is restricted.
#[derive(Debug, thiserror::Error)]
pub(super) enum LandlockError {
    /// A directory could not be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The kernel has no landlock, or was booted without.
    #[error("this kernel has none")]
    Missing,
    /// The kernel.
    #[error(transparent)]
    Landlock(#[from] RulesetError),
}

impl LandlockError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io(path, source)
    }
}

/// The directory above this one in which every user may make entries, if there is one. Blocks.
fn above_open_to_all(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let mut above = path.ancestors().skip(1);
    above
        .find(|directory| is_open_to_all(directory))
        .map(Path::to_owned)
}

fn is_open_to_all(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o002 != 0)
}

/// Lists everything below `directory` that is not on the path to what is protected. Links are left out: what they lead
/// to is listed where it lies.
fn beside(
    directory: &Path,
    protected: &[PathBuf],
    open: &mut Vec<PathBuf>,
) -> Result<(), LandlockError> {
    if protected.iter().any(|path| path == directory) {
        return Ok(());
    }
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in entries.map_err(LandlockError::io(directory))? {
        let path = entry.path();
        let kind = entry.file_type().map_err(LandlockError::io(&path))?;
        if protected.contains(&path) || kind.is_symlink() {
            continue;
        }
        match protected.iter().any(|p| p.starts_with(&path)) {
            true => beside(&path, protected, open)?,
            false => open.push(path),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_open_but_the_way_down() {
        let root = tempfile::tempdir().expect("tempdir");
        for name in ["var/lib/us/apps", "var/lib/them", "var/log", "home"] {
            fs::create_dir_all(root.path().join(name)).expect("directory");
        }
        std::os::unix::fs::symlink("var/lib/us", root.path().join("link")).expect("link");
        let (mut open, us) = (Vec::new(), root.path().join("var/lib/us"));
        beside(root.path(), &[us], &mut open).expect("readable");
        open.sort();
        let expected = ["home", "var/lib/them", "var/log"].map(|name| root.path().join(name));
        assert_eq!(open, expected);
    }
}
