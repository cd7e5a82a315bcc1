//! Runs install commands and the release phase as the app's user, and hands the tree over to root.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::app_root;
use super::built::before_path;
use super::command;
use super::dedup::{Beside, Roots};
use super::failure;
use super::git_user::GitUser;
use super::hard_links::Earlier;
use super::install_log::InstallLog;
use super::instances;
use super::limits::{StepError, StepLimits, blocking};
use super::programs;
use super::read_only::{self, Origin};
use super::record::{Failure, Step};
use super::spec::InstallSpec;
use super::tree::{self, Owner};
use super::venv;
use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::formation::RELEASE;
use crate::process::environment::{self, layered};
use crate::process::exec_spec::{Exec, ExecSpec, Output};
use crate::process::landlock::Landlock;
use crate::process::lent::Lent;

/// `nice(2)` of install commands: the apps that serve come first.
const NICE: i32 = 10;

/// Makes the app's directories, each with its owner and mode. Blocks.
///
/// # Errors
/// As `mkdir(2)` and `chown(2)`; something else is in a directory's place.
pub fn make_directories(dirs: &AppDirs, account: Option<&Account>) -> io::Result<()> {
    if let Some(parent) = dirs.root().parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(parent)?;
    }
    let owner = account.map(|a| Owner {
        uid: a.uid,
        gid: a.gid,
    });
    // The app's user may pass through to its own directories, but only root may list them.
    tree::directory(dirs.root(), 0o711, None)?;
    tree::directory(&dirs.releases(), 0o711, None)?;
    tree::directory(&dirs.deployments(), 0o700, None)?;
    for own in [dirs.storage(), dirs.tmp(), dirs.home()] {
        tree::directory(&own, 0o700, owner)?;
    }
    Ok(())
}

/// Gives the app's own directories to its account, and its release to the account's group, where they belong to
/// another: its user was made anew with another id. Returns a warning then. Blocks.
#[must_use]
pub fn follow(dirs: &AppDirs, release: &Path, account: &Account) -> Option<String> {
    let found = std::fs::symlink_metadata(dirs.storage()).ok()?;
    let code = std::fs::symlink_metadata(release).ok()?;
    let (uid, gid) = (found.uid(), found.gid());
    let is_of_root = code.uid() == 0 && account.uid != 0;
    if (uid, gid) == (account.uid, account.gid) && (!is_of_root || code.gid() == account.gid) {
        return None;
    }
    let followed = make_directories(dirs, Some(account)).and_then(|()| match is_of_root {
        true => give_release(release, account).and_then(|()| {
            let venvs = venv::list(dirs).into_iter();
            venvs
                .map(|id| dirs.venv(id))
                .try_for_each(|path| give_release(&path, account))
        }),
        false => Ok(()),
    });
    let what = format!(
        "the files of {uid}:{gid} are given to {}:{} ({}), as whom the app runs now",
        account.uid, account.gid, account.user
    );
    Some(match followed {
        Ok(()) => what,
        Err(e) => format!("{what}: not all of them could be: {e}"),
    })
}

fn give_release(path: &Path, account: &Account) -> io::Result<()> {
    read_only::make(path, Some(Owner::root_of(account.gid)))?;
    tree::directory(path, 0o550, None)
}

/// The first directory on the way to `path` that `account` cannot pass. Blocks.
///
/// # Errors
/// As `stat(2)`.
pub fn barrier(path: &Path, account: &Account) -> io::Result<Option<PathBuf>> {
    if account.is_root() {
        return Ok(None);
    }
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    for directory in way {
        let stat = std::fs::metadata(directory)?;
        let bit = if stat.uid() == account.uid {
            0o100
        } else if stat.gid() == account.gid {
            0o010
        } else {
            0o001
        };
        if stat.mode() & bit == 0 {
            return Ok(Some(directory.to_owned()));
        }
    }
    Ok(None)
}

/// Gives a fresh checkout to the app's user, who builds in it. Other users cannot enter. Blocks.
///
/// # Errors
/// As `chown(2)`.
pub fn open_up(directory: &Path, account: Option<&Account>) -> io::Result<()> {
    let owner = account.map(|a| Owner {
        uid: a.uid,
        gid: a.gid,
    });
    let Some((owner, account)) = owner.zip(account) else {
        return tree::directory(directory, 0o700, None);
    };
    tree::give_from(directory, git_uid(account), owner)?;
    tree::directory_of(directory, 0o700, owner)
}

/// Takes the tree from the app's user for good: nobody may write to it, and the app's group may read it. Files that it
/// has in common with `earlier` become links. Blocks.
///
/// # Errors
/// See [`read_only::make`].
pub fn hand_over(
    directory: &Path,
    account: Option<&Account>,
    earlier: Option<&Earlier>,
) -> io::Result<()> {
    let owner = account.map(|a| Owner::root_of(a.gid));
    let roots = Roots::new(directory);
    let beside = earlier.and_then(|earlier| Beside::top(earlier, &roots));
    match account {
        // Root may collect files of any user in its builds.
        Some(account) if account.is_root() => read_only::make(directory, owner)?,
        Some(account) => {
            read_only::make_beside(directory, origin(directory, account)?, owner, beside)?;
        }
        None => read_only::make(directory, owner)?,
    }
    match owner {
        Some(_) => tree::directory(directory, 0o550, None),
        None => Ok(()),
    }
}

/// The app's processes cannot enter a tree that git writes, but one that is built in.
fn origin(directory: &Path, account: &Account) -> io::Result<Origin> {
    let was_built_in = std::fs::symlink_metadata(directory)?.uid() == account.uid;
    Ok(match was_built_in {
        true => Origin::Open(account.uid),
        false => Origin::Closed(git_uid(account)),
    })
}

/// The user who writes a checkout for an app that runs as `account`.
fn git_uid(account: &Account) -> u32 {
    GitUser::of(Some(account))
        .account()
        .map_or(0, |git| git.uid)
}

/// What the code itself tells its commands.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    pub commit: &'a str,
    /// Its `.env`.
    pub dotenv: &'a BTreeMap<String, String>,
}

/// Variables of a build beside those of the document and the settings.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The defaults of builders.
    pub builders: &'a BTreeMap<String, String>,
    pub code: Code<'a>,
    /// The Python environment of the release.
    pub venv: Option<&'a Path>,
}

impl Variables<'_> {
    fn of(&self, spec: &InstallSpec, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = own
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        layered([
            &spec.base_env,
            self.builders,
            self.code.dotenv,
            &spec.configured_env,
            &environment::of_release(spec.release, self.code.commit),
            &own.collect(),
        ])
    }
}

/// Runs one command of the step `install`.
///
/// # Errors
/// It fails, or a limit is reached.
pub async fn install(
    spec: &InstallSpec,
    command: &str,
    variables: &Variables<'_>,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    let venv = variables
        .venv
        .map(|path| path.to_string_lossy().into_owned());
    let own: Vec<(&str, &str)> = venv
        .iter()
        .map(|path| ("VIRTUAL_ENV", path.as_str()))
        .collect();
    run(spec, command, variables, &own, log, limits).await
}

/// Runs a command of the release phase, which is this `PS`, once, in the tree that becomes the release. It may still write there.
///
/// # Errors
/// As [`install`].
pub async fn release_phase(
    spec: &InstallSpec,
    (ps, command): (&str, &str),
    variables: &Variables<'_>,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    run(spec, command, variables, &[("PS", ps)], log, limits).await
}

async fn run(
    spec: &InstallSpec,
    command: &str,
    variables: &Variables<'_>,
    own: &[(&str, &str)],
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    let checkout = spec.dirs.release(spec.release);
    let directory = app_root::of(&checkout, &spec.config.document);
    let mut environment = variables.of(spec, own);
    // Anew for each command: the one before may have made some of them.
    let place = directory.clone();
    let look = move || Ok(programs::of(&place));
    let names = blocking(log.step(), "cannot look at the checkout", look).await?;
    before_path(&names, &directory, &mut environment);
    let exec = Exec::Shell(spec.config.shell, command.to_owned());
    // It may still be filled; one of an earlier release is root's.
    let title = (command, variables.venv);
    execute_with(spec, exec, title, environment, log, limits).await
}

/// Runs a command as the app's user where the application is, shown in the log as `title`.
///
/// # Errors
/// As [`install`].
pub(super) async fn execute(
    spec: &InstallSpec,
    command: Exec,
    title: &str,
    environment: BTreeMap<String, String>,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    execute_with(spec, command, (title, None), environment, log, limits).await
}

/// As [`execute`]; it may also write to the directory beside the title.
async fn execute_with(
    spec: &InstallSpec,
    command: Exec,
    (title, writable): (&str, Option<&Path>),
    environment: BTreeMap<String, String>,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    let checkout = spec.dirs.release(spec.release);
    let directory = app_root::of(&checkout, &spec.config.document);
    let writable = writable.map(Path::to_owned);
    let exec = ExecSpec {
        command,
        instance: instances::install(&spec.dirs),
        mounts: spec.mounts.clone(),
        landlock: spec.landlock.clone().map(|l| {
            let l = l.but(checkout.clone());
            writable.into_iter().fold(l, Landlock::but)
        }),
        directory,
        account: spec.account.clone(),
        environment,
        output: Output::Pipe,
        identity: None,
        limits: match log.step() {
            Step::Release => spec.config.limits.of(RELEASE),
            _ => spec.config.limits.of_install(),
        },
        nice: Some(NICE),
        umask: 0o022,
        lent: Lent::default(),
    };
    let finished = command::run_as_app(&exec, title, log, limits).await?;
    if finished.succeeded() {
        return Ok(());
    }
    let failed = failure::exited(log.step(), title, finished.status, finished.tail);
    Err(match finished.ran_out_of_memory {
        true => failure::out_of_memory(failed, title, exec.limits.memory),
        false => failed,
    }
    .into())
}

/// The failure for a [`barrier`].
#[must_use]
pub fn barred(step: Step, directory: &Path, account: &Account) -> Failure {
    let directory = directory.display();
    Failure::new(
        step,
        format!(
            "the user \"{}\" cannot reach its release: {directory} is closed to it",
            account.user
        ),
    )
    .hint(format!(
        "open it for passing through: chmod o+x {directory}"
    ))
}
