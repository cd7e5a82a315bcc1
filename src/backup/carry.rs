//! Carries out a restore that is written down: at once, and at the next start where a server was killed. Each application
//! comes whole, its files by one rename, or not at all; what was done is not done again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::{Actor, Handler, Message};
use serde::Serialize;

use super::error::BackupError;
use super::place::FILES;
use super::restore::{Plan, Work, planned_document};
use super::server_files;
use crate::app::apps::{Apps, AppsError, Create, Find, Remove, RemoveOrphan};
use crate::app::deployer::Accepted;
use crate::app_dirs::AppDirs;
use crate::document::config::Rules;
use crate::document::name::AppName;
use crate::events::By;
use crate::settings::Settings;
use crate::supervision::ChildRef;
use crate::{durable, failpoint};

/// How long the application may take to go whose place is taken.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What became of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Those that are deployed now.
    pub applications: Vec<String>,
    /// Those that are not there, each with the reason.
    pub failed: Vec<Failed>,
    pub notes: Vec<String>,
    /// Token or certificates count from the next start on.
    pub needs_restart: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    pub name: String,
    pub reason: String,
}

/// What a restore works with.
#[derive(Clone, Debug)]
pub struct Carrier {
    pub apps: ChildRef<Apps>,
    pub settings: Arc<Settings>,
    pub rules: Rules,
}

impl Carrier {
    /// Goes on with a restore of an earlier server, if there is one.
    pub async fn go_on(self) {
        let work = Work::new(&self.settings.data_dir);
        match blocking({
            let work = work.clone();
            move || work.plan()
        })
        .await
        {
            // One that was not written down yet.
            Ok(None) => {
                if let Err(error) = blocking(move || work.clear()).await {
                    log::warn!("restore: {error}");
                }
            }
            Ok(Some(plan)) => {
                log::info!("a restore goes on: {}", plan.applications.join(" "));
                match self.carry_out(plan).await {
                    Ok(done) => done.log(),
                    Err(error) => log::error!("restore: {error}"),
                }
            }
            Err(error) => log::error!("restore: {error}"),
        }
    }

    /// Does what is planned.
    ///
    /// # Errors
    /// Of the server's own part. What fails of an application is in the answer.
    pub async fn carry_out(&self, plan: Plan) -> Result<Carried, BackupError> {
        let work = Work::new(&self.settings.data_dir);
        let mut done = Carried::default();
        for name in &plan.applications {
            let restored = match AppName::parse(name) {
                Ok(name) => self.application(&work, &name, plan.replace).await,
                Err(error) => Err(error.to_string()),
            };
            match restored {
                Ok(()) => done.applications.push(name.clone()),
                Err(reason) => done.failed.push(Failed {
                    name: name.clone(),
                    reason,
                }),
            }
        }
        let settings = Arc::clone(&self.settings);
        let placed = blocking(move || {
            let placed = server_files::put_aside(&work, &plan, &settings)?;
            failpoint::reach("before a restore is over");
            work.clear()?;
            Ok(placed)
        })
        .await?;
        (done.notes, done.needs_restart) = (placed.notes, placed.needs_restart);
        Ok(done)
    }

    async fn application(&self, work: &Work, name: &AppName, replace: bool) -> Result<(), String> {
        let dirs = AppDirs::new(&self.settings.data_dir, &self.settings.runtime_dir, name);
        let staged = work.application(name).join(FILES);
        let config = {
            let (work, name, rules) = (work.clone(), name.clone(), self.rules.clone());
            blocking(move || planned_document(&work, &name, &rules)).await
        };
        let config = config.map_err(|e| e.to_string())?;
        if staged.is_dir() {
            self.make_room(name, &dirs, replace).await?;
            failpoint::reach("before files are restored");
            place(&staged, dirs.root()).map_err(|e| format!("{}: {e}", dirs.root().display()))?;
            failpoint::reach("after files are restored");
        }
        match self.create(name, config).await {
            // A server that was killed had come so far.
            Ok(()) | Err(AppsError::Exists(_)) => Ok(()),
            Err(error) => {
                // Its files are not to be taken for somebody else's.
                let _kept = place(dirs.root(), &staged);
                Err(error.to_string())
            }
        }
    }

    /// Removes what is there of that name, or refuses.
    async fn make_room(&self, name: &AppName, dirs: &AppDirs, replace: bool) -> Result<(), String> {
        let exists = !matches!(
            self.ask(Find(name.to_string())).await?,
            Err(AppsError::NoSuchApp(_))
        );
        if exists && !replace {
            return Err(AppsError::Exists(name.clone()).to_string());
        }
        if exists {
            let remove = Remove {
                name: name.to_string(),
                base: None,
                keep_storage: false,
                by: By::restore(),
            };
            if let Ok(Accepted::Underway(mut ticket)) = self.ask(remove).await? {
                let gone = ticket.outcome.wait_for(Option::is_some);
                // An error: the actor was restarted, and its successor goes on.
                drop(tokio::time::timeout(PATIENCE, gone).await);
            }
            let deadline = Instant::now() + PATIENCE;
            while dirs.root().exists() || self.is_known(name).await? {
                if Instant::now() > deadline {
                    return Err(AppsError::NotGoneYet(name.clone()).to_string());
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        if !replace && dirs.root().exists() {
            return Err(format!(
                "files of an earlier \"{name}\" are in {}",
                dirs.root().display()
            ));
        }
        self.remove_orphan(name, dirs).await
    }

    /// Removes files that no application has. A removal that is under way comes to its end first.
    async fn remove_orphan(&self, name: &AppName, dirs: &AppDirs) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while dirs.root().exists() {
            match self.ask(RemoveOrphan(name.clone())).await? {
                Ok(()) | Err(AppsError::NoSuchOrphan(_)) => {}
                Err(AppsError::NoOrphan(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    async fn is_known(&self, name: &AppName) -> Result<bool, String> {
        let found = self.ask(Find(name.to_string())).await?;
        Ok(!matches!(found, Err(AppsError::NoSuchApp(_))))
    }

    async fn create(
        &self,
        name: &AppName,
        config: crate::document::config::AppConfig,
    ) -> Result<(), AppsError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = self.ask(Create(config.clone(), By::restore())).await;
            match asked {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(AppsError::NotGoneYet(_))) if Instant::now() < deadline => {}
                Ok(Err(error)) => return Err(error),
                Err(reason) if Instant::now() > deadline => {
                    return Err(AppsError::NotStored {
                        change: "written",
                        reason,
                    });
                }
                // The actor is being restarted; if it had written the document, it is there now.
                Err(_) => {
                    if self.is_known(name).await.unwrap_or(false) {
                        return Ok(());
                    }
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result, String>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Apps: Handler<M>,
        <Apps as Actor>::Context: ToEnvelope<Apps, M>,
    {
        let gone = || "the server is busy, or stops".to_owned();
        let apps = self.apps.get().ok_or_else(gone)?;
        apps.send(message).await.map_err(|_| gone())
    }
}

impl Carried {
    fn log(&self) {
        for name in &self.applications {
            log::info!("{name}: restored");
        }
        for Failed { name, reason } in &self.failed {
            log::error!("{name}: not restored: {reason}");
        }
        self.notes
            .iter()
            .for_each(|note| log::warn!("restore: {note}"));
    }
}

/// Moves a directory, in one step.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    for parent in [from.parent(), to.parent()].into_iter().flatten() {
        durable::sync_directory(parent)?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = actix_rt::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(BackupError::Output(io::Error::other(error))))
}
