//! Packs a mirror that is fetched when many fetches have added to it. git does that in the foreground and with one thread: nothing of
//! it goes on when the deploy has ended.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command;
use super::git;
use super::limits::StepError;
use super::mirror::Mirror;
use super::mirror_size::MirrorSize;

/// A mirror that takes longer to pack stays as it is; the next deploy tries again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Refs to the commits that are deployed. They keep those that no branch or tag leads to.
pub(super) const HELD: &str = "refs/procserver/held";

impl Mirror {
    /// Packs the mirror when that is due ([`MirrorSize::is_due`]), and drops what neither a branch, a tag nor one of
    /// `commits` needs.
    ///
    /// # Errors
    /// The deploy was cancelled.
    pub(super) async fn gc(&self, commits: &BTreeSet<String>) -> Result<(), StepError> {
        if self.remote.is_pushed() {
            // Others may be about to push: see [`super::pushed_gc`].
            return Ok(());
        }
        let path = self.path.clone();
        let is_due = tokio::task::spawn_blocking(move || MirrorSize::of(&path).is_due()).await;
        if !is_due.unwrap_or(false) {
            return Ok(());
        }
        let packed = self.pack(commits).await;
        if let Err(StepError::Failed(failure)) = packed {
            let remark = format!("remark: the mirror could not be packed: {}", failure.reason);
            self.log.line(remark).await;
            return Ok(());
        }
        packed
    }

    async fn pack(&self, commits: &BTreeSet<String>) -> Result<(), StepError> {
        let (_, held) = self
            .ask(&["for-each-ref", "--format=%(refname)", HELD])
            .await?;
        for name in held.lines() {
            self.must(&["update-ref", "-d", name]).await?;
        }
        for commit in commits {
            let name = format!("{HELD}/{commit}");
            self.must(&["update-ref", &name, commit]).await?;
        }
        let mut program = self.git(&["gc", "--quiet", "--force", "--prune=now"]);
        git::set(&mut program, "pack.threads", "1");
        let limits = self.limits.at_most(PATIENCE);
        command::run(&program, &self.log, &limits).await?;
        Ok(())
    }
}
