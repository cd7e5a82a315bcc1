//! What the API asks of all apps, and of none in particular.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::watch;

use super::Apps;
use super::configure::deploy;
use crate::app::config::AppConfig;
use crate::app::config_dir;
use crate::app::name::AppName;
use crate::app::status::{AppState, Summary};
use crate::app::supervisor::{self, App, AppError, Summarize, Ticket};

/// Why Apps refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppsError {
    /// 404.
    #[error(
        "there is no application \"{0}\": GET /applications, or \"procserver apps\", lists them"
    )]
    NoSuchApp(String),
    /// 409.
    #[error(
        "there is an application \"{0}\" already: PUT /applications/{0}, or \"procserver update\", replaces its document"
    )]
    Exists(AppName),
    /// 409: it is being removed, or its port belongs to another app.
    #[error("{0}")]
    Conflict(String),
    /// The document was changed by somebody else since it was looked at.
    #[error("the configuration of \"{0}\" is being changed by others as well: try again")]
    Stale(AppName),
    /// 507: the configuration could not be written; the old one is intact.
    #[error("{0}")]
    Storage(String),
}

/// Adds an app and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppsError>")]
pub struct Create(pub AppConfig);

/// Stops an app and removes it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppsError>")]
pub struct Remove {
    /// Which.
    pub name: String,
    /// Keep `storage/`.
    pub keep_storage: bool,
}

/// Lists all apps by name.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<Summary>")]
pub struct List;

/// Finds an app.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Addr<App>, AppsError>")]
pub struct Find(pub String);

impl Apps {
    pub(super) fn find(&self, name: &str) -> Result<(AppName, Addr<App>), AppsError> {
        let missing = || AppsError::NoSuchApp(name.chars().take(80).collect());
        let name = AppName::parse(name).map_err(|_| missing())?;
        let entry = self.apps.get(&name).ok_or_else(missing)?;
        match &entry.child {
            Some((_, child)) => Ok((name, child.addr.clone())),
            None => Err(AppsError::Conflict(format!(
                "\"{name}\" is being restarted: try again in a moment"
            ))),
        }
    }

    /// A listener of its own must not be another one's, nor a port that processes are given.
    pub(super) fn check_port(&self, config: &AppConfig) -> Result<(), AppsError> {
        let Some(port) = config.port else {
            return Ok(());
        };
        let other = self.apps.values().map(|e| &e.spec.config);
        if let Some(other) = other
            .filter(|o| o.name != config.name)
            .find(|o| o.port == Some(port))
        {
            return Err(AppsError::Conflict(format!(
                "port {port} belongs to \"{}\": choose another",
                other.name
            )));
        }
        let settings = &self.host.settings;
        if settings.listen.iter().any(|address| address.port() == port) {
            return Err(AppsError::Conflict(format!(
                "port {port} is the server's own: choose another"
            )));
        }
        let (first, last) = settings.ports;
        if (first..=last).contains(&port) {
            return Err(AppsError::Conflict(format!(
                "port {port} is in the range {first}-{last} that processes are given: choose one outside it"
            )));
        }
        Ok(())
    }

    /// To be followed by `self.writes.end()`.
    pub(super) fn write(
        &mut self,
        config: &AppConfig,
    ) -> BoxFuture<'static, Result<(), AppsError>> {
        self.writes.begin();
        let (directory, config) = (self.host.settings.config_dir.clone(), config.clone());
        let written =
            actix_rt::task::spawn_blocking(move || config_dir::write(&directory, &config));
        stored("written", written)
    }
}

fn stored(
    done: &'static str,
    job: actix_rt::task::JoinHandle<io::Result<()>>,
) -> BoxFuture<'static, Result<(), AppsError>> {
    let result = job.map(move |result| {
        let reason = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        Err(AppsError::Storage(format!(
            "the configuration could not be {done}, nothing is changed: {reason}"
        )))
    });
    result.boxed()
}

impl From<AppError> for AppsError {
    fn from(error: AppError) -> Self {
        Self::Conflict(error.to_string())
    }
}

impl Handler<Create> for Apps {
    type Result = ResponseActFuture<Self, Result<Ticket, AppsError>>;

    fn handle(&mut self, Create(config): Create, _: &mut Self::Context) -> Self::Result {
        let name = config.name.clone();
        let refused = match self.apps.get(&name) {
            Some(entry) if entry.removal.is_some() => Err(AppsError::Conflict(format!(
                "\"{name}\" is being removed: try again when it is gone"
            ))),
            Some(_) => Err(AppsError::Exists(name)),
            None if self.creating.contains(&name) => Err(AppsError::Exists(name)),
            None => self.check_port(&config),
        };
        if let Err(error) = refused {
            return Box::pin(fut::err(error));
        }
        self.creating.insert(config.name.clone());
        let written = self.write(&config);
        let added = written.into_actor(self).map(move |written, apps, ctx| {
            apps.writes.end();
            apps.creating.remove(&config.name);
            written?;
            let mut spec = apps.spec(config, vec![]);
            let config = Arc::clone(&spec.config);
            spec.deploy_at_start = false;
            apps.add(spec, ctx);
            if let Some(entry) = apps.apps.get_mut(&config.name) {
                entry.spec.deploy_at_start = true;
            }
            let (_, app) = apps.find(config.name.as_str())?;
            Ok((app, config))
        });
        Box::pin(added.then(
            |added: Result<(Addr<App>, Arc<AppConfig>), AppsError>, apps, _| {
                let deployed = async move {
                    let (app, config) = added?;
                    deploy(app, config).await
                };
                deployed.into_actor(apps)
            },
        ))
    }
}

impl Handler<Remove> for Apps {
    type Result = ResponseActFuture<Self, Result<Ticket, AppsError>>;

    fn handle(
        &mut self,
        Remove { name, keep_storage }: Remove,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (name, app) = match self.find(&name) {
            Ok(found) => found,
            Err(error) => return Box::pin(fut::err(error)),
        };
        self.writes.begin();
        let (directory, gone) = (self.host.settings.config_dir.clone(), name.clone());
        let removed = actix_rt::task::spawn_blocking(move || config_dir::remove(&directory, &gone));
        let asked = async move {
            stored("removed", removed).await?;
            match app.send(supervisor::Remove { keep_storage }).await {
                Ok(asked) => Ok(asked?),
                Err(_) => Err(AppsError::Conflict(
                    "it is being restarted: try again in a moment".to_owned(),
                )),
            }
        };
        Box::pin(asked.into_actor(self).map(move |asked, apps, _| {
            apps.writes.end();
            let ticket: Ticket = asked?;
            let (waiting, outcome) = watch::channel(None);
            if let Some(entry) = apps.apps.get_mut(&name) {
                entry.removal = Some(super::Removal {
                    waiting,
                    ticket,
                    keep_storage,
                });
            } else {
                // It is gone already: so quick was nothing to stop.
                waiting.send_replace(ticket.outcome.borrow().clone());
            }
            Ok(Ticket {
                deployment: None,
                outcome,
            })
        }))
    }
}

impl Handler<List> for Apps {
    type Result = ResponseFuture<Vec<Summary>>;

    fn handle(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        let asked = self.apps.iter().map(|(name, entry)| {
            let child = entry.child.as_ref().map(|(_, child)| child.addr.clone());
            let name = name.to_string();
            async move {
                if let Some(app) = child
                    && let Ok(Ok(summary)) =
                        tokio::time::timeout(Duration::from_secs(2), app.send(Summarize)).await
                {
                    return summary;
                }
                Summary {
                    name,
                    state: AppState::Failed,
                    release: None,
                }
            }
        });
        Box::pin(join_all(asked.collect::<Vec<_>>()))
    }
}

impl Handler<Find> for Apps {
    type Result = Result<Addr<App>, AppsError>;

    fn handle(&mut self, Find(name): Find, _: &mut Self::Context) -> Self::Result {
        self.find(&name).map(|(_, app)| app)
    }
}
