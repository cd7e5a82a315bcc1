//! [`Source`]: finds the commit that a document's reference names, and writes its files, through the real git.

use std::path::Path;

use super::checkout;
use super::filters;
use super::git_user::GitUser;
use super::hard_links::Earlier;
use super::history;
use super::install_log::InstallLog;
use super::lfs;
use super::limits::{StepError, StepLimits};
use super::mirror::Mirror;
use super::pushed;
use super::record::{Failure, Step};
use super::remote::Remote;
use super::remote_error;
use super::submodules::{self, Part};
use crate::app_dirs::AppDirs;
use crate::document::config::{Reference, Repo};

/// How many branches or tags a failure lists.
const MAX_NAMES: usize = 20;

/// The fewest digits of an abbreviated commit: git's own minimum.
const MIN_HEX: usize = 4;

#[derive(Debug)]
pub struct Fetched {
    /// The full id of the commit that is wanted.
    pub commit: String,
    /// What the app's owner should know.
    pub warnings: Vec<String>,
    /// It has neither submodules nor filters such as Git LFS, so the checkout does not look for them again.
    is_plain: bool,
}

/// What a document's `repo` names.
#[derive(Debug)]
pub struct Source<'a> {
    mirror: Mirror,
    reference: &'a Reference,
    /// See [`InstallSpec::commit`](super::spec::InstallSpec::commit).
    commit: Option<&'a str>,
}

impl<'a> Source<'a> {
    #[must_use]
    pub fn new(
        dirs: &AppDirs,
        user: GitUser,
        repo: &'a Repo,
        commit: Option<&'a str>,
        log: InstallLog,
        limits: StepLimits,
    ) -> Self {
        Self {
            mirror: Mirror::new(dirs, user, Remote::of(&repo.origin), log, limits),
            reference: &repo.reference,
            commit,
        }
    }

    /// Brings the mirror and those of the commit's submodules up to date. After that a checkout needs no network.
    ///
    /// # Errors
    /// The remote refuses or lacks what is wanted, the disk is full, a limit is reached.
    pub async fn fetch(&self) -> Result<Fetched, StepError> {
        match self.mirror.remote.is_pushed() {
            true => pushed::open(&self.mirror).await?,
            false => self.mirror.refresh().await?,
        }
        let commit = match self.commit {
            Some(commit) => pushed::have(&self.mirror, commit).await?,
            None => self.resolve().await?,
        };
        let warnings = self.other_default(&commit).await?.into_iter().collect();
        let parts = submodules::collect(&self.mirror, &commit).await?;
        let mut is_plain = parts.len() == 1;
        for part in parts {
            if filters::is_used(&part, "").await? {
                is_plain = false;
                lfs::fetch(&part).await?;
            }
        }
        Ok(Fetched {
            commit,
            warnings,
            is_plain,
        })
    }

    /// A warning where the document names no branch and `master` was taken, but the remote's own default is another.
    async fn other_default(&self, commit: &str) -> Result<Option<String>, StepError> {
        if *self.reference != Reference::Default || self.names("refs/heads/").await?.len() < 2 {
            return Ok(None);
        }
        if self.commit("refs/heads/master").await?.as_deref() != Some(commit) {
            return Ok(None);
        }
        let Some(branch) = self.default_branch().await? else {
            return Ok(None);
        };
        let other = self.commit(&branch).await?;
        let name = branch.strip_prefix("refs/heads/").unwrap_or(&branch);
        let is_other = name != "master" && other.is_some_and(|other| other != commit);
        Ok(is_other.then(|| {
            format!(
                "the branch master was deployed, but the repository's own default is {name}, which is at another commit: \
                 set repo.branch to \"{name}\" or to \"master\""
            )
        }))
    }

    /// Writes the files of what was fetched, with submodules and LFS files, into the new directory `to`, without a
    /// `.git`. Shares with `earlier` what they have in common. Returns what the app's owner should know.
    ///
    /// # Errors
    /// git fails, the disk is full, a limit is reached.
    pub async fn checkout(
        &self,
        fetched: &Fetched,
        to: &Path,
        earlier: Option<&Earlier>,
    ) -> Result<Vec<String>, StepError> {
        let Fetched {
            commit, is_plain, ..
        } = fetched;
        let parts = match is_plain {
            true => vec![Part::own(&self.mirror, commit)],
            false => submodules::collect(&self.mirror, commit).await?,
        };
        checkout::place(&parts, !is_plain, to, earlier).await
    }

    /// Gives the new checkout at `to` a `.git`, or says why it has none.
    ///
    /// # Errors
    /// A limit is reached.
    pub(super) async fn lend_history(
        &self,
        fetched: &Fetched,
        to: &Path,
        shared: &[String],
    ) -> Result<Option<String>, StepError> {
        history::lend(&self.mirror, &fetched.commit, to, shared).await
    }

    /// The full id of the wanted commit.
    async fn resolve(&self) -> Result<String, StepError> {
        let found = match self.reference {
            Reference::Default => match self.commit("refs/heads/master").await? {
                Some(commit) => Some(commit),
                None => self.head().await?,
            },
            Reference::Branch(name) => self.commit(&format!("refs/heads/{name}")).await?,
            Reference::Tag(name) => self.commit(&format!("refs/tags/{name}")).await?,
            Reference::Commit(hex) => self.abbreviated(hex).await?,
        };
        match found {
            Some(commit) => Ok(commit),
            None => Err(self.not_found().await?.into()),
        }
    }

    /// Why there is neither branch nor tag. To git, a web page of a single line looks like an empty list of refs.
    async fn nothing_there(&self) -> Result<Failure, StepError> {
        let shown = self.mirror.remote.shown();
        Ok(match self.mirror.foreign_type().await? {
            Some(kind) => remote_error::no_repository(Step::Fetch, shown, &kind),
            None => Failure::new(Step::Fetch, format!("the repository {shown} is empty"))
                .hint("push a commit, then redeploy"),
        })
    }

    async fn commit(&self, name: &str) -> Result<Option<String>, StepError> {
        let wanted = format!("{name}^{{commit}}");
        let arguments = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &wanted,
        ];
        let (finished, id) = self.mirror.ask(&arguments).await?;
        Ok(finished.succeeded().then(|| id.trim().to_owned()))
    }

    /// The branch that the remote itself calls its default.
    async fn head(&self) -> Result<Option<String>, StepError> {
        match self.default_branch().await? {
            Some(branch) => self.commit(&branch).await,
            None => Ok(None),
        }
    }

    async fn default_branch(&self) -> Result<Option<String>, StepError> {
        let url = self.mirror.remote.url();
        let mut program = self
            .mirror
            .git(&["ls-remote", "--symref", "--", url, "HEAD"]);
        program.quiet = true;
        let text = self.mirror.reach(program).await?.stdout;
        let text = String::from_utf8_lossy(&text);
        let branch = text
            .lines()
            .find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        Ok(branch.map(str::to_owned))
    }

    /// The one commit whose id begins with `hex`. Names of branches do not count: somebody may have pushed one that
    /// looks like an abbreviation.
    async fn abbreviated(&self, hex: &str) -> Result<Option<String>, StepError> {
        if hex.len() < MIN_HEX || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let hex = hex.to_ascii_lowercase();
        if hex.len() >= 40 {
            self.mirror.obtain(&hex).await?;
        }
        let (_, text) = self
            .mirror
            .ask(&["rev-parse", &format!("--disambiguate={hex}")])
            .await?;
        let mut commits = Vec::new();
        for id in text.lines().take(MAX_NAMES) {
            let (_, kind) = self.mirror.ask(&["cat-file", "-t", id]).await?;
            if kind.trim() == "commit" {
                commits.push(id.to_owned());
            }
        }
        if commits.len() > 1 {
            let reason = format!(
                "\"{hex}\" is the beginning of several commits: {}",
                commits.join(", ")
            );
            return Err(Failure::new(Step::Fetch, reason)
                .hint("give `repo.commit` more digits")
                .into());
        }
        Ok(commits.pop())
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, StepError> {
        let count = format!("--count={}", MAX_NAMES + 1);
        let arguments = [
            "for-each-ref",
            &count,
            "--format=%(refname:lstrip=2)",
            prefix,
        ];
        let (_, text) = self.mirror.ask(&arguments).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn not_found(&self) -> Result<Failure, StepError> {
        if self.mirror.remote.is_pushed() {
            return Ok(pushed::nothing_yet());
        }
        let shown = self.mirror.remote.shown();
        let (branches, tags) = ("refs/heads/", "refs/tags/");
        if self.names(branches).await?.is_empty() && self.names(tags).await?.is_empty() {
            return self.nothing_there().await;
        }
        let (wanted, kind, prefix) = match self.reference {
            Reference::Default => (
                "a branch \"master\" or a default branch".to_owned(),
                "branches",
                "refs/heads/",
            ),
            Reference::Branch(name) => (format!("a branch \"{name}\""), "branches", "refs/heads/"),
            Reference::Tag(name) => (format!("a tag \"{name}\""), "tags", "refs/tags/"),
            Reference::Commit(hex) => (format!("a commit \"{hex}\""), "branches", "refs/heads/"),
        };
        let mut names = self.names(prefix).await?;
        if names.len() > MAX_NAMES {
            names.truncate(MAX_NAMES);
            names.push("…".into());
        }
        let hint = match names.is_empty() {
            true => format!("it has no {kind}"),
            false => format!("its {kind}: {}", names.join(", ")),
        };
        let hint = match self.mirror.is_shallow().await? {
            true => format!(
                "the repository is shallow (git clone --depth): older commits are not in it; {hint}"
            ),
            false => hint,
        };
        Ok(Failure::new(Step::Fetch, format!("{shown} does not have {wanted}")).hint(hint))
    }
}
