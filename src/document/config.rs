//! The application document: as typed ([`serde_json::Value`]) and as true ([`AppConfig`]) (pure). The rules that lead
//! from one to the other are in `read` and `rules`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::buffering::Buffering;
use super::by_type::ByType;
use super::cron::CronJob;
use super::drain::DrainConfig;
use super::engine::EngineKind;
use super::formation::ROUTED;
use super::host_entry::HostEntry;
use super::https::Https;
use super::limits::AppLimits;
use super::name::AppName;
use super::notify::NotifyConfig;
use super::package::Package;
use super::policies::Policies;
use super::preview::{PreviewOf, Previews};
use super::shell::Shell;
use super::statuses::Statuses;
use crate::supervision::Restart;

/// A validated application document. Made only by [`AppConfig::from_document`].
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    pub name: AppName,
    pub engine: EngineKind,
    pub repo: Repo,
    /// Debian packages that must be installed.
    pub packages: Vec<Package>,
    /// User to run as; `None`: the server's default.
    pub user: Option<String>,
    /// Group to run as; `None`: the user's primary group.
    pub group: Option<String>,
    /// Whether it has a view of the machine of its own.
    pub sandbox: bool,
    /// Names of hosts, all different.
    pub hosts: Vec<HostEntry>,
    /// Patterns against the request's host, unanchored, all known to compile.
    pub domain: Vec<String>,
    /// What runs the commands of `install` and of the Procfile.
    pub shell: Shell,
    /// Commands for its `-c`, run in the release directory; `None`: what the checkout needs is found out.
    pub install: Option<Vec<String>>,
    /// Directories that the next release takes over; `None`: those of the builders.
    pub cache: Option<Vec<String>>,
    /// Directories of the application that are links into its storage: relative, in plain form, none in another.
    pub shared: Vec<String>,
    /// Quantity per process type; a type that is absent gets 1 (a task by its name 0).
    pub scale: BTreeMap<String, u32>,
    /// Environment variables of install commands and processes.
    pub env: BTreeMap<String, String>,
    /// Reachable as `/NAME/…`.
    pub path: bool,
    /// `/NAME` is removed before the request is forwarded.
    pub strip_path: bool,
    /// A listener of this app's own.
    pub port: Option<u16>,
    pub health_check: HealthCheck,
    pub stop: StopPolicy,
    /// How long requests and tunnels may go on after their process was replaced; then it gets its signal.
    pub drain: Duration,
    /// How long nobody asks it for anything before its processes are stopped until somebody does; `None`: they run.
    pub sleep: Option<Duration>,
    /// Files served before the app is asked.
    pub static_files: Option<StaticFiles>,
    pub buffer: Buffering,
    /// What the proxy does with its requests beside passing them on.
    pub policies: Policies,
    pub tls: Https,
    /// Which processes are started again after they ended by themselves.
    pub restart: ByType<Restart>,
    /// How a new release replaces the old.
    pub strategy: ByType<Strategy>,
    /// Commands that are run at set times.
    pub cron: Vec<CronJob>,
    /// What it, and each of its processes, may use.
    pub limits: AppLimits,
    /// How branches of it are shown beside it; `None`: as by default.
    pub previews: Option<Previews>,
    /// It is a preview of another application.
    pub preview: Option<PreviewOf>,
    /// Where its logs are sent.
    pub drains: Vec<DrainConfig>,
    /// Who is told of what goes wrong with it.
    pub notify: Vec<NotifyConfig>,
    /// How many releases are kept, at least 1.
    pub keep_releases: usize,
    /// The document as it was given (with `name`): what GET answers and the config directory holds.
    pub document: Value,
}

impl AppConfig {
    /// The commands that the document names.
    #[must_use]
    pub fn install_commands(&self) -> &[String] {
        self.install.as_deref().unwrap_or_default()
    }

    /// The process types that requests are routed to: `web`, and those that `hosts` names.
    #[must_use]
    pub fn routed(&self) -> BTreeSet<&str> {
        let named = self.hosts.iter().map(|host| host.process.as_str());
        std::iter::once(ROUTED).chain(named).collect()
    }
}

/// `repo` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    pub origin: Origin,
    pub reference: Reference,
    /// The directory of the checkout in which the application is; `None`: the checkout itself.
    pub dir: Option<String>,
}

/// How the code of an app comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is fetched from this URL, which was checked: an allowed scheme, no leading `-`, no `ext::`.
    Url(String),
    /// It is pushed to the server. The reference is a branch then.
    Push,
}

impl Origin {
    /// The URL, where there is one.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Url(url) => Some(url),
            Self::Push => None,
        }
    }
}

impl Repo {
    /// The branch that is deployed when it is pushed; `None`: the code is fetched.
    #[must_use]
    pub fn pushed_branch(&self) -> Option<&str> {
        match (&self.origin, &self.reference) {
            (Origin::Push, Reference::Branch(branch)) => Some(branch),
            _ => None,
        }
    }
}

/// What to check out of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Nothing was said: `master`, else the remote's HEAD.
    Default,
    Branch(String),
    Tag(String),
    /// A commit, full or abbreviated hex.
    Commit(String),
}

/// `health_check` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// GET this and expect [`Self::status`]; `None`: a TCP connect is enough.
    pub path: Option<String>,
    /// The `Host` of the request; `None`: the address of the connection.
    pub host: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// Healthy statuses. No redirect is followed.
    pub status: Statuses,
    pub interval: Duration,
    pub timeout: Duration,
    /// Time until the first success.
    pub boot_timeout: Duration,
}

/// `stop` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopPolicy {
    /// The signal's number, SIGTERM by default.
    pub signal: i32,
    /// Grace before SIGKILL, for all processes of an instance.
    pub timeout: Duration,
    /// Which of them get the signal.
    pub to: StopTo,
}

/// `stop.to` of the document: which processes of an instance get the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopTo {
    #[default]
    All,
    /// The command itself first, and the others once it has ended.
    Main,
}

/// `static` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticFiles {
    pub dir: String,
    /// Path prefix under which it appears.
    pub prefix: String,
    /// A browser that navigates to a path without a file gets `index.html`.
    pub spa: bool,
    /// `Cache-Control` of all but HTML.
    pub cache_control: Option<String>,
}

impl StaticFiles {
    /// A checkout that is a site as it is.
    #[must_use]
    pub fn whole_checkout() -> Self {
        Self {
            dir: ".".to_owned(),
            prefix: "/".to_owned(),
            spa: false,
            cache_control: None,
        }
    }
}

/// `strategy` of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The old release serves until the new one is ready.
    #[default]
    Rolling,
    /// For all types: stop, build, start. For some types: stop their processes just before the new ones start.
    Recreate,
}

/// What the server's settings allow in documents.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `user: "root"` is allowed.
    pub allow_root_apps: bool,
    /// `file:` URLs and absolute paths are allowed as repositories.
    pub allow_file_repos: bool,
    /// There is a swarm.
    pub has_swarm: bool,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the field.
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            host: None,
            headers: BTreeMap::new(),
            status: Statuses::default(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            boot_timeout: Duration::from_mins(1),
        }
    }
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self {
            signal: nix::sys::signal::Signal::SIGTERM as i32,
            timeout: Duration::from_secs(10),
            to: StopTo::All,
        }
    }
}
