//! Requests that name an app which may not be there, or concern all of them: create, find, list.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use super::configure::tell;
use super::size::check_size;
use super::turns::Turn;
use super::{Apps, AppsError};
use crate::app::config_dir;
use crate::app::deployer::Accepted;
use crate::app::removal::finish_removal;
use crate::app::status::{AppState, PreviewStatus, Reach, Summary};
use crate::app::supervisor::{App, Configure, IsAtWork, Summarize};
use crate::document::config::AppConfig;
use crate::document::name::AppName;
use crate::events::By;
use crate::install::deploy_key;

/// Adds an app and deploys it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Accepted, AppsError>")]
pub struct Create(pub AppConfig, pub By);

/// Lists all apps by name.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<Summary>")]
pub struct List;

#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Addr<App>, AppsError>")]
pub struct Find(pub String);

/// An app that was added and will be deployed. Nobody else has its turn.
struct Added {
    app: Addr<App>,
    config: Arc<AppConfig>,
    turn: Option<Turn>,
}

impl Apps {
    pub(super) fn find(&self, name: &str) -> Result<(AppName, Addr<App>), AppsError> {
        let name = self.known(name)?;
        let child = self.apps.get(&name).and_then(|e| e.child.as_ref());
        match child {
            Some((_, child)) => Ok((name, child.addr.clone())),
            None => Err(AppsError::Restarting(name)),
        }
    }

    fn may_create(&self, config: &AppConfig) -> Result<(), AppsError> {
        check_size(config)?;
        let name = &config.name;
        let is_going = |entry: &super::Entry| entry.removal.is_some();
        match self.apps.get(name) {
            Some(entry) if !is_going(entry) => Err(AppsError::Exists(name.clone())),
            None if self.writing.contains_key(name) => Err(AppsError::Exists(name.clone())),
            None if !self.finishing.contains(name) => {
                self.check_previews(config)?;
                self.check_claims(config)
            }
            _ => Err(AppsError::NotGoneYet(name.clone())),
        }
    }

    /// Adds an app whose document is written.
    fn add_created(
        &mut self,
        config: Arc<AppConfig>,
        ctx: &mut Context<Self>,
    ) -> Result<Added, AppsError> {
        let mut spec = self.spec(Arc::clone(&config), vec![]);
        spec.deploy_at_start = false;
        self.add(spec, ctx);
        if let Some(entry) = self.apps.get_mut(&config.name) {
            entry.spec.deploy_at_start = true;
        }
        let (name, app) = self.find(config.name.as_str())?;
        let turn = self.first_turn(&name);
        Ok(Added { app, config, turn })
    }

    /// Writes the document of a new app. Removes what an earlier removal left first: nothing of it may be inherited.
    fn write_new(&mut self, config: &Arc<AppConfig>) -> BoxFuture<'static, Result<(), AppsError>> {
        self.writes.begin();
        let (directory, config) = (self.context.settings.config_dir.clone(), Arc::clone(config));
        let dirs = self.dirs(&config.name);
        let app = config.preview.as_ref();
        let app = app.map(|preview| self.dirs(&preview.app));
        let written = actix_rt::task::spawn_blocking(move || {
            let name = &config.name;
            // If the directory is gone, the write says so.
            let removals = config_dir::removals(&directory).unwrap_or_default();
            if let Some(keep_storage) = removals.get(name) {
                finish_removal(&directory, name, &dirs, *keep_storage).map_err(|e| {
                    let why = format!("what was \"{name}\" before is not all removed: {e}");
                    io::Error::new(e.kind(), why)
                })?;
            }
            // Who knows the key of the application need not be told of another one.
            let has_copied = app.map_or(Ok(false), |app| deploy_key::copy(&app, &dirs))?;
            let written = config_dir::write(&directory, &config);
            if has_copied && written.is_err() {
                // The first error says what is wrong. What is left is an orphan.
                let _taken_back = deploy_key::take_back(&dirs);
            }
            written
        });
        stored("written", written)
    }

    /// To be followed by `self.writes.end()`.
    pub(super) fn write(
        &mut self,
        config: &AppConfig,
    ) -> BoxFuture<'static, Result<(), AppsError>> {
        self.writes.begin();
        let (directory, config) = (self.context.settings.config_dir.clone(), config.clone());
        let present = self.apps.get(&config.name);
        let present = present.map(|entry| Arc::clone(&entry.spec.config));
        let rules = self.context.rules();
        let written = actix_rt::task::spawn_blocking(move || {
            if let Some(present) = present {
                config_dir::set_aside_edit(&directory, &present, &rules);
            }
            config_dir::write(&directory, &config)
        });
        stored("written", written)
    }
}

/// The result of a change of the config directory.
pub(super) fn stored(
    change: &'static str,
    job: actix_rt::task::JoinHandle<io::Result<()>>,
) -> BoxFuture<'static, Result<(), AppsError>> {
    let result = job.map(move |result| {
        let reason = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        Err(AppsError::NotStored { change, reason })
    });
    result.boxed()
}

impl Handler<Create> for Apps {
    type Result = ResponseActFuture<Self, Result<Accepted, AppsError>>;

    fn handle(&mut self, Create(config, by): Create, _: &mut Self::Context) -> Self::Result {
        if let Err(error) = self.may_create(&config) {
            return Box::pin(fut::err(error));
        }
        let config = Arc::new(config);
        self.begin_claim(&config);
        let written = self.write_new(&config).into_actor(self);
        let added = written.map(move |written, apps, ctx| {
            apps.writes.end();
            apps.end_claim(&config.name);
            written?;
            let added = apps.add_created(Arc::clone(&config), ctx);
            apps.remove_if_orphaned(&config, ctx);
            added
        });
        Box::pin(added.then(|added: Result<_, AppsError>, apps, _| {
            let deployed = async move {
                let Added { app, config, turn } = added?;
                let deployed = tell(app, config.name.clone(), Configure::Deploy(config, by)).await;
                // From now on it may be removed.
                drop(turn);
                deployed
            };
            deployed.into_actor(apps)
        }))
    }
}

impl Handler<List> for Apps {
    type Result = ResponseFuture<Vec<Summary>>;

    fn handle(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        let asked = self.apps.values().map(summary);
        Box::pin(join_all(asked.collect::<Vec<_>>()))
    }
}

/// Asks an app how it is. One that does not answer has failed.
pub(super) fn summary(entry: &super::Entry) -> impl Future<Output = Summary> + use<> {
    let child = entry.child.as_ref().map(|(_, child)| child.addr.clone());
    let config = Arc::clone(&entry.spec.config);
    async move {
        if let Some(app) = child
            && let Ok(Ok(summary)) =
                tokio::time::timeout(Duration::from_secs(2), app.send(Summarize)).await
        {
            return summary;
        }
        Summary {
            name: config.name.to_string(),
            state: AppState::Failed,
            release: None,
            commit: None,
            url: None,
            memory_bytes: 0,
            last_failure: None,
            paused_until: None,
            maintenance: false,
            preview: PreviewStatus::of(&config, None),
            reach: Reach::default(),
            pids: vec![],
            tasks: vec![],
        }
    }
}

/// The apps with an operation under way, or whose removal is.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<AppName>")]
pub struct AtWork;

impl Handler<AtWork> for Apps {
    type Result = ResponseFuture<Vec<AppName>>;

    fn handle(&mut self, _: AtWork, _: &mut Self::Context) -> Self::Result {
        let going = self.finishing.iter().cloned().collect::<Vec<_>>();
        let asked = self.apps.iter().filter_map(|(name, entry)| {
            let (name, (_, child)) = (name.clone(), entry.child.as_ref()?);
            let answer = child.addr.send(IsAtWork);
            // One that is being restarted looks at what is to do by itself.
            Some(async move { answer.await.unwrap_or(false).then_some(name) })
        });
        let asked = join_all(asked.collect::<Vec<_>>());
        Box::pin(async move { asked.await.into_iter().flatten().chain(going).collect() })
    }
}

/// Asks whether it still answers.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Ping;

impl Handler<Ping> for Apps {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<Find> for Apps {
    type Result = Result<Addr<App>, AppsError>;

    fn handle(&mut self, Find(name): Find, _: &mut Self::Context) -> Self::Result {
        self.find(&name).map(|(_, app)| app)
    }
}
