//! [`Mirror`]: the bare copy of an app's repository, and how it is kept whole.

use std::io;
use std::path::{Path, PathBuf};

use super::bounds::{Bounds, StepError, blocking};
use super::command::{self, Finished};
use super::failure;
use super::git;
use super::journal::Journal;
use super::record::{Failure, Step};
use super::remote::Remote;
use super::tree;
use crate::app::directories::AppDirs;
use crate::durable;

/// The bare copy of a repository. Only one deploy of an app runs at a time, so nobody else is at work in it.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) remote: Remote,
    pub(super) path: PathBuf,
    configuration: PathBuf,
    pub(super) journal: Journal,
    pub(super) bounds: Bounds,
}

impl Mirror {
    pub(super) fn new(dirs: &AppDirs, url: &str, journal: Journal, bounds: Bounds) -> Self {
        Self {
            remote: Remote::parse(url),
            path: dirs.mirror(),
            configuration: dirs.root().join("gitconfig"),
            journal,
            bounds,
        }
    }

    /// Brings it up to date; makes it where there is none, or where it belongs to another URL, or is damaged.
    ///
    /// # Errors
    /// The remote refuses, the disk is full, a bound is reached.
    pub(super) async fn refresh(&self) -> Result<(), StepError> {
        self.configure().await?;
        self.clear().await?;
        if !self.is_usable().await? {
            self.make_anew().await?;
            return Ok(self.update().await??);
        }
        match self.update().await? {
            Ok(()) => Ok(()),
            Err(_) => self.repair().await,
        }
    }

    /// Makes a damaged one anew.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub(super) async fn repair(&self) -> Result<(), StepError> {
        let remark = "the mirror seems to be damaged: it is made anew";
        self.journal.line(remark).await;
        self.make_anew().await?;
        Ok(self.update().await??)
    }

    async fn configure(&self) -> Result<(), StepError> {
        let (file, path) = (self.configuration.clone(), self.remote.path());
        blocking(Step::Fetch, "cannot write git's configuration", move || {
            // git compares with the path that a link leads to. If it leads nowhere, git says so.
            let real = path.as_ref().and_then(|p| std::fs::canonicalize(p).ok());
            let real = real.and_then(|p| p.into_os_string().into_string().ok());
            let local: Vec<String> = path.into_iter().chain(real).collect();
            durable::replace(&file, git::configuration(&local).as_bytes(), 0o600)
        })
        .await
    }

    pub(super) fn git(&self, arguments: &[&str]) -> command::Program {
        let mut program = git::program(&self.configuration, &self.remote, arguments);
        program
            .environment
            .insert("GIT_DIR".into(), self.path.display().to_string());
        program
    }

    /// Runs a git that only reads the mirror; its stdout as text.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<(Finished, String), StepError> {
        let mut program = self.git(arguments);
        program.quiet = true;
        let finished = command::run(&program, &self.journal, &self.bounds).await?;
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        Ok((finished, text))
    }

    /// Whether there is a mirror, of this very URL.
    async fn is_usable(&self) -> Result<bool, StepError> {
        if !self.path.join("HEAD").is_file() {
            return Ok(false);
        }
        let (finished, url) = self
            .ask(&["config", "--local", "--get", "remote.origin.url"])
            .await?;
        Ok(finished.succeeded() && url.trim_end_matches('\n') == self.remote.url())
    }

    /// Removes what a git that was killed, or ran out of disk, has left in the mirror. Nobody else is at work in it.
    async fn clear(&self) -> Result<(), StepError> {
        let mirror = self.path.clone();
        blocking(Step::Fetch, "cannot clear the mirror", move || {
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
        let mirror = self.path.clone();
        blocking(Step::Fetch, "cannot remove the old mirror", move || {
            tree::remove(&mirror)
        })
        .await?;
        let mirror = self.path.display().to_string();
        // `--template=`: no hooks, no description, nothing that is not needed.
        self.must(&["init", "--quiet", "--bare", "--template=", "--", &mirror])
            .await?;
        self.must(&["config", "--local", "remote.origin.url", self.remote.url()])
            .await?;
        // Other users have no business in it.
        tree::directory(&self.path, 0o700, None).map_err(|e| {
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
