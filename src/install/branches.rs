//! [`Branches`]: asks the repository of an application whether it has a branch, before anything is made for that.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use tokio::sync::watch;

use super::git_user::GitUser;
use super::install_log::InstallLog;
use super::instances;
use super::limits::StepLimits;
use super::lines::Mask;
use super::mirror::Mirror;
use super::pushed::Turns;
use super::record::Step;
use super::remote::Remote;
use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::config::Repo;
use crate::logs::log::Append;

/// Somebody waits for the answer, and a deploy finds out anyway.
const PATIENCE: Duration = Duration::from_secs(10);

/// The branches of a repository that is fetched from elsewhere.
#[derive(Debug)]
pub struct Branches {
    mirror: Mirror,
    turns: Arc<Turns>,
    // The limits of git end with their sender.
    _never_cancelled: watch::Sender<bool>,
}

impl Branches {
    /// Those of `repo`, which is that of the app whose directories are `dirs`: it is asked as that app fetches it, with
    /// its key, and with git as the user of an app that runs as `account`.
    #[must_use]
    pub fn of(
        dirs: &AppDirs,
        account: Option<&Account>,
        repo: &Repo,
        turns: Arc<Turns>,
        log: Recipient<Append>,
    ) -> Self {
        let (sender, cancel) = watch::channel(false);
        let log = InstallLog::new(log, 0, Mask::new::<String>([])).at(Step::Fetch);
        let limits = StepLimits::new(PATIENCE, cancel);
        let remote = Remote::of(&repo.origin);
        Self {
            mirror: Mirror::new(dirs, GitUser::of(account), remote, log, limits),
            turns,
            _never_cancelled: sender,
        }
    }

    /// Whether there is a branch of this name. `None`: the repository does not say, or not in time.
    pub async fn has(&self, branch: &str) -> Option<bool> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(branch));
        asked.await.ok().flatten()
    }

    async fn ask(&self, branch: &str) -> Option<bool> {
        let name = format!("refs/heads/{branch}");
        let slot = self.turns.asking().await;
        let mirror = Mirror {
            instance: instances::pushed(&self.mirror.dirs, slot.number()),
            ..self.mirror.clone()
        };
        let mut program = mirror.git(&["ls-remote", "--", mirror.remote.url(), &name]);
        program.quiet = true;
        let finished = mirror.reach(program).await.ok()?;
        let text = String::from_utf8_lossy(&finished.stdout);
        // git takes the name for the end of a longer one.
        let mut names = text.lines().filter_map(|line| line.split_once('\t'));
        let is_there = names.any(|(_, found)| found == name);
        finished.succeeded().then_some(is_there)
    }
}
