//! The caches of package managers in an app's HOME: what they have downloaded and compiled, kept across releases. Blocks.
//!
//! They count as `cache` in the app's disk usage. They are emptied where they have grown beyond [`LIMIT`], where the disk
//! or `limits.disk` is short, and by a redeploy without caches.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::CWD;

use super::kept;
use super::tree::{self, open_directory};
use crate::app_dirs::AppDirs;

/// The most that they may have when a deploy begins; bytes.
const LIMIT: u64 = 4 << 30;

/// pip, uv, Poetry, Pipenv, Yarn, Go's compiler, cargo's target (`.cache`), npm, cargo, Go, Bundler, Composer, pnpm.
const CACHES: [&str; 9] = [
    ".cache",
    ".npm",
    ".cargo/registry",
    ".cargo/git",
    "go/pkg",
    ".bundle/cache",
    ".composer/cache",
    ".local/share/pnpm",
    ".yarn",
];

/// Empties them if they are too large.
pub(super) fn tidy(dirs: &AppDirs) {
    let sizes = CACHES
        .iter()
        .filter_map(|name| kept::inventory(&dirs.home(), Path::new(name)));
    let is_large = sizes.map(|size| size.bytes).sum::<u64>() > LIMIT;
    if is_large {
        clear(dirs);
    }
}

/// Empties them. What cannot be removed stays, and the server's log says so.
pub(super) fn clear(dirs: &AppDirs) {
    for name in CACHES {
        match remove(dirs, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {name} in {}: {error}", dirs.home().display());
            }
            _ => {}
        }
    }
}

/// The app owns all below its HOME, so each directory is opened from the one above, through no link.
fn remove(dirs: &AppDirs, name: &str) -> io::Result<()> {
    let mut at = open_directory(CWD, dirs.home())?;
    let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        at = open_directory(at.as_fd(), parent)?;
    }
    tree::remove_at(&at, &CString::new(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;

    #[test]
    fn caches_go_and_nothing_else_and_links_lead_nowhere() {
        let top = tempfile::tempdir().unwrap();
        let dirs = AppDirs::new(top.path(), top.path(), &AppName::parse("a").unwrap());
        let home = dirs.home();
        for path in [
            ".cache/pip",
            ".npm/_cacache",
            "go/pkg/mod",
            "go/src",
            ".bundle",
        ] {
            std::fs::create_dir_all(home.join(path)).unwrap();
        }
        std::fs::write(home.join(".bundle/config"), "x").unwrap();
        let outside = top.path().join("outside/registry");
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(top.path().join("outside"), home.join(".cargo")).unwrap();
        tidy(&dirs);
        assert!(home.join(".npm").exists());
        clear(&dirs);
        for gone in [".cache", ".npm", "go/pkg"] {
            assert!(!home.join(gone).exists(), "{gone}");
        }
        for there in ["go/src", ".bundle/config", ".cargo"] {
            assert!(home.join(there).symlink_metadata().is_ok(), "{there}");
        }
        assert!(outside.exists());
    }
}
