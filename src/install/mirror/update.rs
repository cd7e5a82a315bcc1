//! One update of a mirror from its remote, and why it did not work.

use super::Mirror;
use crate::install::limits::{StepError, blocking};
use crate::install::record::Failure;
use crate::install::remote_error::refusal;
use crate::install::{deploy_key, failure};

/// Why an update did not work.
pub(super) enum Trouble {
    /// A new mirror may cure it.
    Damage(Failure),
    /// Some refs have names that are too long for a file; the others are up to date.
    LongNames,
    /// The remote names its objects by this format, the mirror by another.
    Format(&'static str),
}

/// Fetches all branches and tags, as the remote has them now.
pub(super) async fn update(mirror: &Mirror) -> Result<Result<(), Trouble>, StepError> {
    let program = mirror.git(&[
        "fetch",
        "--progress",
        "--prune",
        "--force",
        "--no-auto-maintenance",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        // Without it, nothing is fetched from a shallow clone.
        "--update-shallow",
        "--",
        mirror.remote.url(),
        "+refs/heads/*:refs/heads/*",
        "+refs/tags/*:refs/tags/*",
    ]);
    let finished = match mirror.reach(program).await {
        Ok(finished) if finished.succeeded() => return Ok(Ok(())),
        ended => {
            mirror.clear().await?;
            ended?
        }
    };
    if has_long_names(&finished.tail) {
        let remark =
            "remark: some branches or tags have names too long for this machine; they are left out";
        mirror.log.line(remark).await;
        return Ok(Err(Trouble::LongNames));
    }
    if let Some(format) = format_of_remote(&finished.tail) {
        return Ok(Err(Trouble::Format(format)));
    }
    let step = mirror.log.step();
    let (ssh, dirs) = (deploy_key::ssh(&mirror.dirs), mirror.dirs.clone());
    let read = move || Ok(deploy_key::public(&dirs));
    let key = blocking(step, "cannot read the deploy key", read).await?;
    let (status, tail) = (finished.status, finished.tail);
    match refusal(step, &mirror.remote, &ssh, key.as_deref(), status, &tail) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(Err(Trouble::Damage(failure::exited(
            step,
            "git fetch",
            status,
            tail,
        )))),
    }
}

/// The object format of the remote, where git refused to fetch because the mirror has another.
fn format_of_remote(tail: &[String]) -> Option<&'static str> {
    let line = tail
        .iter()
        .find(|line| line.contains("mismatched algorithms"))?;
    ["sha1", "sha256"]
        .into_iter()
        .find(|format| line.ends_with(&format!("server {format}")))
}

/// Whether a ref was not written because its name is too long for a file. git says so at the end of the line, which
/// may be cut off: then the name alone is longer than a file name may be.
fn has_long_names(tail: &[String]) -> bool {
    const LONGEST_FILE_NAME: usize = 255;
    tail.iter().any(|line| {
        line.contains("name too long")
            || (line.starts_with("error: cannot lock ref") && line.len() > LONGEST_FILE_NAME)
    })
}
