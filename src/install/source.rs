//! The bare mirror and checkouts, through the real git.

use std::io;
use std::path::{Path, PathBuf};

use super::command::{self, Bounds, Finished, StepError};
use super::failure;
use super::git;
use super::journal::Journal;
use super::record::{Failure, Step};
use super::remote::Remote;
use super::tree;
use crate::app::config::{Reference, Repo};
use crate::app::directories::AppDirs;
use crate::durable;

/// How many branches or tags a failure lists.
const MAX_NAMES: usize = 20;

/// What a commit or tag may be abbreviated to: git's own minimum.
const MIN_HEX: usize = 4;

/// The mirror of an app's repository.
#[derive(Debug)]
pub struct Source<'a> {
    remote: Remote,
    reference: &'a Reference,
    mirror: PathBuf,
    configuration: PathBuf,
    journal: Journal,
    bounds: Bounds,
}

impl<'a> Source<'a> {
    /// The mirror of `repo` below `dirs`.
    #[must_use]
    pub fn new(dirs: &AppDirs, repo: &'a Repo, journal: Journal, bounds: Bounds) -> Self {
        Self {
            remote: Remote::parse(&repo.url),
            reference: &repo.reference,
            mirror: dirs.mirror(),
            configuration: dirs.root().join("gitconfig"),
            journal,
            bounds,
        }
    }

    /// Brings the mirror up to date (making it where there is none, or where it belongs to another URL, or is
    /// damaged) and returns the full id of the commit that is wanted.
    ///
    /// # Errors
    /// The remote refuses, what is wanted is not there, the disk is full, a bound is reached.
    pub async fn fetch(&self) -> Result<String, StepError> {
        self.configure().await?;
        self.clear().await?;
        let fresh = !self.is_usable().await?;
        if fresh {
            self.make_anew().await?;
        }
        match self.update().await? {
            Ok(()) => {}
            Err(broken) if fresh => return Err(broken.into()),
            Err(_) => {
                self.journal
                    .line("the mirror seems to be damaged: it is made anew")
                    .await;
                self.make_anew().await?;
                self.update().await??;
            }
        }
        self.resolve().await
    }

    async fn configure(&self) -> Result<(), StepError> {
        let (file, path) = (self.configuration.clone(), self.remote.path());
        command::blocking(Step::Fetch, "cannot write git's configuration", move || {
            // git compares with the path that a link leads to. If it leads nowhere, git says so.
            let real = path.as_ref().and_then(|p| std::fs::canonicalize(p).ok());
            let real = real.and_then(|p| p.into_os_string().into_string().ok());
            let local: Vec<String> = path.into_iter().chain(real).collect();
            durable::replace(&file, git::configuration(&local).as_bytes(), 0o600)
        })
        .await
    }

    /// Puts the files of `commit` into the new directory `to`, without a `.git`. When the mirror lacks an object, it
    /// is made anew.
    ///
    /// # Errors
    /// git's, a full disk's, a reached bound's.
    pub async fn checkout(&self, commit: &str, to: &Path) -> Result<(), StepError> {
        if let Err(failure) = self.write_files(commit, to).await? {
            if failure::disk_is_full(&failure.log_tail) {
                return Err(failure.into());
            }
            self.journal
                .line("the mirror seems to be damaged: it is made anew")
                .await;
            self.make_anew().await?;
            self.update().await??;
            // It may be on no branch any more.
            self.obtain(commit).await?;
            self.write_files(commit, to).await??;
        }
        if to.join(".gitmodules").is_file() {
            self.journal
                .line("remark: the repository has submodules; they are not fetched, their directories are empty")
                .await;
        }
        Ok(())
    }

    /// The inner error is git's own.
    async fn write_files(&self, commit: &str, to: &Path) -> Result<Result<(), Failure>, StepError> {
        let (directory, index) = (to.to_owned(), self.mirror.join("procserver-index"));
        let old = index.clone();
        command::blocking(
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
        let mut program = self.git(&["read-tree", "--reset", "-u", commit]);
        for (name, path) in [("GIT_INDEX_FILE", index.as_path()), ("GIT_WORK_TREE", to)] {
            program
                .environment
                .insert(name.into(), path.display().to_string());
        }
        program.directory = Some(to.to_owned());
        let finished = command::run(&program, &self.journal, &self.bounds).await?;
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

    fn git(&self, arguments: &[&str]) -> command::Program {
        let mut program = git::program(&self.configuration, &self.remote, arguments);
        program
            .environment
            .insert("GIT_DIR".into(), self.mirror.display().to_string());
        program
    }

    /// Runs a git that only reads the mirror; its stdout as text.
    async fn ask(&self, arguments: &[&str]) -> Result<(Finished, String), StepError> {
        let mut program = self.git(arguments);
        program.quiet = true;
        let finished = command::run(&program, &self.journal, &self.bounds).await?;
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        Ok((finished, text))
    }

    /// Whether there is a mirror, of this very URL.
    async fn is_usable(&self) -> Result<bool, StepError> {
        if !self.mirror.join("HEAD").is_file() {
            return Ok(false);
        }
        let (finished, url) = self
            .ask(&["config", "--local", "--get", "remote.origin.url"])
            .await?;
        Ok(finished.succeeded() && url.trim_end_matches('\n') == self.remote.url())
    }

    /// Removes what a git that was killed, or ran out of disk, has left in the mirror. Nobody else is at work in it.
    async fn clear(&self) -> Result<(), StepError> {
        let mirror = self.mirror.clone();
        command::blocking(Step::Fetch, "cannot clear the mirror", move || {
            remove_where(&mirror, |name| name.ends_with(".lock"))?;
            let objects = mirror.join("objects");
            let temporary = |name: &str| {
                ["tmp_", ".tmp-", "incoming-"]
                    .iter()
                    .any(|start| name.starts_with(start))
            };
            remove_where(&objects, temporary)?;
            for entry in std::fs::read_dir(&objects).into_iter().flatten() {
                remove_where(&entry?.path(), temporary)?;
            }
            Ok(())
        })
        .await
    }

    async fn make_anew(&self) -> Result<(), StepError> {
        let mirror = self.mirror.clone();
        command::blocking(Step::Fetch, "cannot remove the old mirror", move || {
            tree::remove(&mirror)
        })
        .await?;
        let mirror = self.mirror.display().to_string();
        // `--template=`: no hooks, no description, nothing that is not needed.
        self.must(&["init", "--quiet", "--bare", "--template=", "--", &mirror])
            .await?;
        self.must(&["config", "--local", "remote.origin.url", self.remote.url()])
            .await?;
        // Other users have no business in it.
        tree::directory(&self.mirror, 0o700, None).map_err(|e| {
            failure::io(Step::Fetch, "cannot close the mirror to other users", &e).into()
        })
    }

    async fn must(&self, arguments: &[&str]) -> Result<(), StepError> {
        let (finished, _) = self.ask(arguments).await?;
        if finished.succeeded() {
            return Ok(());
        }
        let command = format!("git {}", arguments[0]);
        Err(failure::exited(Step::Fetch, &command, finished.status, finished.tail).into())
    }

    /// Fetches all branches and tags, as the remote has them now. The inner error is one that a new mirror may cure.
    async fn update(&self) -> Result<Result<(), Failure>, StepError> {
        let program = self.git(&[
            "fetch",
            "--prune",
            "--force",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--",
            self.remote.url(),
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ]);
        let finished = match command::run(&program, &self.journal, &self.bounds).await {
            Ok(finished) if finished.succeeded() => return Ok(Ok(())),
            ended => {
                self.clear().await?;
                ended?
            }
        };
        match git::refusal(&self.remote, finished.status, &finished.tail) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Err(failure::exited(
                Step::Fetch,
                "git fetch",
                finished.status,
                finished.tail,
            ))),
        }
    }

    /// The full id of the wanted commit.
    async fn resolve(&self) -> Result<String, StepError> {
        if self.names("refs/").await?.is_empty() {
            let reason = format!("the repository {} is empty", self.remote.shown());
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
        let (finished, id) = self.ask(&arguments).await?;
        Ok(finished.succeeded().then(|| id.trim().to_owned()))
    }

    /// The branch that the remote itself calls its default.
    async fn head(&self) -> Result<Option<String>, StepError> {
        let (_, text) = self
            .ask(&["ls-remote", "--symref", "--", self.remote.url(), "HEAD"])
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
            .ask(&["rev-parse", &format!("--disambiguate={hex}")])
            .await?;
        let mut commits = Vec::new();
        for id in text.lines().take(MAX_NAMES) {
            let (_, kind) = self.ask(&["cat-file", "-t", id]).await?;
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
            let url = self.remote.url();
            let options = ["--no-auto-maintenance", "--no-write-fetch-head", "--"];
            let arguments: Vec<&str> = ["fetch"]
                .into_iter()
                .chain(options)
                .chain([url, id])
                .collect();
            self.ask(&arguments).await?;
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
        let (_, text) = self.ask(&arguments).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn not_found(&self) -> Result<Failure, StepError> {
        let shown = self.remote.shown();
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

/// Removes the entries of `directory` whose name is `unwanted`; if it is no directory, there are none.
fn remove_where(directory: &Path, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&unwanted) {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}
