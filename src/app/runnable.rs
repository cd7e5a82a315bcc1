//! [`Runnable`]: a release with all that is needed to start its processes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use serde_json::Value;

use super::context::AppContext;
use super::engine::Engine;
use crate::account::{Account, AccountError, PER_APP};
use crate::app_dirs::AppDirs;
use crate::document::app_json;
use crate::document::change::config_of_release;
use crate::document::config::{AppConfig, FieldError, HealthCheck, Rules, StaticFiles};
use crate::document::formation::{Slot, formation};
use crate::install::build;
use crate::install::release::{self, Release, ReleaseRecord};
use crate::install::release_error::ReleaseError;
use crate::own_user;
use crate::process::environment;
use crate::settings::default_user::DefaultUser;
use crate::ssh_keys::HOME;
use crate::ssh_keys::user::is_of_ssh;
use crate::swarm::image::Image;

/// A release with all that is needed to start its processes.
#[derive(Clone, Debug)]
pub struct Runnable {
    /// What runs its processes.
    pub engine: Engine,
    /// The image that its engine runs, once it is made, where there must be one.
    pub image: Option<Image>,
    pub release: Release,
    /// The document it was made with, as true.
    pub config: Arc<AppConfig>,
    /// The account to switch to; `None` when the daemon cannot.
    pub account: Option<Account>,
    pub slots: Vec<Slot>,
    /// How its processes are checked.
    pub health: HealthCheck,
    /// Layers one to three of its environment.
    pub environment: BTreeMap<String, String>,
    pub warnings: Vec<String>,
    /// Apart, since a change of scale replaces them.
    pub scale_warnings: Vec<String>,
}

/// Why a release cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum RunnableError {
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("engine is \"swarm\", and the settings of the server name none any more")]
    NoSwarm,
    /// Its document is not allowed any more, e.g. after a change of the settings.
    #[error("the document of release {0} is not valid any more: {1}")]
    Document(u64, String),
}

impl Runnable {
    /// Loads a kept release, to run at the scale and route of the `standing` document. Blocks.
    ///
    /// # Errors
    /// [`RunnableError`].
    pub fn load(
        context: &AppContext,
        dirs: &AppDirs,
        id: u64,
        standing: &Arc<AppConfig>,
    ) -> Result<Self, RunnableError> {
        let release = release::load(dirs, id)?;
        let config = config_of_record(&context.rules(), &release.record)?;
        Self::new(context, dirs, release, config_of_release(&config, standing))
    }

    /// Makes a release ready to start. Blocks: it looks the account up.
    ///
    /// # Errors
    /// [`RunnableError::Account`].
    pub fn new(
        context: &AppContext,
        dirs: &AppDirs,
        release: Release,
        config: Arc<AppConfig>,
    ) -> Result<Self, RunnableError> {
        let engine = Engine::of(config.engine, context).ok_or(RunnableError::NoSwarm)?;
        let (account, mut warnings) = account(context, dirs, &config)?;
        if let Some(account) = &account {
            warnings.extend(build::follow(dirs, &release.checkout, account));
        }
        let base = base_environment(account.as_ref(), dirs)?;
        let configured = configured_environment(context, &config);
        let built = &release.record.built;
        let mut environment =
            environment::layered([&base, &built.env, &release.dotenv, &configured]);
        built.extend_path(&release.directory, &mut environment);
        let (slots, scale_warnings) = formation(&release.procfile, &config.scale, &config.routed());
        warnings.extend(release.warnings.iter().cloned());
        Ok(Self {
            engine,
            image: None,
            health: health_check(context, &release, &config),
            release,
            config,
            account,
            slots,
            environment,
            warnings,
            scale_warnings,
        })
    }

    /// The same at another scale or route.
    #[must_use]
    pub fn reconfigured(&self, standing: &Arc<AppConfig>) -> Self {
        let config = config_of_release(&self.config, standing);
        let (slots, scale_warnings) =
            formation(&self.release.procfile, &config.scale, &config.routed());
        Self {
            config,
            slots,
            scale_warnings,
            ..self.clone()
        }
    }

    /// The files that are served before the app is asked.
    #[must_use]
    pub fn static_files(&self) -> Option<Cow<'_, StaticFiles>> {
        let of_document = self.config.static_files.as_ref().map(Cow::Borrowed);
        let is_site = self.release.record.built.is_site;
        of_document.or_else(|| is_site.then(|| Cow::Owned(StaticFiles::whole_checkout())))
    }

    /// How many ports of this machine its processes take.
    #[must_use]
    pub fn ports(&self) -> usize {
        match self.engine.takes_ports() {
            true => self.slots.len(),
            false => 0,
        }
    }

    #[must_use]
    pub fn id(&self) -> u64 {
        self.release.record.id
    }
}

/// How the processes of a release are checked: as the document says, else as its `app.json` does. Where clients come by
/// HTTPS, an application that sends others there must not do that with the check.
fn health_check(context: &AppContext, release: &Release, config: &AppConfig) -> HealthCheck {
    const PROTOCOL: &str = "X-Forwarded-Proto";
    let told = &release.app_json.health_check;
    let told = told
        .as_ref()
        .filter(|_| !app_json::is_overruled(&config.document));
    let mut check = told.unwrap_or(&config.health_check).clone();
    let has_tls = !context.settings.tls_listen.is_empty() && !config.hosts.is_empty();
    let mut names = check.headers.keys();
    if has_tls && !names.any(|name| name.eq_ignore_ascii_case(PROTOCOL)) {
        let https = ("X-Forwarded-Proto".to_owned(), "https".to_owned());
        check.headers.extend([https]);
    }
    check
}

/// The document that a release was made with, as true.
///
/// # Errors
/// [`RunnableError::Document`].
pub fn config_of_record(rules: &Rules, record: &ReleaseRecord) -> Result<AppConfig, RunnableError> {
    config_of_before(rules, record.document.clone())
        .map_err(|errors| RunnableError::Document(record.id, in_words(&errors)))
}

/// Checks a document that was in effect before. It may keep a repository that new documents may not name, since nothing
/// is fetched again; root stays forbidden.
///
/// # Errors
/// What is not allowed any more.
pub fn config_of_before(rules: &Rules, document: Value) -> Result<AppConfig, Vec<FieldError>> {
    let rules = Rules {
        allow_file_repos: true,
        ..rules.clone()
    };
    AppConfig::from_document(document, &rules)
}

/// All errors of a document in one sentence.
#[must_use]
pub fn in_words(errors: &[FieldError]) -> String {
    let words: Vec<_> = errors
        .iter()
        .map(|e| format!("{}: {}", e.pointer, e.detail))
        .collect();
    words.join("; ")
}

/// The account that `config` asks for, `None` (and a warning) when the daemon cannot switch. One of the app's own is made
/// where it is not there yet. Blocks.
///
/// # Errors
/// [`AccountError`] when it does not exist.
pub fn account(
    context: &AppContext,
    dirs: &AppDirs,
    config: &AppConfig,
) -> Result<(Option<Account>, Vec<String>), AccountError> {
    if context.can_switch {
        let user = user(&context.settings.default_user, dirs, config)?;
        let account = Account::look_up(&user, config.group.as_deref())?;
        if is_of_ssh(&user, &context.settings.data_dir.join(HOME)) {
            return Err(AccountError::OfSsh(user));
        }
        // Checked here because every document passes: from the API, from a file, of a release, and the server's
        // default.
        if !context.settings.allow_root_apps {
            account.is_not_root()?;
        }
        return Ok((Some(account), vec![]));
    }
    let current = Account::current()?;
    let foreign = config.user.as_deref().filter(|user| *user != current.user);
    let warning = foreign.map(|user| {
        format!(
            "the server is not root: the app runs as {}, not as {user}",
            current.user
        )
    });
    Ok((None, warning.into_iter().collect()))
}

/// The name of the user that `config` asks for.
fn user(default: &DefaultUser, dirs: &AppDirs, config: &AppConfig) -> Result<String, AccountError> {
    let user = match (config.user.as_deref(), default) {
        (Some(user), _) => user,
        (None, DefaultUser::Named(user)) => user,
        (None, DefaultUser::PerApp { former }) if is_of(dirs, former) => former,
        (None, DefaultUser::PerApp { .. }) => PER_APP,
    };
    match user {
        PER_APP => {
            own_user::ensure(dirs, &config.name).map_err(|e| AccountError::NotMade(e.to_string()))
        }
        user => Ok(user.to_owned()),
    }
}

/// Whether the app is one that has run as this user, which all apps had, and not as one of its own: it keeps it.
fn is_of(dirs: &AppDirs, user: &str) -> bool {
    let owner = std::fs::symlink_metadata(dirs.storage()).map(|storage| storage.uid());
    let is_owner = |uid| {
        let found = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
        found.is_ok_and(|found| found.is_some_and(|found| found.name == user))
    };
    !own_user::has(dirs) && owner.is_ok_and(is_owner)
}

/// The clean base layer for the app's account, else for the daemon's own. Blocks.
///
/// # Errors
/// [`AccountError`] when the daemon's own account cannot be looked up.
pub fn base_environment(
    account: Option<&Account>,
    dirs: &AppDirs,
) -> Result<BTreeMap<String, String>, AccountError> {
    let own;
    let account = match account {
        Some(account) => account,
        None => {
            own = Account::current()?;
            &own
        }
    };
    Ok(environment::base(
        account,
        &dirs.home(),
        &dirs.tmp(),
        &dirs.storage(),
    ))
}

/// The layer that is configured: the server's `env`, then the application's.
#[must_use]
pub fn configured_environment(
    context: &AppContext,
    config: &AppConfig,
) -> BTreeMap<String, String> {
    environment::layered([&context.settings.env, &config.env])
}
