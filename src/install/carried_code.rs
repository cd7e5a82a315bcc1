//! The code of an app that is pushed to, in one file: a bundle (git-bundle(1)) that a backup has, and that a restore leaves
//! for the first who opens the mirror. git makes it and reads it, as its own user.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::git;
use super::limits::{StepError, blocking};
use super::mirror::Mirror;
use super::pushed::Pushed;
use super::tree;
use crate::{durable, regular};

/// How long git may take to write or to read all of it.
const PATIENCE: Duration = Duration::from_mins(30);

/// What it is called in the mirror, the only place to which git may write, while it is made.
const IN_MIRROR: &str = "procserver-bundle";

/// Puts branch and tags of `pushed`, and all that they lead to, into a file without a name. `None`: there is nothing yet.
///
/// # Errors
/// git cannot be run, or fails; the disk is full.
pub async fn write(pushed: &Pushed) -> Result<Option<File>, String> {
    if pushed.head().await.map_err(|e| e.to_string())?.is_none() {
        return Ok(None);
    }
    let branch = format!("refs/heads/{}", pushed.branch());
    let bundle = pushed.path().join(IN_MIRROR);
    let name = bundle.display().to_string();
    let slot = pushed.turns().serving.take().await;
    let arguments = ["bundle", "create", "--quiet", &name, &branch, "--tags"];
    let mut program = pushed.program(&slot, &arguments);
    git::set(&mut program, "pack.threads", "1");
    let finished = pushed.run_within(&program, PATIENCE).await;
    let taken = tokio::task::spawn_blocking(move || take(&bundle)).await;
    let taken = taken.map_err(|e| e.to_string())?;
    let finished = finished.map_err(|e| e.to_string())?;
    if !finished.succeeded() {
        return Err(format!("git bundle: {}", finished.tail.join("; ")));
    }
    taken.map(Some).map_err(|e| format!("{name}: {e}"))
}

/// Opens the file that git has made, and takes its name away. git writes to the directory: no link in it is followed.
fn take(bundle: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = regular::open_with(bundle, options.read(true), OFlags::NOFOLLOW);
    tree::remove(bundle)?;
    opened
}

/// Removes what a backup that did not come to its end has left in a mirror, while none is under way. Blocks.
///
/// # Errors
/// As `unlink(2)`.
pub fn remove_remains(mirror: &Path) -> io::Result<()> {
    tree::remove(&mirror.join(IN_MIRROR))?;
    tree::remove(&mirror.join(format!("{IN_MIRROR}.lock")))
}

impl Mirror {
    /// Takes in what a restore has left, if it has. Where git cannot read that, it is put aside: then the code must be
    /// pushed again.
    ///
    /// # Errors
    /// It cannot be put away.
    pub(super) async fn take_in(&self) -> Result<(), StepError> {
        let bundle = self.dirs.code();
        if bundle.symlink_metadata().is_err() {
            return Ok(());
        }
        let step = self.log.step();
        let (user, path) = (self.user.clone(), bundle.clone());
        let what = "cannot let git read the code of the backup";
        blocking(step, what, move || user.readable(&path, 0o640)).await?;
        let taken = self.fetch_from(&bundle).await;
        if let Err(error) = &taken {
            let remark = format!("remark: the code of the backup cannot be read: {error}");
            self.log.line(remark).await;
        }
        let is_taken = taken.is_ok();
        blocking(step, "cannot put the code of the backup away", move || {
            put_away(&bundle, is_taken)
        })
        .await
    }

    async fn fetch_from(&self, bundle: &Path) -> Result<(), StepError> {
        let name = bundle.display().to_string();
        let options = ["--quiet", "--no-auto-maintenance", "--no-write-fetch-head"];
        let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let arguments = ["fetch"].into_iter().chain(options);
        let arguments: Vec<&str> = arguments.chain(["--", &name]).chain(refs).collect();
        let mut program = self.git(&arguments);
        program.quiet = true;
        git::set(&mut program, "protocol.file.allow", "always");
        git::set(&mut program, "fetch.fsckObjects", "true");
        let limits = self.limits.of(PATIENCE);
        let finished = super::command::run(&program, &self.log, &limits).await?;
        if finished.succeeded() {
            return Ok(());
        }
        let step = self.log.step();
        Err(super::failure::exited(step, "git fetch", finished.status, finished.tail).into())
    }
}

/// Removes the file, or renames it, so that nobody reads it again. Another may have done it just now.
fn put_away(bundle: &Path, is_taken: bool) -> io::Result<()> {
    if is_taken {
        return tree::remove(bundle);
    }
    let aside: PathBuf = bundle.with_extension("damaged");
    match std::fs::rename(bundle, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bundle.parent().map_or(Ok(()), durable::sync_directory)
}
