//! Packs the mirror of an app that is pushed to, and drops what nothing names any more: what failed pushes and uploads
//! have left, and what a branch was before it was pushed by force.
//!
//! It would be wrong while somebody is at work there. Until git's hook `proc-receive` has ended, no ref leads to what is
//! being pushed, though the deploy reads it; git-fast-import(1) leaves out what the mirror has already, also what no ref
//! leads to; and of what a client has seen on the branch, it sends nothing. So whoever packs has the mirror alone
//! ([`Turns::in_use`](super::pushed::Turns::in_use)): pushes, uploads (until the app has accepted the commit), clones and
//! deploys all share it. None of them waits for this: git is killed when one comes, and begins again when all is quiet.
//!
//! Refs keep the commits of kept releases and of what the app is still to deploy. The app is asked for these when the
//! mirror is had alone: what was accepted before is among them, and what comes later must share the mirror first.
//!
//! Killed at any time, git loses nothing (git-repack(1) removes the old packs when the new one is in its place, and on
//! the disk); its half-made files go before the next try and when the server starts.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::git;
use super::limits::{StepError, StepLimits};
use super::mirror::Mirror;
use super::mirror_gc::HELD;
use super::mirror_size::MirrorSize;
use super::pushed::Pushed;
use super::yielding_lock::Exclusive;
use super::{release, upload};
use crate::app_dirs::AppDirs;
use crate::failpoint;

/// How long git may take. Nobody waits for it.
const PATIENCE: Duration = Duration::from_mins(30);

/// How often it begins again after somebody has come. The next deploy begins anew.
const TRIES: usize = 8;

/// Like builds, it lets what serves go first.
const NICE: i32 = 15;

impl Pushed {
    /// Packs the mirror when that is due ([`MirrorSize::is_due`]), and nobody is at work there. `to_deploy`: the commits
    /// that the app has accepted, and has no release of yet; `None`: the app is gone. Does nothing while another one does.
    ///
    /// What goes wrong is in the server's log.
    pub async fn gc(&self, to_deploy: impl AsyncFn() -> Option<BTreeSet<String>>) {
        let Some(mut claim) = self.turns().in_use.claim() else {
            return;
        };
        let dirs = &self.mirror.dirs;
        let name = dirs.name();
        for _ in 0..TRIES {
            let alone = claim.exclusive().await;
            let before = tidied(dirs).await;
            if !before.is_due() {
                return;
            }
            let Some(commits) = to_deploy().await else {
                return;
            };
            match self.pack_alone(&alone, commits).await {
                Ok(()) => {
                    let after = tidied(dirs).await;
                    log::info!("{name}: what was pushed is packed: {after}, before: {before}");
                    return;
                }
                Err(StepError::Cancelled) => {}
                Err(StepError::Failed(failure)) => {
                    tidied(dirs).await;
                    log::warn!(
                        "{name}: what was pushed cannot be packed: {}",
                        failure.reason
                    );
                    return;
                }
            }
        }
    }

    /// Packs, until somebody comes.
    async fn pack_alone(
        &self,
        alone: &Exclusive<'_>,
        commits: BTreeSet<String>,
    ) -> Result<(), StepError> {
        let (stop, stopped) = watch::channel(false);
        let slot = self.turns().packing.take().await;
        let mirror = Mirror {
            limits: StepLimits::new(PATIENCE, stopped),
            ..self.mirror_in(&slot)
        };
        let mut packing = std::pin::pin!(pack(&mirror, commits));
        tokio::select! {
            biased;
            () = alone.is_wanted() => {
                stop.send_replace(true);
                packing.await
            }
            packed = &mut packing => packed,
        }
    }
}

/// Removes what git has left half made, and looks at the rest. Nobody is at work in the mirror.
async fn tidied(dirs: &AppDirs) -> MirrorSize {
    let mirror = dirs.mirror();
    let tidied = spawn_blocking(move || {
        // There may be no mirror yet.
        let _nothing = upload::remove_remains(&mirror);
        MirrorSize::of(&mirror)
    });
    tidied.await.unwrap_or_default()
}

async fn pack(mirror: &Mirror, mut commits: BTreeSet<String>) -> Result<(), StepError> {
    let dirs = mirror.dirs.clone();
    let releases = spawn_blocking(move || release::list(&dirs)).await;
    let releases = releases.unwrap_or_default().into_iter();
    commits.extend(releases.map(|release| release.commit));
    hold(mirror, &commits).await?;
    failpoint::reach("before the mirror is packed");
    run(mirror, &["repack", "-a", "-d", "-q", "-n"]).await?;
    failpoint::reach("after the mirror is packed");
    run(mirror, &["prune", "--expire=now"]).await
}

/// Lets refs lead to `commits`, and to no others.
async fn hold(mirror: &Mirror, commits: &BTreeSet<String>) -> Result<(), StepError> {
    let arguments = ["for-each-ref", "--format=%(refname:lstrip=3)", HELD];
    let (_, held) = mirror.ask(&arguments).await?;
    let held: BTreeSet<&str> = held.lines().collect();
    for commit in commits {
        // A release may be older than the mirror.
        if !held.contains(commit.as_str()) && mirror.has(commit).await? {
            let name = format!("{HELD}/{commit}");
            mirror.must(&["update-ref", &name, commit]).await?;
        }
    }
    for stale in held.into_iter().filter(|held| !commits.contains(*held)) {
        let name = format!("{HELD}/{stale}");
        mirror.must(&["update-ref", "-d", &name]).await?;
    }
    Ok(())
}

/// Runs a git that may take long.
async fn run(mirror: &Mirror, arguments: &[&str]) -> Result<(), StepError> {
    let mut program = mirror.git(arguments);
    program.quiet = true;
    for (key, value) in [("pack.threads", "1"), ("pack.windowMemory", "128m")] {
        git::set(&mut program, key, value);
    }
    if let Some(confined) = &mut program.confined {
        confined.nice = Some(NICE);
    }
    mirror.succeed(arguments[0], &program).await
}
