//! [`DiskUsage`]: what an application has on disk, by part, and its limit.
//!
//! A deploy over the limit is refused, and the status warns. Where the file system has project quotas, [`super::quota`] keeps
//! all that writes from going beyond.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Stat, fstat, statat};
use serde::Serialize;

use super::record::{Failure, Step};
use super::tree::{MAX_DEPTH, entries, open_directory};
use super::{disk_space, failure, quota};
use crate::app_dirs::AppDirs;
use crate::document::size;

/// A measurement is good for so long, and for twenty times as long as it took: a part in twenty of a disk's time at most.
const FRESH: Duration = Duration::from_secs(60);
const SHARE: u32 = 20;

/// Bytes that the file system has set aside for an app's files. What has several names counts once, in the first part
/// that it is in; what is mounted below is not the app's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskUsage {
    pub total: u64,
    /// The code of all kept releases, and their Python environments.
    pub releases: u64,
    /// `$STORAGE_DIR`.
    pub storage: u64,
    pub logs: u64,
    /// `$HOME` (the caches of package managers) and `$TMPDIR`.
    pub cache: u64,
    /// The mirrors of git repositories, and what the server notes of the app.
    pub repository: u64,
}

/// What has been counted on the way.
#[derive(Default)]
struct Seen {
    /// Files with several names: their inodes.
    linked: HashSet<u64>,
}

/// Looks at all files of an app. Blocks; takes a few microseconds a file.
#[must_use]
pub fn measure(dirs: &AppDirs) -> DiskUsage {
    let mut seen = Seen::default();
    let mut of = |path: &Path| seen.of_tree(path);
    let mut usage = DiskUsage {
        releases: of(&dirs.releases()) + of(&dirs.venvs()),
        storage: of(&dirs.storage()),
        logs: of(&dirs.logs()),
        cache: of(&dirs.home()) + of(&dirs.tmp()),
        ..DiskUsage::default()
    };
    let counted = [
        dirs.releases(),
        dirs.venvs(),
        dirs.storage(),
        dirs.logs(),
        dirs.home(),
        dirs.tmp(),
    ];
    let others = std::fs::read_dir(dirs.root()).into_iter().flatten();
    let others = others.flatten().map(|entry| entry.path());
    for other in others.filter(|path| !counted.contains(path)) {
        usage.repository += seen.of_tree(&other);
    }
    usage.total = usage.releases + usage.storage + usage.logs + usage.cache + usage.repository;
    usage
}

impl Seen {
    /// The bytes of what is at `path`, and below. What vanishes meanwhile, or cannot be read, counts as nothing.
    fn of_tree(&mut self, path: &Path) -> u64 {
        let Ok(stat) = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) else {
            return 0;
        };
        let own = self.of_entry(&stat);
        let below = open_directory(CWD, path).map(|top| self.below(&top, &stat, 0));
        own + below.unwrap_or_default()
    }

    /// Apps may have links and deep directories: each directory is opened from the one above, and no link is followed.
    fn below(&mut self, directory: &OwnedFd, top: &Stat, depth: usize) -> u64 {
        if depth > MAX_DEPTH || !is_of(directory, top) {
            return 0;
        }
        let mut bytes = 0;
        for (name, _) in entries(directory).unwrap_or_default() {
            let Ok(stat) = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if stat.st_dev != top.st_dev {
                continue;
            }
            bytes += self.of_entry(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                && let Ok(inner) = open_directory(directory.as_fd(), &name)
            {
                bytes += self.below(&inner, top, depth + 1);
            }
        }
        bytes
    }

    fn of_entry(&mut self, stat: &Stat) -> u64 {
        let is_linked =
            stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
        match is_linked && !self.linked.insert(stat.st_ino) {
            true => 0,
            // stat(2): blocks of 512 bytes, whatever the file system's are.
            false => u64::try_from(stat.st_blocks).unwrap_or_default() * 512,
        }
    }
}

fn is_of(directory: &OwnedFd, top: &Stat) -> bool {
    fstat(directory).is_ok_and(|stat| stat.st_dev == top.st_dev)
}

/// A measurement of one app, once there is one; who waits for it measures nothing a second time.
type Entry = Arc<Mutex<Option<Measured>>>;

#[derive(Clone, Copy, Debug)]
struct Measured {
    usage: DiskUsage,
    at: Instant,
    took: Duration,
}

impl Measured {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.at) < FRESH.max(self.took * SHARE)
    }
}

/// By the apps' directories.
static ALL: Mutex<Option<HashMap<PathBuf, Entry>>> = Mutex::new(None);

/// As [`measure`], or what was measured a short while ago. Blocks.
#[must_use]
pub fn lately(dirs: &AppDirs) -> DiskUsage {
    let entry = {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_default();
        // What was removed is not remembered for ever.
        all.retain(|root, _| root == dirs.root() || root.exists());
        Arc::clone(all.entry(dirs.root().to_owned()).or_default())
    };
    let mut known = entry.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    if let Some(measured) = known.filter(|measured| measured.is_fresh(begun)) {
        return measured.usage;
    }
    let usage = measure(dirs);
    let (at, took) = (Instant::now(), begun.elapsed());
    *known = Some(Measured { usage, at, took });
    usage
}

/// Bytes of the application, as far as they are known: the kernel's count where it keeps the limit, else [`lately`]'s.
/// Blocks.
#[must_use]
pub fn used(dirs: &AppDirs, limit: u64) -> u64 {
    match quota::left(dirs, limit) {
        // A limit that is more than the disk has is not what it counts down from.
        Some(left) if left > 0 && !quota::exceeds_the_disk(dirs, limit) => {
            limit.saturating_sub(left)
        }
        _ => lately(dirs).total,
    }
}

/// What a person should know of an app that nearly has, or has more than `limits.disk` allows.
#[must_use]
pub fn warning(usage: &DiskUsage, limit: u64, is_enforced: bool) -> Option<String> {
    let is_over = usage.total > limit;
    let is_near = u128::from(usage.total) * 10 >= u128::from(limit) * 9;
    let what = match (is_over, is_near) {
        (_, true) if is_enforced => {
            "nearly all that its limits.disk allows, and can write no more than that"
        }
        (true, _) => {
            "more than its limits.disk allows, and is not deployed again before it has less"
        }
        (false, true) => "nearly all that its limits.disk allows",
        (false, false) => return None,
    };
    Some(format!(
        "it has {} on disk, {what} ({}): {}",
        mebibytes(usage.total),
        size::shown(limit),
        parts(usage)
    ))
}

/// The failure of `step` if the app has more than `limit`. Blocks.
pub(super) fn over(step: Step, dirs: &AppDirs, limit: Option<u64>) -> Option<Failure> {
    let limit = limit?;
    let usage = measure(dirs);
    (usage.total > limit).then(|| {
        let reason = format!(
            "the application has {} on disk, its limits.disk is {}: {}",
            mebibytes(usage.total),
            size::shown(limit),
            parts(&usage)
        );
        Failure::new(step, reason).hint(LESS)
    })
}

/// Hint for an application that has no room.
const LESS: &str = "remove what it does not need, lower keep_releases, or raise limits.disk (procserver set NAME limits.disk=…)";

/// The failure of `step` if the kernel would soon let the app write no more. Blocks.
pub(super) fn used_up(step: Step, dirs: &AppDirs, limit: Option<u64>) -> Option<Failure> {
    let limit = limit?;
    let (left, floor) = (quota::left(dirs, limit)?, disk_space::floor(limit));
    (left < floor).then(|| {
        let reason = format!(
            "limits.disk {} is used up: {} of it are left, a deploy needs {}: {}",
            size::shown(limit),
            mebibytes(left),
            mebibytes(floor),
            parts(&measure(dirs))
        );
        Failure::new(step, reason).hint(LESS)
    })
}

/// As `failure`, but the limit is to blame: the disk is said to be full, and only the kernel has kept the app from writing
/// more. `None`: it is not. Blocks.
pub(super) fn blame_limit(failure: Failure, dirs: &AppDirs, limit: Option<u64>) -> Option<Failure> {
    let limit = limit?;
    let is_full =
        failure.reason.starts_with(failure::FULL) || failure::disk_is_full(&failure.log_tail);
    if !is_full || disk_space::is_full(dirs.apps()) {
        return None;
    }
    quota::left(dirs, limit)?;
    let what = failure.reason.strip_prefix(failure::FULL);
    let reason = format!(
        "limits.disk {} is used up: {} ({})",
        size::shown(limit),
        what.unwrap_or(&failure.reason),
        parts(&measure(dirs))
    );
    Some(Failure { reason, ..failure }.hint(LESS))
}

fn parts(usage: &DiskUsage) -> String {
    let mut parts = [
        ("releases", usage.releases),
        ("storage", usage.storage),
        ("logs", usage.logs),
        ("cache", usage.cache),
        ("repository", usage.repository),
    ];
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let shown = parts.map(|(name, bytes)| format!("{name} {}", mebibytes(bytes)));
    shown.join(", ")
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;

    fn app(top: &Path) -> AppDirs {
        let dirs = AppDirs::new(top, top, &AppName::parse("a").unwrap());
        for part in [
            dirs.release(1),
            dirs.release(2),
            dirs.storage(),
            dirs.mirror(),
        ] {
            std::fs::create_dir_all(part).unwrap();
        }
        dirs
    }

    #[test]
    fn what_has_several_names_counts_once_and_links_lead_nowhere() {
        let top = tempfile::tempdir().unwrap();
        let dirs = app(top.path());
        let before = measure(&dirs);
        let big = vec![7; 4 << 20];
        std::fs::write(dirs.release(1).join("big"), &big).unwrap();
        std::fs::hard_link(dirs.release(1).join("big"), dirs.release(2).join("big")).unwrap();
        std::fs::write(dirs.storage().join("upload"), &big[..1 << 20]).unwrap();
        std::fs::write(dirs.root().join("state.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/usr", dirs.storage().join("usr")).unwrap();
        let after = measure(&dirs);
        let within = |part: u64, old: u64, mebibytes: u64| {
            let more = part - old;
            (mebibytes << 20..(mebibytes << 20) + (256 << 10)).contains(&more)
        };
        assert!(within(after.releases, before.releases, 4), "{after:?}");
        assert!(within(after.storage, before.storage, 1), "{after:?}");
        assert!(after.repository > before.repository, "{after:?}");
        let all = after.releases + after.storage + after.logs + after.cache + after.repository;
        assert_eq!(after.total, all);
        assert_eq!(lately(&dirs), after);
        std::fs::write(dirs.storage().join("more"), &big).unwrap();
        assert_eq!(lately(&dirs), after, "it is measured once in a while");
    }

    #[test]
    fn who_is_near_or_over_the_limit_is_told_by_what() {
        let usage = |total| DiskUsage {
            total,
            storage: total,
            ..DiskUsage::default()
        };
        let limit = 100 << 20;
        assert_eq!(warning(&usage(89 << 20), limit, true), None);
        let near = warning(&usage(90 << 20), limit, false).unwrap();
        assert!(
            near.contains("nearly") && near.contains("(100M): storage 90 MiB"),
            "{near}"
        );
        let over = warning(&usage(101 << 20), limit, false).unwrap();
        assert!(over.contains("more than its limits.disk"), "{over}");
        let kept = warning(&usage(100 << 20), limit, true).unwrap();
        assert!(kept.contains("can write no more"), "{kept}");
    }
}
