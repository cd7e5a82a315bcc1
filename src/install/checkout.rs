//! Writes the files of a release from the commits of its repositories. Until that is done, only the daemon and git can
//! enter the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::command;
use super::failure;
use super::filters;
use super::hard_links;
use super::hard_links::Earlier;
use super::lfs::{self, Placed};
use super::lfs_store;
use super::limits::{StepError, blocking};
use super::mirror::Mirror;
use super::mirror_upkeep;
use super::record::Failure;
use super::slugignore;
use super::submodules::Part;
use super::tree;

/// What git prints about a commit that cannot be written here. The mirror is not to blame for it.
const BAD_TREE: [&str; 3] = ["invalid path", "name too long", "unable to create symlink"];

/// Writes the files of all `parts` into the new directory `to`, without a `.git`, and shares with `earlier` what is
/// the same. Returns what the app's owner should know. `may_have_filters`: some files may be in Git LFS, or encrypted.
///
/// # Errors
/// git fails, the disk is full, a limit is reached.
pub(super) async fn place(
    parts: &[Part],
    may_have_filters: bool,
    to: &Path,
    earlier: Option<&Earlier>,
) -> Result<Vec<String>, StepError> {
    let mut remarks = Vec::new();
    let mut mirrors: BTreeMap<PathBuf, UsedMirror> = BTreeMap::new();
    for part in parts {
        let directory = to.join(&part.at);
        // Submodules are always written anew.
        let earlier = earlier.filter(|_| part.at.is_empty());
        write(part, to, &directory, earlier).await?;
        let mut placed = Placed::default();
        if may_have_filters {
            placed = lfs::place(part, &directory).await?;
            remarks.extend(placed.remark.take());
            remarks.extend(filters::encrypted(part, &directory).await?);
        }
        let entry = mirrors.entry(part.mirror.path.clone());
        let used = entry.or_insert_with(|| UsedMirror {
            mirror: part.mirror.clone(),
            commits: BTreeSet::new(),
            objects: BTreeSet::new(),
        });
        used.commits.insert(part.commit.clone());
        used.objects.extend(placed.objects);
    }
    let used: BTreeSet<PathBuf> = mirrors.keys().cloned().collect();
    for (path, used) in mirrors {
        let UsedMirror {
            mirror,
            commits,
            objects,
        } = used;
        mirror.gc(&commits).await?;
        let step = mirror.log.step();
        blocking(step, "cannot tidy the mirror", move || {
            lfs_store::prune(&path, &objects)
        })
        .await?;
    }
    if let Some(Part { mirror, .. }) = parts.first() {
        let (top, what) = (to.to_owned(), "cannot remove what .slugignore names");
        let heeded = move || slugignore::apply(&top);
        remarks.extend(blocking(mirror.log.step(), what, heeded).await?);
        let modules = mirror.dirs.modules();
        blocking(mirror.log.step(), "cannot tidy the mirrors", move || {
            mirror_upkeep::prune_modules(&modules, &used)
        })
        .await?;
    }
    Ok(remarks)
}

/// A mirror, and what this release needs of it.
struct UsedMirror {
    mirror: Mirror,
    commits: BTreeSet<String>,
    /// Of Git LFS.
    objects: BTreeSet<String>,
}

/// Writes the files of one part. A mirror that lacks an object is made anew.
async fn write(
    part: &Part,
    root: &Path,
    directory: &Path,
    earlier: Option<&Earlier>,
) -> Result<(), StepError> {
    let Err(failure) = write_files(part, root, directory, earlier).await? else {
        return Ok(());
    };
    let is_bad = |line: &String| BAD_TREE.iter().any(|words| line.contains(words));
    let asks_too_much = failure::limit(failure.signal, &failure.log_tail).is_some();
    if asks_too_much
        || failure::disk_is_full(&failure.log_tail)
        || failure.log_tail.iter().any(is_bad)
    {
        return Err(failure.into());
    }
    part.mirror.repair().await?;
    // The commit may be on no branch any more.
    part.mirror.obtain(&part.commit).await?;
    Ok(write_files(part, root, directory, None).await??)
}

/// The inner error is git's own.
async fn write_files(
    part: &Part,
    root: &Path,
    directory: &Path,
    earlier: Option<&Earlier>,
) -> Result<Result<(), Failure>, StepError> {
    let mirror = &part.mirror;
    let step = mirror.log.step();
    let (new, old, top) = (directory.to_owned(), mirror.index(), root.to_owned());
    let (at, user) = (part.at.clone(), mirror.user.clone());
    blocking(step, "cannot make the release's directory", move || {
        if !at.is_empty() && !tree::is_directory_below(&top, &at) {
            let detail = format!("{at} is no directory of the checkout");
            return Err(io::Error::other(detail));
        }
        tree::remove(&new)?;
        tree::remove(&old)?;
        tree::remove(&old.with_extension("lock"))?;
        match at.is_empty() {
            true => user.directory(&new),
            false => user.inner_directory(&new),
        }
    })
    .await?;
    if let Some(earlier) = earlier {
        hard_links::seed(mirror, earlier, &part.commit, directory).await?;
    }
    let arguments = ["read-tree", "--reset", "-u", &part.commit];
    let mut program = mirror.git_in_tree(&arguments, directory);
    if let Some(confined) = &mut program.confined {
        let place = directory.to_owned();
        confined.landlock.writable.push(place);
    }
    let finished = command::run(&program, &mirror.log, &mirror.limits).await?;
    if finished.succeeded() {
        return Ok(Ok(()));
    }
    let (status, tail) = (finished.status, finished.tail);
    Ok(Err(failure::exited(step, "git read-tree", status, tail)))
}
