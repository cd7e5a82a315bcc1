//! What a release needs before its engine can start it: on a swarm, its image.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Engine;
use crate::account::{Account, AccountError};
use crate::app::runnable::Runnable;
use crate::app_dirs::AppDirs;
use crate::document::package::Package;
use crate::failpoint;
use crate::install::install_log::{InstallLog, elapsed};
use crate::install::limits::{StepError, StepLimits};
use crate::install::record::{Failure, Step};
use crate::swarm::image::{Images, Owner, Wish, programs};

/// Whether a release is made ready when it is deployed. One that runs nothing, as that of static files, is when a person
/// has a command run in it.
#[must_use]
pub fn is_due(runnable: &Runnable) -> bool {
    let release = &runnable.release;
    let types = &release.procfile.entries;
    !types.is_empty() || !runnable.config.cron.is_empty() || release.has_release_phase()
}

/// Makes a release ready for its engine; `None`: it is ready, or was made so before.
#[must_use]
pub fn preparation(
    runnable: &Runnable,
    dirs: &AppDirs,
    log: InstallLog,
    limit: Duration,
) -> Option<impl Future<Output = Result<Runnable, Failure>> + use<>> {
    let Engine::Swarm(swarm, images) = &runnable.engine else {
        return None;
    };
    if runnable.image.is_some() {
        return None;
    }
    let (images, runnable, dirs) = (images.clone(), runnable.clone(), dirs.clone());
    let (notes, app) = (swarm.volume_notes.clone(), runnable.config.name.clone());
    Some(async move {
        log.line("=== image").await;
        failpoint::reach("before image");
        let began = Instant::now();
        // Who cancels drops this.
        let (_stays, cancel) = watch::channel(false);
        let limits = StepLimits::new(limit, cancel);
        let made = image_of(&images, runnable, dirs, &log, &limits).await;
        match &made {
            Ok(_) => {
                let _noted = actix_rt::task::spawn_blocking(move || notes.note(&app)).await;
                failpoint::reach("after image");
                log.line(format!("=== image done in {}", elapsed(began.elapsed())))
                    .await;
            }
            Err(failure) => {
                log.line(format!("=== image failed: {}", failure.reason))
                    .await;
                if let Some(hint) = &failure.hint {
                    log.line(format!("    {hint}")).await;
                }
            }
        }
        made
    })
}

async fn image_of(
    images: &Images,
    runnable: Runnable,
    dirs: AppDirs,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Runnable, Failure> {
    let runnable = Arc::new(runnable);
    let wished = {
        let runnable = Arc::clone(&runnable);
        actix_rt::task::spawn_blocking(move || wish(&runnable, &dirs)).await
    };
    let failed = |why: String| Failure::new(Step::Image, why);
    let wish = wished
        .map_err(|e| failed(e.to_string()))?
        .map_err(|e| failed(e.to_string()))?;
    let image = images.prepare(&wish, log, limits).await;
    let image = image.map_err(|error| match error {
        StepError::Failed(failure) => *failure,
        StepError::Cancelled => failed(error.to_string()),
    })?;
    Ok(Runnable {
        image: Some(image),
        ..Arc::unwrap_or_clone(runnable)
    })
}

/// What the image of a release is made of. Blocks: it looks at the release's files.
fn wish(runnable: &Runnable, dirs: &AppDirs) -> Result<Wish, AccountError> {
    let own;
    let account = match &runnable.account {
        Some(account) => account,
        None => {
            own = Account::current()?;
            &own
        }
    };
    let record = &runnable.release.record;
    let venv = record.built.venv.map(|id| dirs.venv(id));
    // All types: those that are scaled to 0 may run later with this image.
    let entries = runnable.release.procfile.entries.iter();
    let commands = entries.map(|entry| entry.command.as_str());
    let found = programs::packages(&runnable.release.directory, commands);
    let found = found.into_iter().map(|name| Package {
        name: name.to_owned(),
        version: None,
    });
    Ok(Wish {
        app: runnable.config.name.clone(),
        code: record.code(),
        files: std::iter::once(runnable.release.checkout.clone())
            .chain(venv)
            .collect(),
        writable: vec![dirs.storage(), dirs.tmp(), dirs.home()],
        owner: Owner::of(account, dirs.home()),
        packages: runnable.config.packages.clone(),
        found: found.collect(),
    })
}
