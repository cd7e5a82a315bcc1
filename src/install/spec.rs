//! What an [`super::installer::Installer`] is given, and what it tells its App.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use super::record::{Failure, Step};
use super::release::Release;
use super::yielding_lock::Shared;
use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::config::AppConfig;
use crate::process::landlock::Landlock;
use crate::process::mounts::Mounts;

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTimeouts {
    /// `packages`.
    pub packages: Duration,
    /// Also for the checkout.
    pub fetch: Duration,
    pub install: Duration,
    pub release: Duration,
}

#[derive(Clone, Debug)]
pub struct InstallSpec {
    /// The deployment this is for.
    pub deployment: u64,
    /// The id of the release to make.
    pub release: u64,
    pub config: Arc<AppConfig>,
    /// The commit to deploy, of the mirror of an app that is pushed to; `None`: what the document names.
    pub commit: Option<String>,
    pub dirs: AppDirs,
    /// The account to switch to; `None` when the daemon is not root.
    pub account: Option<Account>,
    /// Where install commands and the release phase may not write. They may write to the checkout.
    pub landlock: Option<Landlock>,
    /// What they see of the disk.
    pub mounts: Option<Mounts>,
    /// The lowest layer of the environment of install commands. The checkout's `.env` comes above it, and
    /// `configured_env` above that.
    pub base_env: BTreeMap<String, String>,
    /// Server-wide and application `env`.
    pub configured_env: BTreeMap<String, String>,
    /// The releases that run or that a restart would run. They are not removed to get disk space.
    pub in_use: Vec<u64>,
    pub timeouts: StepTimeouts,
    /// The release phase runs before the release is complete; else whoever asked has it run.
    pub runs_release_phase: bool,
    /// Directories of the release before may be taken over.
    pub use_cache: bool,
    /// [`Turns::in_use`](super::pushed::Turns::in_use), until the release is made; `None`: nobody else is at work in
    /// the mirror.
    pub mirror_in_use: Option<Arc<Shared>>,
}

/// What an Installer tells its App.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct InstallProgress {
    /// [`InstallSpec::deployment`].
    pub deployment: u64,
    pub event: InstallEvent,
}

/// See [`InstallProgress`].
#[derive(Debug)]
pub enum InstallEvent {
    Started(Step),
    /// A step succeeded after this time.
    Finished(Step, Duration),
    Commit(String),
    /// All done: the release is complete on disk.
    Done(Box<Release>),
    /// A step failed; what it had made is removed.
    Failed(Box<Failure>),
}
