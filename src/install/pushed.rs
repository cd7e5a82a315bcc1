//! The mirror of an app whose code is pushed to this server: nothing is fetched, and what it has is nowhere else.
//!
//! Whoever puts a commit into it ([`Pushed::program`]) asks the app to deploy that commit
//! ([`Action::Deploy`](crate::app::deployer::Action::Deploy)). The app moves the branch ([`Pushed::advance`]) once the
//! deploy has succeeded, and only then: the branch is what was deployed last.
//!
//! Several may put commits into it at a time, while one deploy reads it. So neither a deploy removes what unfinished
//! pushes have left, nor does it drop what no branch leads to: that is done while nobody is at work ([`Pushed::gc`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, watch};

use super::command::{self, Finished, Program};
use super::git_user::GitUser;
use super::install_log::InstallLog;
use super::instances;
use super::limits::{StepError, StepLimits};
use super::lines::Mask;
use super::mirror::Mirror;
use super::mirror::condition::Condition;
use super::record::{Failure, Step};
use super::remote::Remote;
use super::yielding_lock::{Shared, YieldingLock};
use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::config::Repo;
use crate::logs::log::Append;

/// How long git may take to look at a ref or to move one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an app that is pushed to has nothing to deploy.
#[must_use]
pub fn nothing_yet() -> Failure {
    Failure::new(Step::Fetch, NOTHING_YET).hint(HOW)
}

/// See [`nothing_yet`].
pub const NOTHING_YET: &str = "nothing has been pushed yet";

/// What to do then. [`Failure::named`] puts the app's name in.
pub const HOW: &str = "git push https://SERVER/git/NAME.git BRANCH, or by ssh for who has a key (procserver ssh-key add): \
     git push ssh://procserver@SERVER/NAME.git BRANCH";

/// The mirror of an app that is pushed to.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub(super) mirror: Mirror,
    branch: String,
    turns: Arc<Turns>,
    cancel: watch::Receiver<bool>,
    // The limits of git end with their sender.
    _never_cancelled: Arc<watch::Sender<bool>>,
}

impl Pushed {
    /// The mirror of the app whose directories are `dirs`, for git as the user of an app that runs as `account`. `None`: the app's
    /// code is fetched.
    #[must_use]
    pub fn of(
        dirs: &AppDirs,
        account: Option<&Account>,
        repo: &Repo,
        turns: Arc<Turns>,
        log: Recipient<Append>,
    ) -> Option<Self> {
        let branch = repo.pushed_branch()?.to_owned();
        let (sender, cancel) = watch::channel(false);
        let log = InstallLog::new(log, 0, Mask::new::<String>([])).at(Step::Fetch);
        let limits = StepLimits::new(PATIENCE, cancel.clone());
        let user = GitUser::of(account);
        Some(Self {
            mirror: Mirror::new(dirs, user, Remote::of(&repo.origin), log, limits),
            branch,
            turns,
            cancel,
            _never_cancelled: Arc::new(sender),
        })
    }

    /// Makes it where it is not there. Its directory's parent must be.
    ///
    /// # Errors
    /// It cannot be made, or is damaged.
    pub async fn open(&self) -> Result<(), StepError> {
        let slot = self.turns.asking.take().await;
        let mirror = self.mirror_in(&slot);
        open(&mirror).await?;
        // So a clone checks this branch out.
        let branch = self.reference();
        mirror.must(&["symbolic-ref", "HEAD", &branch]).await
    }

    /// The branch that is deployed.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mirror.path
    }

    /// Where git's hooks are, which are the server's own.
    pub(super) fn hooks(&self) -> PathBuf {
        self.mirror.configuration.with_file_name("hooks")
    }

    /// Lets git, and nobody else, read our file.
    pub(super) fn readable(&self, path: &Path, mode: u32) -> std::io::Result<()> {
        self.mirror.user.readable(path, mode)
    }

    /// Who is at work in it.
    #[must_use]
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    /// The commit of the branch; `None`: nothing was pushed yet.
    ///
    /// # Errors
    /// git cannot be run.
    pub async fn head(&self) -> Result<Option<String>, StepError> {
        let name = format!("{}^{{commit}}", self.reference());
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let arguments: Vec<&str> = arguments.into_iter().chain([name.as_str()]).collect();
        let finished = self.ask(&arguments).await?;
        let id = String::from_utf8_lossy(&finished.stdout);
        Ok(finished.succeeded().then(|| id.trim().to_owned()))
    }

    /// Moves the branch to `commit`, whatever it was before.
    ///
    /// # Errors
    /// The commit is not in the mirror, or the disk is full.
    pub async fn advance(&self, commit: &str) -> Result<(), StepError> {
        let slot = self.turns.asking.take().await;
        let arguments = ["update-ref", &self.reference(), commit];
        self.mirror_in(&slot).must(&arguments).await
    }

    /// Runs a git that takes no time, and returns what came of it.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Finished, StepError> {
        let slot = self.turns.asking.take().await;
        let (finished, _) = self.mirror_in(&slot).ask(arguments).await?;
        Ok(finished)
    }

    /// git with `arguments` in this mirror, to be started by whoever has `slot`.
    #[must_use]
    pub fn program(&self, slot: &Slot<'_>, arguments: &[&str]) -> Program {
        let mut program = self.mirror_in(slot).git(arguments);
        program.quiet = true;
        program
    }

    /// Runs such a program to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn run(&self, program: &Program) -> Result<Finished, StepError> {
        self.run_within(program, PATIENCE).await
    }

    /// As [`Self::run`], of a program that may take so long.
    ///
    /// # Errors
    /// As [`Self::run`]; it takes longer.
    pub async fn run_within(
        &self,
        program: &Program,
        limit: Duration,
    ) -> Result<Finished, StepError> {
        let limits = StepLimits::new(limit, self.cancel.clone());
        command::run(program, &self.mirror.log, &limits).await
    }

    pub(super) fn mirror_in(&self, slot: &Slot<'_>) -> Mirror {
        Mirror {
            instance: instances::pushed(&self.mirror.dirs, slot.number),
            limits: StepLimits::new(PATIENCE, self.cancel.clone()),
            ..self.mirror.clone()
        }
    }
}

/// Who is at work in a mirror beside the deploys.
#[derive(Debug)]
pub struct Turns {
    /// Those who push: one whose commit is deployed, and one who waits for that.
    pub receiving: Slots,
    /// Those who clone.
    pub serving: Slots,
    /// Short questions.
    asking: Slots,
    /// Whose commit is deployed.
    pub deploying: Mutex<()>,
    /// Shared by all who are at work, with or without a slot, also by a deploy.
    pub in_use: YieldingLock,
    /// Whoever packs the mirror, which nobody else uses then.
    pub(super) packing: Slots,
}

impl Default for Turns {
    fn default() -> Self {
        let in_use = YieldingLock::default();
        let shared = |numbers| Slots::new(numbers, Some(in_use.clone()));
        Self {
            receiving: shared(0..2),
            serving: shared(2..4),
            asking: shared(4..5),
            packing: Slots::new(5..instances::SLOTS, None),
            deploying: Mutex::default(),
            in_use,
        }
    }
}

impl Turns {
    /// Waits for a place for a short question.
    pub(super) async fn asking(&self) -> Slot<'_> {
        self.asking.take().await
    }
}

/// Places for git, in each of which one runs at a time: what is left of it is found by the number.
#[derive(Debug)]
pub struct Slots {
    free: std::sync::Mutex<Vec<usize>>,
    permits: Semaphore,
    /// [`Turns::in_use`], which who has a place shares.
    in_use: Option<YieldingLock>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Slot<'a> {
    number: usize,
    of: &'a Slots,
    _permit: Option<SemaphorePermit<'a>>,
    _in_use: Option<Shared>,
}

impl Slots {
    fn new(numbers: std::ops::Range<usize>, in_use: Option<YieldingLock>) -> Self {
        Self {
            in_use,
            permits: Semaphore::new(numbers.len()),
            free: std::sync::Mutex::new(numbers.collect()),
        }
    }

    /// Waits for a place.
    pub async fn take(&self) -> Slot<'_> {
        // It is never closed.
        let permit = self.permits.acquire().await.ok();
        let in_use = match &self.in_use {
            Some(lock) => Some(lock.share().await),
            None => None,
        };
        let number = self.free().pop().unwrap_or_default();
        Slot {
            number,
            of: self,
            _permit: permit,
            _in_use: in_use,
        }
    }

    /// Whether all are taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Slot<'_> {
    pub(super) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.of.free().push(self.number);
    }
}

/// Makes the mirror where there is none. One that was filled from a URL keeps what it has.
pub(super) async fn open(mirror: &Mirror) -> Result<(), StepError> {
    mirror.prepare().await?;
    match Condition::of(mirror).await? {
        Condition::Usable => {}
        Condition::Absent => mirror.make_anew("sha1").await?,
        Condition::Foreign => {
            let url = mirror.remote.url();
            mirror
                .must(&["config", "--local", "remote.origin.url", url])
                .await?;
        }
        Condition::Damaged => return Err(mirror.damaged().into()),
    }
    mirror.take_in().await
}

/// Makes sure that the mirror has `commit`.
pub(super) async fn have(mirror: &Mirror, commit: &str) -> Result<String, StepError> {
    if mirror.has(commit).await? {
        return Ok(commit.to_owned());
    }
    let reason = format!("the commit {commit} is not in the repository that was pushed here");
    Err(Failure::new(mirror.log.step(), reason)
        .hint("push it again (git push)")
        .into())
}
