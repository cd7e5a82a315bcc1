//! [`Condition`]: what a mirror on the disk is good for.

use std::path::Path;

use super::Mirror;
use crate::install::limits::{StepError, blocking};
use crate::regular;

/// The HEAD of a mirror leads nowhere, so that nothing takes a commit for what is checked out (git-lfs would believe
/// the `.lfsconfig` of HEAD).
pub(super) const NO_HEAD: &str = "refs/procserver/none";

/// A HEAD is a line.
const MAX_HEAD: u64 = 4096;

const LOOK: &str = "cannot look at the mirror";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::install) enum Condition {
    Absent,
    Usable,
    /// It is of another URL.
    Foreign,
    Damaged,
}

impl Condition {
    pub(in crate::install) async fn of(mirror: &Mirror) -> Result<Self, StepError> {
        let path = mirror.path.clone();
        let look = move || Ok(Self::without_git(&path));
        if let Some(found) = blocking(mirror.log.step(), LOOK, look).await? {
            return Ok(found);
        }
        let (finished, url) = mirror
            .ask(&["config", "--local", "--get", "remote.origin.url"])
            .await?;
        Ok(match url.trim_end_matches('\n') {
            _ if !finished.succeeded() => Self::Damaged,
            url if url != mirror.remote.url() => Self::Foreign,
            _ if is_broken(mirror).await? => Self::Damaged,
            _ => Self::Usable,
        })
    }

    /// The condition, where it can be seen without git. Blocks.
    fn without_git(path: &Path) -> Option<Self> {
        match path.symlink_metadata() {
            Err(_) => Some(Self::Absent),
            Ok(found) if found.is_dir() && path.join("HEAD").is_file() => None,
            Ok(_) => Some(Self::Damaged),
        }
    }
}

/// Whether a branch or tag leads to no object: a pack is gone or damaged.
async fn is_broken(mirror: &Mirror) -> Result<bool, StepError> {
    let (finished, _) = mirror
        .ask(&["for-each-ref", "--format=%(objecttype)"])
        .await?;
    Ok(!finished.succeeded())
}

/// Whether HEAD is [`NO_HEAD`].
pub(super) async fn has_no_head(mirror: &Mirror) -> Result<bool, StepError> {
    let path = mirror.path.join("HEAD");
    let read = move || {
        let head = regular::read(&path, MAX_HEAD);
        Ok(head.is_ok_and(|head| head == format!("ref: {NO_HEAD}\n").as_bytes()))
    };
    blocking(mirror.log.step(), LOOK, read).await
}

/// Whether it is a copy of a shallow clone, of which older commits are missing.
pub(super) async fn is_shallow(mirror: &Mirror) -> Result<bool, StepError> {
    let path = mirror.path.join("shallow");
    let look = move || Ok(std::fs::metadata(path).is_ok_and(|found| found.len() > 0));
    blocking(mirror.log.step(), LOOK, look).await
}
