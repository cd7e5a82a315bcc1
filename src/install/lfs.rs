//! Git LFS: a repository holds pointers to files, and a server of its own has their content.
//!
//! git-lfs only downloads, into the mirror, and this file replaces the pointers. So git-lfs never runs as a filter of
//! git's. Of a repository's `.lfsconfig` only the URL is used, after the same check as any other, and the choice of
//! files.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::command;
use super::filters::{self, joined};
use super::git;
use super::gitmodules;
use super::lfs_pointer;
use super::lfs_pointer::Pointer;
use super::lfs_store::{open, replace, store};
use super::limits::{StepError, StepLimits};
use super::mirror::Mirror;
use super::record::Failure;
use super::remote::Remote;
use super::submodules::Part;
use crate::document::repository_url;

const PROGRAM: &str = "git-lfs";

/// What was done with the pointers of a part.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) objects: BTreeSet<String>,
    /// What the app's owner should know.
    pub(super) remark: Option<String>,
}

/// Downloads what `part` needs and its mirror lacks. Does nothing if it does not use LFS, or git-lfs is not installed.
///
/// # Errors
/// The server refuses or lacks an object, its URL is not allowed, a limit is reached.
pub(super) async fn fetch(part: &Part) -> Result<(), StepError> {
    // What is pushed here comes without them: this is no Git LFS server.
    if part.mirror.remote.is_pushed() {
        return Ok(());
    }
    if !is_used(part).await? || !git::has(part.mirror.log.step(), PROGRAM).await? {
        return Ok(());
    }
    let mirror = &part.mirror;
    let mut program = mirror.git(&["fetch", "origin", &part.commit]);
    program.name = PROGRAM;
    configure(part, &mut program).await?;
    let finished = mirror.reach(program).await?;
    if finished.succeeded() {
        return Ok(());
    }
    let reason = format!(
        "cannot fetch the Git LFS files of {}",
        mirror.remote.shown()
    );
    let failure = Failure::new(mirror.log.step(), reason).hint(
        "its last lines say why; check that the files were pushed (git lfs push --all) and that this server may read them",
    );
    Err(failure.status(finished.status).tail(finished.tail).into())
}

async fn is_used(part: &Part) -> Result<bool, StepError> {
    filters::is_used(part, "lfs").await
}

/// Applies the harmless part of the repository's `.lfsconfig`, above everything else that git-lfs reads.
async fn configure(part: &Part, program: &mut command::Program) -> Result<(), StepError> {
    git::set(program, "lfs.transfer.maxretries", "3");
    let pattern = r"^lfs\.(url|fetchinclude|fetchexclude)$";
    let wishes = part.settings(".lfsconfig", pattern).await?;
    let wishes = wishes.split('\0').filter_map(|wish| wish.split_once('\n'));
    for (key, value) in wishes {
        match key {
            "lfs.url" => git::set(program, key, &allowed(value, part)?),
            _ => git::set(program, key, value),
        }
    }
    Ok(())
}

/// The URL of a Git LFS server without its credentials. It gets the repository's only if it is the same server.
fn allowed(url: &str, part: &Part) -> Result<String, Failure> {
    let refused = |why: String| {
        let reason = format!("the Git LFS URL in .lfsconfig is not allowed: it {why}");
        Failure::new(part.mirror.log.step(), reason)
    };
    let url = gitmodules::resolved(url, part.mirror.remote.url())
        .ok_or_else(|| refused("leads out of the repository's own server".into()))?;
    repository_url::check(&url, false).map_err(|e| refused(e.to_string()))?;
    Ok(Remote::parse(&url).url().to_owned())
}

/// Replaces the pointers in `directory`, the checkout of `part`, by their files.
///
/// # Errors
/// As [`fetch`]; a full disk.
pub(super) async fn place(part: &Part, directory: &Path) -> Result<Placed, StepError> {
    if !is_used(part).await? {
        return Ok(Placed::default());
    }
    let pointers = pointers(part, directory).await?;
    let objects = pointers.iter().map(|(_, p)| p.id.clone()).collect();
    let total = pointers.len();
    let mut left = fill(&part.mirror, directory, pointers).await?;
    let is_installed = git::has(part.mirror.log.step(), PROGRAM).await?;
    if !left.is_empty() && is_installed {
        // Their objects may be damaged or gone.
        fetch(part).await?;
        left = fill(&part.mirror, directory, left).await?;
    }
    let remark = left
        .first()
        .map(|(path, _)| remark(is_installed, &joined(&part.at, path), left.len()));
    let log = &part.mirror.log;
    match &remark {
        Some(remark) => log.line(format!("remark: {remark}")).await,
        None if total > 0 => log.line(format!("{total} files from Git LFS")).await,
        None => {}
    }
    Ok(Placed { objects, remark })
}

fn remark(installed: bool, first: &str, count: usize) -> String {
    let what = match count {
        1 => format!("{first} is only a pointer to a file in Git LFS"),
        _ => format!("{count} files, {first} among them, are only pointers to files in Git LFS"),
    };
    if installed {
        return format!("{what}: .lfsconfig leaves them out");
    }
    format!(
        "{what}: git-lfs is not installed on this machine; add \"git-lfs\" to `packages`, or apt-get install git-lfs, then redeploy"
    )
}

/// The files that git would give to LFS and that are pointers.
async fn pointers(part: &Part, directory: &Path) -> Result<Vec<(String, Pointer)>, StepError> {
    let mirror = &part.mirror;
    let files = filters::files(part, directory, &["lfs"]).await?;
    let directory = directory.to_owned();
    let (step, what) = (mirror.log.step(), "cannot read the checkout");
    let read = move |limits: &StepLimits| {
        let mut found = Vec::new();
        for path in files {
            limits.check()?;
            let Some(file) = open(&directory, &path, false)? else {
                continue;
            };
            let mut bytes = Vec::new();
            file.take(lfs_pointer::MAX + 1).read_to_end(&mut bytes)?;
            found.extend(lfs_pointer::parse(&bytes).map(|pointer| (path, pointer)));
        }
        Ok(found)
    };
    mirror.limits.blocking(step, what, read).await
}

/// Replaces `pointers`. Returns those whose object is not there.
async fn fill(
    mirror: &Mirror,
    directory: &Path,
    pointers: Vec<(String, Pointer)>,
) -> Result<Vec<(String, Pointer)>, StepError> {
    let (store, root) = (store(&mirror.path), directory.to_owned());
    let (step, what) = (mirror.log.step(), "cannot write a file from Git LFS");
    let work = move |limits: &StepLimits| {
        let mut left = Vec::new();
        for (path, pointer) in pointers {
            limits.check()?;
            if !replace(&store, &root, &path, &pointer, limits)? {
                left.push((path, pointer));
            }
        }
        Ok(left)
    };
    mirror.limits.blocking(step, what, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_pointers_is_told_what_to_install() {
        let one = remark(false, "a.bin", 1);
        assert!(one.starts_with("a.bin is only a pointer") && one.contains("git-lfs"));
        let many = remark(false, "lib/a.bin", 3);
        assert!(many.starts_with("3 files, lib/a.bin among them"));
        assert!(remark(true, "a", 1).ends_with(".lfsconfig leaves them out"));
    }
}
