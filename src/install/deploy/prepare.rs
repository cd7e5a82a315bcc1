//! What must be there before the first step of a deploy: the app's directories, room on the disk, and the shell.

use std::io;

use super::Deploy;
use crate::app_dirs::AppDirs;
use crate::install::limits::{StepError, blocking};
use crate::install::record::{Failure, Step};
use crate::install::{
    build, disk_space, disk_usage, first_deploy, home, instances, quota, release,
};

impl Deploy {
    /// Makes the app's directories, and removes what interrupted deploys left.
    pub(super) async fn prepare(&self, step: Step) -> Result<(), StepError> {
        let (dirs, account) = (self.spec.dirs.clone(), self.spec.account.clone());
        let (release, in_use) = (self.spec.release, self.spec.in_use.clone());
        let kept = self.spec.config.keep_releases;
        let (disk, use_cache) = (self.spec.config.limits.disk, self.spec.use_cache);
        let refused = blocking(step, "cannot make the app's directories", move || {
            instances::kill_remains(&dirs);
            quota::follow(&dirs);
            build::make_directories(&dirs, account.as_ref())?;
            first_deploy::note(&dirs)?;
            release::sweep(&dirs, &[], u64::MAX);
            release::discard(&dirs, release);
            let barrier = match &account {
                Some(account) => build::barrier(&dirs.releases(), account)?,
                None => None,
            };
            let barred = barrier
                .zip(account)
                .map(|(barrier, account)| build::barred(step, &barrier, &account));
            match use_cache {
                true => home::tidy(&dirs),
                false => home::clear(&dirs),
            }
            let prune = || release::prune(&dirs, kept.saturating_sub(1), &in_use, u64::MAX);
            let short = make_room(step, &dirs, disk, prune)?;
            Ok(barred.or(short))
        })
        .await?;
        refused.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Fails if the document's shell is not installed. Its package may be among the document's.
    pub(super) async fn shell(&self, step: Step) -> Result<(), StepError> {
        let shell = self.spec.config.shell;
        let look = move || Ok(shell.is_there());
        if blocking(step, "cannot look for the shell", look).await? {
            return Ok(());
        }
        let path = shell.path();
        let reason = format!("there is no {path} on this machine, which the field shell names");
        let hint = "its package: packages: [\"bash\"]; without the field shell /bin/sh is taken";
        self.log.at(step).line(&reason).await;
        Err(Failure::new(step, reason).hint(hint).into())
    }
}

/// Removes what can be had again while there is too little room on the disk or below the application's limit `disk`:
/// first what can be downloaded again, then by `prune` the oldest release, which would go after this deploy. What is
/// short even then fails the deploy.
fn make_room(
    step: Step,
    dirs: &AppDirs,
    disk: Option<u64>,
    prune: impl Fn(),
) -> io::Result<Option<Failure>> {
    let look = || -> io::Result<Option<Failure>> {
        let missing = disk_space::missing(step, dirs.apps())?;
        Ok(missing.or_else(|| disk_usage::used_up(step, dirs, disk)))
    };
    let mut missing = look()?;
    if missing.is_some() || disk_usage::over(step, dirs, disk).is_some() {
        home::clear(dirs);
        missing = look()?;
    }
    if missing.is_some() {
        prune();
        missing = look()?;
    }
    let mut over = disk_usage::over(step, dirs, disk);
    if over.is_some() {
        prune();
        over = disk_usage::over(step, dirs, disk);
    }
    Ok(missing.or(over))
}
