//! A new document for an app that there is: written first, then told to the App, one change of an app after the other.

use std::sync::Arc;

use actix::prelude::*;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::{Apps, AppsError};
use crate::app::config::AppConfig;
use crate::app::supervisor::{Accepted, App, Configure, Deploy, Ticket};

/// Replaces an app's document and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Ticket, AppsError>")]
pub struct Replace(pub AppConfig);

/// Changes an app's document and does the least work for it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppsError>")]
pub struct Patch {
    /// The document that was changed: when it is another by now, the answer is [`AppsError::Stale`].
    pub base: Value,
    /// The changed one.
    pub config: AppConfig,
}

/// A document that is written, while no other of its app can be.
struct Written {
    app: Addr<App>,
    config: Arc<AppConfig>,
    _turn: OwnedMutexGuard<()>,
}

impl Apps {
    /// Writes `config` when it is its turn and, where `base` is given, the document is still that.
    fn take_document(
        &mut self,
        config: AppConfig,
        base: Option<Value>,
    ) -> ResponseActFuture<Self, Result<Written, AppsError>> {
        let name = config.name.clone();
        let Some(entry) = self.apps.get(&name) else {
            return Box::pin(fut::err(AppsError::NoSuchApp(name.to_string())));
        };
        let turn = Arc::clone(&entry.turn).lock_owned();
        Box::pin(turn.into_actor(self).then(move |turn, apps, _| {
            let app = match apps.may_take(&config, base.as_ref()) {
                Ok(app) => app,
                Err(error) => {
                    let refused: ResponseActFuture<Self, _> = Box::pin(fut::err(error));
                    return refused;
                }
            };
            let config = Arc::new(config);
            let written = apps.write(&config).into_actor(apps);
            Box::pin(written.map(move |written, apps, _| {
                apps.writes.end();
                written?;
                if let Some(entry) = apps.apps.get_mut(&name) {
                    entry.spec.config = Arc::clone(&config);
                    entry.spec.warnings.clear();
                }
                Ok(Written {
                    app,
                    config,
                    _turn: turn,
                })
            }))
        }))
    }

    fn may_take(&self, config: &AppConfig, base: Option<&Value>) -> Result<Addr<App>, AppsError> {
        let (name, app) = self.find(config.name.as_str())?;
        self.check_port(config)?;
        match self.apps.get(&name) {
            Some(entry) if entry.removal.is_some() => {
                Err(AppsError::Conflict(format!("\"{name}\" is being removed")))
            }
            Some(entry) if base.is_some_and(|base| *base != entry.spec.config.document) => {
                Err(AppsError::Stale(name))
            }
            _ => Ok(app),
        }
    }
}

/// Tells an App of its document, which it is to deploy.
pub(super) async fn deploy(app: Addr<App>, config: Arc<AppConfig>) -> Result<Ticket, AppsError> {
    match app.send(Deploy(config)).await {
        Ok(asked) => Ok(asked?),
        Err(_) => Err(is_restarting()),
    }
}

fn is_restarting() -> AppsError {
    AppsError::Conflict("the application is being restarted: try again in a moment".to_owned())
}

impl Handler<Replace> for Apps {
    type Result = ResponseActFuture<Self, Result<Ticket, AppsError>>;

    fn handle(&mut self, Replace(config): Replace, _: &mut Self::Context) -> Self::Result {
        let written = self.take_document(config, None);
        Box::pin(written.then(|written, apps, _| {
            let deployed = async move {
                let Written { app, config, _turn } = written?;
                deploy(app, config).await
            };
            deployed.into_actor(apps)
        }))
    }
}

impl Handler<Patch> for Apps {
    type Result = ResponseActFuture<Self, Result<Accepted, AppsError>>;

    fn handle(&mut self, Patch { base, config }: Patch, _: &mut Self::Context) -> Self::Result {
        let written = self.take_document(config, Some(base));
        Box::pin(written.then(|written, apps, _| {
            let configured = async move {
                let Written { app, config, _turn } = written?;
                match app.send(Configure(config)).await {
                    Ok(asked) => Ok(asked?),
                    Err(_) => Err(is_restarting()),
                }
            };
            configured.into_actor(apps)
        }))
    }
}
