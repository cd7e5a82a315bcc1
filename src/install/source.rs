//! From a document's reference to a commit, and from a commit to files, through the real git.

use std::path::Path;

use super::bounds::{Bounds, StepError, blocking};
use super::command;
use super::failure;
use super::journal::Journal;
use super::mirror::Mirror;
use super::record::{Failure, Step};
use super::share::{self, Earlier};
use super::tree;
use crate::app::config::{Reference, Repo};
use crate::app::directories::AppDirs;

/// How many branches or tags a failure lists.
const MAX_NAMES: usize = 20;

/// What a commit or tag may be abbreviated to: git's own minimum.
const MIN_HEX: usize = 4;

/// A commit of an app's repository, by way of its mirror.
#[derive(Debug)]
pub struct Source<'a> {
    mirror: Mirror,
    reference: &'a Reference,
}

impl<'a> Source<'a> {
    /// What `repo` names, by way of the mirror below `dirs`.
    #[must_use]
    pub fn new(dirs: &AppDirs, repo: &'a Repo, journal: Journal, bounds: Bounds) -> Self {
        Self {
            mirror: Mirror::new(dirs, &repo.url, journal, bounds),
            reference: &repo.reference,
        }
    }

    /// Brings the mirror up to date and returns the full id of the commit that is wanted.
    ///
    /// # Errors
    /// The remote refuses, what is wanted is not there, the disk is full, a bound is reached.
    pub async fn fetch(&self) -> Result<String, StepError> {
        self.mirror.refresh().await?;
        self.resolve().await
    }

    /// Puts the files of `commit` into the new directory `to`, without a `.git`; what it has in common with `earlier`
    /// is shared with that. When the mirror lacks an object, it is made anew.
    ///
    /// # Errors
    /// git's, a full disk's, a reached bound's.
    pub async fn checkout(
        &self,
        commit: &str,
        to: &Path,
        earlier: Option<&Earlier>,
    ) -> Result<(), StepError> {
        if let Err(failure) = self.write_files(commit, to, earlier).await? {
            if failure::disk_is_full(&failure.log_tail) {
                return Err(failure.into());
            }
            self.mirror.repair().await?;
            // It may be on no branch any more.
            self.obtain(commit).await?;
            self.write_files(commit, to, None).await??;
        }
        if to.join(".gitmodules").is_file() {
            self.mirror.journal
                .line("remark: the repository has submodules; they are not fetched, their directories are empty")
                .await;
        }
        Ok(())
    }

    /// The inner error is git's own.
    async fn write_files(
        &self,
        commit: &str,
        to: &Path,
        earlier: Option<&Earlier>,
    ) -> Result<Result<(), Failure>, StepError> {
        let (directory, index) = (to.to_owned(), self.mirror.path.join("procserver-index"));
        let old = index.clone();
        blocking(
            Step::Checkout,
            "cannot make the release's directory",
            move || {
                tree::remove(&directory)?;
                tree::remove(&old)?;
                tree::remove(&old.with_extension("lock"))?;
                std::fs::create_dir(&directory)
            },
        )
        .await?;
        if let Some(earlier) = earlier {
            share::seed(&self.mirror, earlier, commit, to, &index).await?;
        }
        let mut program = self.mirror.git(&["read-tree", "--reset", "-u", commit]);
        for (name, path) in [("GIT_INDEX_FILE", index.as_path()), ("GIT_WORK_TREE", to)] {
            program
                .environment
                .insert(name.into(), path.display().to_string());
        }
        program.directory = Some(to.to_owned());
        let finished = command::run(&program, &self.mirror.journal, &self.mirror.bounds).await?;
        if finished.succeeded() {
            return Ok(Ok(()));
        }
        let (status, tail) = (finished.status, finished.tail);
        Ok(Err(failure::exited(
            Step::Checkout,
            "git read-tree",
            status,
            tail,
        )))
    }

    /// The full id of the wanted commit.
    async fn resolve(&self) -> Result<String, StepError> {
        if self.names("refs/").await?.is_empty() {
            let reason = format!("the repository {} is empty", self.mirror.remote.shown());
            return Err(Failure::new(Step::Fetch, reason)
                .hint("push a commit, then redeploy")
                .into());
        }
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
        let (_, text) = self
            .mirror
            .ask(&[
                "ls-remote",
                "--symref",
                "--",
                self.mirror.remote.url(),
                "HEAD",
            ])
            .await?;
        let branch = text
            .lines()
            .find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        match branch {
            Some(branch) => self.commit(branch).await,
            None => Ok(None),
        }
    }

    /// The one commit whose id begins with `hex`. Names are not looked at: somebody may have pushed a branch that is
    /// called like an abbreviation.
    async fn abbreviated(&self, hex: &str) -> Result<Option<String>, StepError> {
        if hex.len() < MIN_HEX || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let hex = hex.to_ascii_lowercase();
        if hex.len() >= 40 {
            self.obtain(&hex).await?;
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

    /// Asks the remote for a commit that is on no branch, as the head of a pull request: most servers give it to who
    /// knows its full id. If it does not, the commit is simply not there afterwards.
    async fn obtain(&self, id: &str) -> Result<(), StepError> {
        if self.commit(id).await?.is_none() {
            let url = self.mirror.remote.url();
            let options = ["--no-auto-maintenance", "--no-write-fetch-head", "--"];
            let arguments: Vec<&str> = ["fetch"]
                .into_iter()
                .chain(options)
                .chain([url, id])
                .collect();
            self.mirror.ask(&arguments).await?;
        }
        Ok(())
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
        let shown = self.mirror.remote.shown();
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
        Ok(Failure::new(Step::Fetch, format!("{shown} does not have {wanted}")).hint(hint))
    }
}
