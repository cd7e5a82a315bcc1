//! [`Mirror`]: the bare copy of a repository, the app's own or a submodule's. A damaged one is made anew.

use std::path::{Path, PathBuf};

use super::command::{self, Confined, Finished};
use super::deploy_key;
use super::failure;
use super::git;
use super::git_user::{self, GitUser};
use super::install_log::InstallLog;
use super::instances;
use super::limits::{StepError, StepLimits, blocking};
use super::mirror_upkeep;
use super::record::Failure;
use super::remote::Remote;
use super::remote_error;
use super::tree;
use crate::app_dirs::AppDirs;
use crate::durable;
use crate::process::lent::Lent;
use crate::regular;

pub(super) mod condition;
mod update;

use condition::{Condition, NO_HEAD};
use update::Trouble;

/// git's configuration is a page of text.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// The most that is read of what git traces of one exchange.
const MAX_TRACE: u64 = 1 << 20;

/// git's configuration, below XDG_CONFIG_HOME: git-lfs removes every variable of git's own from the environment of the
/// git that it starts in a repository on this machine.
const CONFIGURATION: &str = "git/config";

/// The bare copy of a repository. Only one deploy of an app runs at a time, so nobody else is at work in it.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    pub(super) remote: Remote,
    pub(super) path: PathBuf,
    pub(super) configuration: PathBuf,
    /// See [`Confined::instance`].
    pub(super) instance: String,
    pub(super) dirs: AppDirs,
    pub(super) user: GitUser,
    pub(super) log: InstallLog,
    pub(super) limits: StepLimits,
}

impl Mirror {
    /// The mirror of the app's own repository.
    pub(super) fn new(
        dirs: &AppDirs,
        user: GitUser,
        remote: Remote,
        log: InstallLog,
        limits: StepLimits,
    ) -> Self {
        Self {
            path: dirs.mirror(),
            configuration: dirs.root().join(CONFIGURATION),
            instance: instances::fetch(dirs),
            dirs: dirs.clone(),
            user,
            remote,
            log,
            limits,
        }
    }

    /// The mirror of a submodule, in a directory named after its URL. It serves each path that the URL is checked out
    /// to.
    pub(super) fn of_module(&self, remote: Remote) -> Self {
        let home = self.dirs.modules().join(mirror_upkeep::name(remote.url()));
        Self {
            path: home.join("repo.git"),
            configuration: home.join(CONFIGURATION),
            instance: self.instance.clone(),
            dirs: self.dirs.clone(),
            user: self.user.clone(),
            log: self.log.hiding(remote.secrets()),
            limits: self.limits.clone(),
            remote,
        }
    }

    /// Brings the mirror up to date. Makes it anew where there is none, or one of another URL, or a damaged one.
    ///
    /// # Errors
    /// The remote refuses, the disk is full, a limit is reached.
    pub(super) async fn refresh(&self) -> Result<(), StepError> {
        self.prepare().await?;
        self.clear().await?;
        match Condition::of(self).await? {
            Condition::Usable => {
                if !condition::has_no_head(self).await? {
                    // An older server made it. If this fails, the mirror is damaged, and the update says so.
                    self.ask(&["symbolic-ref", "HEAD", NO_HEAD]).await?;
                }
                match update::update(self).await? {
                    Err(Trouble::Format(_)) => self.replace().await,
                    Err(Trouble::Damage(_)) => {
                        let remark = "perhaps the mirror was damaged: it is made anew";
                        self.log.line(remark).await;
                        self.replace().await
                    }
                    _ => Ok(()),
                }
            }
            Condition::Damaged => self.repair().await,
            Condition::Foreign => {
                let remark = "the mirror is of another URL: it is made anew";
                self.log.line(remark).await;
                self.replace().await
            }
            Condition::Absent => self.fill().await,
        }
    }

    /// Makes a damaged mirror anew.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub(super) async fn repair(&self) -> Result<(), StepError> {
        if self.remote.is_pushed() {
            return Err(self.damaged().into());
        }
        let remark = "the mirror was damaged: it is made anew";
        self.log.line(remark).await;
        self.fill().await
    }

    /// Why a damaged mirror that is pushed to is not made anew: what it has may be nowhere else, and git may only have
    /// failed to read it.
    pub(super) fn damaged(&self) -> Failure {
        let path = self.path.display();
        let reason = format!("git cannot read the repository that was pushed here, {path}");
        let hint = "redeploy tries again; if it is damaged (git fsck), remove that directory and push again";
        Failure::new(self.log.step(), reason).hint(hint)
    }

    /// Fills a new mirror in place of one that may be good. The old one comes back if that fails.
    async fn replace(&self) -> Result<(), StepError> {
        let (step, what) = (self.log.step(), "cannot put the old mirror aside");
        let path = self.path.clone();
        blocking(step, what, move || mirror_upkeep::put_aside(&path)).await?;
        let filled = self.fill().await;
        let (path, is_full) = (self.path.clone(), filled.is_ok());
        blocking(step, what, move || match is_full {
            true => mirror_upkeep::drop_aside(&path),
            false => mirror_upkeep::take_back(&path),
        })
        .await?;
        filled
    }

    async fn fill(&self) -> Result<(), StepError> {
        self.make_anew("sha1").await?;
        let mut updated = update::update(self).await?;
        if let Err(Trouble::Format(format)) = updated {
            let remark =
                format!("the repository names its objects by {format}: so does the mirror");
            self.log.line(remark).await;
            self.make_anew(format).await?;
            updated = update::update(self).await?;
        }
        match updated {
            Err(Trouble::Damage(failure)) => Err(failure.into()),
            Err(Trouble::Format(format)) => {
                let shown = self.remote.shown();
                let reason =
                    format!("{shown} has objects named by {format}, which this git does not fetch");
                Err(Failure::new(self.log.step(), reason).into())
            }
            Err(Trouble::LongNames) | Ok(()) => Ok(()),
        }
    }

    /// Makes sure that the mirror has `commit`. Asks the remote only if the mirror lacks it.
    ///
    /// # Errors
    /// As [`Self::refresh`]; the remote does not have it.
    pub(super) async fn bring(&self, commit: &str) -> Result<(), StepError> {
        self.prepare().await?;
        if Condition::of(self).await? == Condition::Usable && self.has(commit).await? {
            return Ok(());
        }
        self.refresh().await?;
        self.obtain(commit).await?;
        if self.has(commit).await? {
            return Ok(());
        }
        let shown = self.remote.shown();
        let reason = format!("{shown} does not have the commit {commit}, which is recorded for it");
        let failure = Failure::new(self.log.step(), reason);
        Err(failure
            .hint("push the submodule's commits to its own repository, then redeploy")
            .into())
    }

    /// Whether the remote is a shallow clone, of which older commits are missing.
    pub(super) async fn is_shallow(&self) -> Result<bool, StepError> {
        condition::is_shallow(self).await
    }

    pub(super) async fn has(&self, commit: &str) -> Result<bool, StepError> {
        let wanted = format!("{commit}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let arguments: Vec<&str> = arguments.into_iter().chain([wanted.as_str()]).collect();
        Ok(self.ask(&arguments).await?.0.succeeded())
    }

    /// Asks the remote for a commit that may be on no branch, such as the head of a pull request. Most servers give it
    /// to anybody who knows its full id. It is no error if this one does not.
    pub(super) async fn obtain(&self, id: &str) -> Result<(), StepError> {
        if !self.remote.is_pushed() && !self.has(id).await? {
            let url = self.remote.url();
            let options = ["--no-auto-maintenance", "--no-write-fetch-head"];
            let more = ["--no-recurse-submodules", "--update-shallow", "--", url, id];
            let arguments: Vec<&str> = ["fetch"].into_iter().chain(options).chain(more).collect();
            let mut program = self.git(&arguments);
            program.quiet = true;
            self.reach(program).await?;
        }
        Ok(())
    }

    /// Makes what git needs: its directory, its configuration, the key for ssh.
    pub(super) async fn prepare(&self) -> Result<(), StepError> {
        let (file, path) = (self.configuration.clone(), self.remote.path());
        let (step, what) = (self.log.step(), "cannot write git's configuration");
        let (mirror, user) = (self.path.clone(), self.user.clone());
        blocking(step, what, move || {
            if let Some(home) = file.parent() {
                std::fs::create_dir_all(home)?;
                user.readable(home, 0o750)?;
            }
            // A daemon that was killed may have left it aside.
            mirror_upkeep::take_back(&mirror)?;
            if mirror.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                user.directory(&mirror)?;
            }
            // git compares with the path that a link leads to. If the link leads nowhere, git says so.
            let real = path.as_ref().and_then(|p| std::fs::canonicalize(p).ok());
            let real = real.and_then(|p| p.into_os_string().into_string().ok());
            let local: Vec<String> = path.into_iter().chain(real).collect();
            let text = git::configuration(&local);
            // It rarely changes, and syncing a new file takes time.
            match regular::read(&file, MAX_CONFIGURATION) {
                Ok(old) if old == text.as_bytes() => {}
                _ => durable::replace(&file, text.as_bytes(), 0o640)?,
            }
            user.readable(&file, 0o640)
        })
        .await?;
        if self.remote.is_ssh() {
            deploy_key::ensure(&self.dirs, &self.log, &self.limits).await?;
        }
        Ok(())
    }

    pub(super) fn git(&self, arguments: &[&str]) -> command::Program {
        let mut program = git::program(&self.configuration, &self.remote, arguments);
        let directory = self.path.display().to_string();
        // git-lfs puts files aside while it copies.
        let temporary = ("TMPDIR".to_owned(), directory.clone());
        program
            .environment
            .extend([temporary, ("GIT_DIR".to_owned(), directory)]);
        program.confined = Some(Box::new(Confined {
            account: self.user.account().cloned(),
            landlock: GitUser::landlock(&[&self.path]),
            instance: self.instance.clone(),
            nice: None,
            lent: Lent {
                limits: Some(git_user::LIMITS),
                ..Lent::default()
            },
        }));
        program
    }

    /// git on the files in `tree`, with the index of this mirror.
    pub(super) fn git_in_tree(&self, arguments: &[&str], tree: &Path) -> command::Program {
        let mut program = self.git(arguments);
        for (name, path) in [
            ("GIT_INDEX_FILE", self.index().as_path()),
            ("GIT_WORK_TREE", tree),
        ] {
            let path = path.display().to_string();
            program.environment.insert(name.into(), path);
        }
        program.directory = Some(tree.to_owned());
        program
    }

    /// The index of the last checkout.
    pub(super) fn index(&self) -> PathBuf {
        self.path.join("procserver-index")
    }

    /// Runs a git that reaches the remote, by ssh with the app's key. A repository on this machine is read whoever
    /// owns it: only settings can allow one.
    pub(super) async fn reach(&self, mut program: command::Program) -> Result<Finished, StepError> {
        let Some(confined) = &mut program.confined else {
            return command::run(&program, &self.log, &self.limits).await;
        };
        confined.lent.reads_all = self.remote.path().is_some();
        let mut files = None;
        if self.remote.is_ssh() {
            let (dirs, switches) = (self.dirs.clone(), confined.account.is_some());
            let (step, what) = (self.log.step(), "cannot lend the deploy key to git");
            let lent = move || deploy_key::LentFiles::open(&dirs, switches);
            let lent = blocking(step, what, lent).await?;
            confined.lent.files = lent.by_variable();
            files = Some(lent);
        }
        let finished = command::run(&program, &self.log, &self.limits).await?;
        if let Some(files) = files {
            let dirs = self.dirs.clone();
            let what = "cannot write down the git server's key";
            blocking(self.log.step(), what, move || files.remember(&dirs)).await?;
        }
        Ok(finished)
    }

    /// The media type of the answer of an HTTP server that is no git server. `None` also where files of a repository
    /// have that type.
    pub(super) async fn foreign_type(&self) -> Result<Option<String>, StepError> {
        if !self.remote.is_http() {
            return Ok(None);
        }
        let trace = self.path.join("procserver-trace");
        let (old, name) = (trace.clone(), trace.display().to_string());
        let (step, what) = (self.log.step(), "cannot look at what the server answers");
        blocking(step, what, move || tree::remove(&old)).await?;
        let mut program = self.git(&["ls-remote", "--", self.remote.url()]);
        program.quiet = true;
        // Only the fields of the exchange; git takes credentials out of them.
        let variables = [
            ("GIT_TRACE_CURL", name.as_str()),
            ("GIT_TRACE_CURL_NO_DATA", "1"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        program.environment.extend(variables);
        self.reach(program).await?;
        let read = move || {
            let text = regular::read_nofollow(&trace, MAX_TRACE);
            tree::remove(&trace)?;
            text
        };
        let text = blocking(step, what, read).await?.unwrap_or_default();
        Ok(remote_error::foreign_type(&String::from_utf8_lossy(&text)))
    }

    /// Runs a git that only reads the mirror, and returns its stdout as text.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<(Finished, String), StepError> {
        let mut program = self.git(arguments);
        program.quiet = true;
        let finished = command::run(&program, &self.log, &self.limits).await?;
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        Ok((finished, text))
    }

    /// Removes what a git has left that was killed or ran out of disk.
    pub(super) async fn clear(&self) -> Result<(), StepError> {
        let mirror = self.path.clone();
        let (step, what) = (self.log.step(), "cannot clear the mirror");
        let locks = blocking(step, what, move || mirror_upkeep::clear(&mirror)).await?;
        if !locks.is_empty() {
            let remark = format!(
                "the mirror was repaired: left locks are removed: {}",
                locks.join(", ")
            );
            self.log.line(remark).await;
        }
        Ok(())
    }

    pub(super) async fn make_anew(&self, format: &str) -> Result<(), StepError> {
        let (mirror, user) = (self.path.clone(), self.user.clone());
        let step = self.log.step();
        blocking(step, "cannot make a new mirror", move || {
            tree::remove(&mirror)?;
            user.directory(&mirror)
        })
        .await?;
        let mirror = self.path.display().to_string();
        // `--template=`: no hooks, no description, nothing that is not needed.
        let format = format!("--object-format={format}");
        let options = ["init", "--quiet", "--bare", "--template=", &format];
        let arguments: Vec<&str> = options.into_iter().chain(["--", &mirror]).collect();
        self.must(&arguments).await?;
        self.must(&["symbolic-ref", "HEAD", NO_HEAD]).await?;
        self.must(&["config", "--local", "remote.origin.url", self.remote.url()])
            .await?;
        // Other users have no business in it.
        let (mirror, user) = (self.path.clone(), self.user.clone());
        blocking(step, "cannot close the mirror to other users", move || {
            user.directory(&mirror)
        })
        .await
    }

    pub(super) async fn must(&self, arguments: &[&str]) -> Result<(), StepError> {
        let mut program = self.git(arguments);
        program.quiet = true;
        self.succeed(arguments[0], &program).await
    }

    /// Runs `program`, the git command `name`, which must succeed.
    pub(super) async fn succeed(
        &self,
        name: &str,
        program: &command::Program,
    ) -> Result<(), StepError> {
        let finished = command::run(program, &self.log, &self.limits).await?;
        if finished.succeeded() {
            return Ok(());
        }
        let command = format!("git {name}");
        let step = self.log.step();
        Err(failure::exited(step, &command, finished.status, finished.tail).into())
    }
}
