//! Changes the document of an app: writes it first, then tells the App. Changes of one app come one after the other.

use std::sync::Arc;

use actix::prelude::*;
use serde_json::Value;

use super::size::check_size;
use super::{Apps, AppsError, Turn};
use crate::app::deployer::Accepted;
use crate::app::supervisor::{App, Configure};
use crate::document::config::AppConfig;
use crate::document::name::AppName;
use crate::events::By;

/// Replaces an app's document and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppsError>")]
pub struct Replace {
    /// The document that is to be replaced, where that matters: when it is another by now, the answer is
    /// [`AppsError::Stale`].
    pub base: Option<Value>,
    pub config: AppConfig,
    pub by: By,
}

/// Changes an app's document and does the least work for it.
#[derive(Message, Debug)]
#[rtype(result = "Result<Accepted, AppsError>")]
pub struct Patch {
    /// Held since before `base` was looked at.
    pub turn: Turn,
    /// The document that was changed: when it is another by now, the answer is [`AppsError::Stale`].
    pub base: Value,
    pub config: AppConfig,
    pub by: By,
}

/// A document that is written. It holds the app's turn, so that nobody writes another one.
struct Written {
    app: Addr<App>,
    config: Arc<AppConfig>,
    _turn: Turn,
}

impl Apps {
    /// Writes `config`, unless the present document is another than `base`.
    fn take_document(
        &mut self,
        turn: Turn,
        config: AppConfig,
        base: Option<&Value>,
    ) -> ResponseActFuture<Self, Result<Written, AppsError>> {
        let app = match self.may_take(&turn, &config, base) {
            Ok(app) => app,
            Err(error) => return Box::pin(fut::err(error)),
        };
        let config = Arc::new(config);
        self.begin_claim(&config);
        let written = self.write(&config).into_actor(self);
        Box::pin(written.map(move |written, apps, _| {
            apps.writes.end();
            apps.end_claim(&turn.name);
            written?;
            if let Some(entry) = apps.apps.get_mut(&turn.name) {
                entry.spec.config = Arc::clone(&config);
            }
            // Those were about the file that it has replaced.
            apps.warn(&turn.name, vec![]);
            Ok(Written {
                app,
                config,
                _turn: turn,
            })
        }))
    }

    fn may_take(
        &self,
        turn: &Turn,
        config: &AppConfig,
        base: Option<&Value>,
    ) -> Result<Addr<App>, AppsError> {
        check_size(config)?;
        self.is_held(turn)?;
        let (name, app) = self.find(turn.name.as_str())?;
        self.check_claims(config)?;
        self.is_base(&name, base).map(|()| app)
    }

    /// Checks that the present document is `base`, where there is one.
    pub(super) fn is_base(&self, name: &AppName, base: Option<&Value>) -> Result<(), AppsError> {
        match self.apps.get(name) {
            // It was changed meanwhile.
            Some(entry) if base.is_some_and(|base| *base != entry.spec.config.document) => {
                Err(AppsError::Stale(name.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// Tells an App its new document, which is that of application `name`.
pub(super) async fn tell(
    app: Addr<App>,
    name: AppName,
    document: Configure,
) -> Result<Accepted, AppsError> {
    let asked = app.send(document).await;
    Ok(asked.map_err(|_| AppsError::Restarting(name))??)
}

impl Handler<Replace> for Apps {
    type Result = ResponseActFuture<Self, Result<Accepted, AppsError>>;

    fn handle(&mut self, replace: Replace, _: &mut Self::Context) -> Self::Result {
        let Replace { base, config, by } = replace;
        let turn = self.turn(config.name.clone());
        let written = turn.then(move |turn, apps, _| match turn {
            Ok(turn) => apps.take_document(turn, config, base.as_ref()),
            Err(error) => Box::pin(fut::err(error)),
        });
        Box::pin(written.then(|written, apps, _| {
            let deployed = async move {
                let Written { app, config, _turn } = written?;
                tell(app, config.name.clone(), Configure::Deploy(config, by)).await
            };
            deployed.into_actor(apps)
        }))
    }
}

impl Handler<Patch> for Apps {
    type Result = ResponseActFuture<Self, Result<Accepted, AppsError>>;

    fn handle(&mut self, patch: Patch, _: &mut Self::Context) -> Self::Result {
        let Patch {
            turn,
            base,
            config,
            by,
        } = patch;
        let written = self.take_document(turn, config, Some(&base));
        Box::pin(written.then(|written, apps, _| {
            let configured = async move {
                let Written { app, config, _turn } = written?;
                tell(app, config.name.clone(), Configure::LeastWork(config, by)).await
            };
            configured.into_actor(apps)
        }))
    }
}
