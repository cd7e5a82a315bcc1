//! [`Earlier`]: the release before. A new release has hard links to its files instead of copies.
//!
//! A link is safe where nobody can write through it. So releases share only files that root owns and nobody may write
//! to, as the hand-over leaves them: the daemon is root and the app is not. A tree that is built in gets its links
//! during the hand-over ([`super::dedup`]). A tree with nothing to build begins as links; git then hashes every file
//! and writes those that differ from the commit, so that a file that somebody edited, or a disk damaged, is not passed
//! on.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, linkat, openat, openat2, statat,
};

use super::command::{self, Program};
use super::git_user::GitUser;
use super::limits::{StepError, StepLimits};
use super::mirror::Mirror;
use super::record::Step;
use super::{release, tree};
use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::formation::RELEASE;

/// The newest complete release of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub commit: String,
    pub directory: PathBuf,
    /// The group that its files must have.
    pub gid: u32,
    /// Whether its Procfile has one. Then the next release most likely has one too.
    pub has_release_phase: bool,
    /// Whether builders had something to do. Then they have most likely again.
    pub by_builders: bool,
}

impl Earlier {
    /// The newest release of an app that runs as `account`. `None`: there is none, or links are not safe. Without root
    /// the files belong to the app's own user, and an app of root can write anywhere. Blocks.
    #[must_use]
    pub fn find(dirs: &AppDirs, account: Option<&Account>) -> Option<Self> {
        let account = account.filter(|account| !account.is_root())?;
        let newest = release::list(dirs).pop()?;
        let loaded = release::load(dirs, newest.id);
        let has_release_phase = loaded.is_ok_and(|l| l.procfile.command(RELEASE).is_some());
        Some(Self {
            has_release_phase,
            by_builders: newest.built.by_builders,
            directory: dirs.release(newest.code()),
            commit: newest.commit,
            gid: account.gid,
        })
    }

    /// Whether a file is one that nobody can write to, as the hand-over leaves it. An empty one has nothing to share.
    pub(super) fn may_share(&self, stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_size > 0
            && tree::is_read_only(stat, tree::Owner::root_of(self.gid))
    }
}

/// Fills the new, empty directory `to` with links to the files that `commit` has in common with `earlier`, and the
/// mirror's index with their stat data, so that `git read-tree --reset -u` writes only the others. `false`: no file is
/// shared.
///
/// # Errors
/// The disk is full, a limit is reached.
pub(super) async fn seed(
    mirror: &Mirror,
    earlier: &Earlier,
    commit: &str,
    to: &Path,
) -> Result<bool, StepError> {
    let common = ["diff-tree", "-r", "-z", "--no-renames", "--name-only"];
    let arguments: Vec<&str> = common
        .into_iter()
        .chain([&earlier.commit, commit])
        .collect();
    // It fails if the mirror has lost the earlier commit.
    let Some(changed) = output(mirror, mirror.git(&arguments)).await? else {
        return Ok(false);
    };
    let changed: HashSet<Vec<u8>> = words(&changed).map(<[u8]>::to_vec).collect();
    // Attributes decide how a blob becomes a file, also a blob that has not changed.
    if changed.iter().any(|path| path.ends_with(b".gitattributes")) {
        return Ok(false);
    }
    let read = ["read-tree", "--reset", commit];
    let Some(_) = output(mirror, mirror.git_in_tree(&read, to)).await? else {
        return Ok(false);
    };
    let list = mirror.git_in_tree(&["ls-files", "-z"], to);
    let Some(listed) = output(mirror, list).await? else {
        return Ok(false);
    };
    let refresh = mirror.git_in_tree(&["update-index", "-q", "--refresh"], to);
    let (earlier, to, user) = (earlier.clone(), to.to_owned(), mirror.user.clone());
    let what = "cannot share the files of the release before";
    let link = move |limits: &StepLimits| {
        let same = words(&listed).filter(|path| !changed.contains(*path));
        link_all(&earlier, &to, &user, same, limits)
    };
    let linked = mirror.limits.blocking(Step::Checkout, what, link).await?;
    // It exits with 1 when a file differs from the index: read-tree then writes that file.
    output(mirror, refresh).await?;
    Ok(linked > 0)
}

/// The stdout of a git that exits with 0.
async fn output(mirror: &Mirror, mut program: Program) -> Result<Option<Vec<u8>>, StepError> {
    program.quiet = true;
    let finished = command::run(&program, &mirror.log, &mirror.limits).await?;
    Ok(finished.succeeded().then_some(finished.stdout))
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
}

/// Links those of `paths` that the earlier release has as read-only files, and returns how many. git writes the
/// others.
fn link_all<'a>(
    earlier: &Earlier,
    to: &Path,
    user: &GitUser,
    paths: impl Iterator<Item = &'a [u8]>,
    limits: &StepLimits,
) -> io::Result<usize> {
    // It may be gone: a release that did not start is removed.
    let Ok(from) = directory_at(&earlier.directory) else {
        return Ok(0);
    };
    let mut linked = 0;
    let mut open: Option<(PathBuf, OwnedFd, OwnedFd)> = None;
    for path in paths {
        limits.check()?;
        let path = Path::new(OsStr::from_bytes(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        if open.as_ref().is_none_or(|(known, ..)| known != parent) {
            open =
                parents(&from, to, user, parent)?.map(|(old, new)| (parent.to_owned(), old, new));
        }
        let (Some((_, old, new)), Ok(name)) = (&open, CString::new(name.as_bytes())) else {
            continue;
        };
        let found = statat(old, &name, AtFlags::SYMLINK_NOFOLLOW);
        let is_shared = found.is_ok_and(|stat| earlier.may_share(&stat) && is_of_git(&stat))
            && linkat(old, &name, new, &name, AtFlags::empty()).is_ok();
        linked += usize::from(is_shared);
    }
    Ok(linked)
}

/// Whether its mode is one of git's two without the right to write: a build may have changed it.
fn is_of_git(stat: &Stat) -> bool {
    matches!(stat.st_mode & 0o7777, 0o444 | 0o555)
}

/// Opens the directory `path` of the earlier release, and makes and opens the one of the new release. `None`: there is
/// no earlier one, or a link is on the way to it.
fn parents(
    from: &OwnedFd,
    to: &Path,
    user: &GitUser,
    path: &Path,
) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let place = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let Ok(old) = openat2(from, place, flags, Mode::empty(), way) else {
        return Ok(None);
    };
    // Only this deploy writes there.
    let mut new = to.to_owned();
    for part in path {
        new.push(part);
        user.inner_directory(&new)?;
    }
    Ok(Some((old, directory_at(&new)?)))
}

fn directory_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}
