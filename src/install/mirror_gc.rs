//! Packs a mirror when many fetches have added to it. git does that in the foreground and with one thread: nothing of
//! it goes on when the deploy has ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command;
use super::git;
use super::limits::StepError;
use super::mirror::Mirror;

/// Each fetch adds a pack, or loose objects when they are few.
const MAX_PACKS: usize = 12;
const MAX_LOOSE: usize = 3000;

/// A mirror that takes longer to pack stays as it is; the next deploy tries again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Refs to the commits that are deployed. They keep those that no branch or tag leads to.
const HELD: &str = "refs/procserver/held";

impl Mirror {
    /// Packs the mirror when it has many packs or loose objects, and drops what neither a branch, a tag nor one of
    /// `commits` needs.
    ///
    /// # Errors
    /// The deploy was cancelled.
    pub(super) async fn gc(&self, commits: &BTreeSet<String>) -> Result<(), StepError> {
        if self.remote.is_pushed() {
            // Others may be about to push: see [`super::pushed`].
            return Ok(());
        }
        let path = self.path.clone();
        let needed = tokio::task::spawn_blocking(move || needs_gc(&path)).await;
        if !needed.unwrap_or(false) {
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

fn needs_gc(mirror: &Path) -> bool {
    let count = |directory: PathBuf, ending: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok());
        names.filter(|name| name.ends_with(ending)).count()
    };
    let objects = mirror.join("objects");
    if count(objects.join("pack"), ".pack") > MAX_PACKS {
        return true;
    }
    let loose = (0..=255).map(|n| count(objects.join(format!("{n:02x}")), ""));
    loose.sum::<usize>() > MAX_LOOSE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_packs_or_objects_need_gc() {
        let home = tempfile::tempdir().unwrap();
        assert!(!needs_gc(home.path()));
        let packs = home.path().join("objects/pack");
        std::fs::create_dir_all(&packs).unwrap();
        for n in 0..=MAX_PACKS {
            std::fs::write(packs.join(format!("pack-{n}.pack")), "x").unwrap();
        }
        assert!(needs_gc(home.path()));
    }
}
