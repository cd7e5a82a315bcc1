//! Starts `procserver exec` with a specification and reads its error pipe.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::cgroup::Cgroup;
use super::exec::{Credentials, Instructions, SetupFailure, Step, VERB, Word};
use super::exec_spec::{ExecSpec, MARKER, Output};
use super::fixed_project;
use super::lack::Lack;
use super::rlimit_mark::RlimitMark;
use super::rlimits::Rlimits;
use super::running::{Place, Running};
use super::stop;
use crate::exit_status::ExitStatus;
use crate::priority;

/// How long the helper may take until it becomes the command. It opens a few files and changes its user; more than
/// this means a file system or user database that hangs.
const SETUP_TIMEOUT: Duration = Duration::from_secs(20);

/// A command that runs. Dropping it leaves the command running.
#[derive(Debug)]
pub struct Spawned {
    /// Process id, also its session and group.
    pub pid: u32,
    /// The read end of [`Output::Pipe`]. It ends when nothing of the tree holds it any more.
    pub output: Option<ChildStderr>,
    /// What its sandbox lacks here.
    pub lacks: Vec<Lack>,
    /// What is watched and stopped.
    pub running: Running,
}

impl Spawned {
    /// Waits for the command's end, kills what it left behind, and says how it ended. Cancel safe. To end it early:
    /// [`stop::kill`] or [`stop::gracefully`], then this.
    pub async fn wait(&self) -> ExitStatus {
        self.running.exited().await;
        stop::kill(&self.running).await;
        self.running.reap()
    }
}

/// Why nothing runs. The text is for the person who deploys.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The helper itself could not be started, or lacked what it needed: the machine's trouble, not the app's.
    #[error("this machine could not start a process: {0}")]
    Host(#[source] io::Error),
    /// A step of the set-up failed.
    #[error("{reason}{}", hint(*step))]
    Setup { step: Step, reason: String },
    /// The set-up took too long, and was ended.
    #[error("setting the process up took more than {}s: is a file system or the user database hanging?", SETUP_TIMEOUT.as_secs())]
    Timeout,
}

impl SpawnError {
    /// Whether the machine is to blame (out of memory, processes, descriptors), not the app.
    #[must_use]
    pub fn blames_host(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Timeout)
    }
}

fn hint(step: Step) -> &'static str {
    match step {
        Step::Directory => ": the app's user must be able to enter the directory",
        Step::Account => ": the server must run as root to switch users",
        _ => "",
    }
}

static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();

/// Sets the binary that understands the verb `exec`, where it is not the running one (tests). The first call stays.
pub fn set_executable(path: PathBuf) {
    let _ = EXECUTABLE.set(path);
}

/// `/proc/self/exe` stays the very binary that runs, also when a package upgrade replaced the file.
pub(crate) fn executable() -> &'static Path {
    EXECUTABLE.get_or_init(|| {
        let own = PathBuf::from("/proc/self/exe");
        match std::env::current_exe() {
            Ok(path) if !own.exists() => path,
            _ => own,
        }
    })
}

/// Starts `spec`. On success the command runs (its exec succeeded).
///
/// # Errors
/// [`SpawnError`]; nothing runs then.
pub async fn spawn(spec: &ExecSpec) -> Result<Spawned, SpawnError> {
    let own = spec.clone();
    let started = tokio::task::spawn_blocking(move || Helper::start(&own));
    let Helper {
        mut child,
        mut running,
        instructions,
        lacks: unlimited,
    } = started
        .await
        .map_err(|e| SpawnError::Host(io::Error::other(e)))??;
    let set_up = async {
        let output = child.stderr.take().map(ChildStderr::from_std).transpose();
        let output = output.map_err(SpawnError::Host)?;
        let lacks = instruct(&mut child, &instructions).await?;
        Ok((output, lacks))
    };
    let result = tokio::time::timeout(SETUP_TIMEOUT, set_up)
        .await
        .unwrap_or(Err(SpawnError::Timeout));
    match result {
        Ok((output, mut lacks)) => {
            lacks.extend(unlimited);
            let (pid, instance) = (child.id(), spec.instance.clone());
            let place = tokio::task::spawn_blocking(move || Place::of(pid, &instance));
            // An error is a panic in there: then a stop scans /proc, as it does without control groups.
            if let Ok(place) = place.await {
                running.settle(place);
            }
            Ok(Spawned {
                pid,
                output,
                lacks,
                running,
            })
        }
        Err(error) => {
            stop::kill(&running).await;
            running.reap();
            Err(error)
        }
    }
}

/// `procserver exec`, which waits for its instructions.
struct Helper {
    child: std::process::Child,
    running: Running,
    /// As JSON.
    instructions: Vec<u8>,
    /// The limits that no control group enforces.
    lacks: Vec<Lack>,
}

impl Helper {
    /// Makes the control groups of `spec` and starts the helper. Blocks.
    fn start(spec: &ExecSpec) -> Result<Self, SpawnError> {
        let (cgroup, mut lacks) = Cgroup::create(&spec.instance, &spec.limits, spec.nice);
        let rlimits = Rlimits::of(&spec.limits, &mut lacks);
        let instructions = serde_json::to_vec(&instructions(spec, cgroup.as_ref(), rlimits));
        let instructions = instructions.map_err(|e| SpawnError::Setup {
            step: Step::Instructions,
            reason: e.to_string(),
        })?;
        let child = match command(spec).spawn() {
            Ok(child) => child,
            Err(error) => {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                return Err(SpawnError::Host(error));
            }
        };
        // The child is not reaped before `Running::reap`, so its pid cannot have been given to another process.
        let running = Running::of_child(&child, spec, cgroup).map_err(SpawnError::Host)?;
        Ok(Self {
            child,
            running,
            instructions,
            lacks,
        })
    }
}

fn command(spec: &ExecSpec) -> Command {
    let mut helper = Command::new(executable());
    helper
        .arg0(OsStr::new("procserver"))
        .arg(VERB)
        .env_clear()
        // The helper belongs to the instance: a stop finds it before it has become the command.
        .env(MARKER, &spec.instance)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // An instance with FIFOs writes nothing to the daemon's stderr but a panic of the helper.
    if spec.output == Output::Pipe {
        helper.stderr(Stdio::piped());
    }
    helper
}

/// Hands the helper its instructions and waits until it has become the command; says what its sandbox lacks.
async fn instruct(child: &mut std::process::Child, text: &[u8]) -> Result<Vec<Lack>, SpawnError> {
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(SpawnError::Host(io::Error::other(
            "the helper has no pipes",
        )));
    };
    let mut stdin = ChildStdin::from_std(stdin).map_err(SpawnError::Host)?;
    let stdout = ChildStdout::from_std(stdout).map_err(SpawnError::Host)?;
    // A helper that fails before it has read everything says why on its stdout: so a failed write is no reason to give
    // up.
    let written = stdin.write_all(text).await;
    drop(stdin);
    let mut answer = Vec::new();
    stdout
        .take(64 * 1024)
        .read_to_end(&mut answer)
        .await
        .map_err(SpawnError::Host)?;
    let mut lacks = Vec::new();
    for word in serde_json::Deserializer::from_slice(&answer).into_iter() {
        match word.map_err(|e| SpawnError::Host(io::Error::other(e)))? {
            Word::Failed(failure) => return Err(failure.into()),
            Word::Lacks(lack) => lacks.push(lack),
        }
    }
    written.map_err(SpawnError::Host)?;
    Ok(lacks)
}

impl From<SetupFailure> for SpawnError {
    fn from(failure: SetupFailure) -> Self {
        match failure.is_shortage {
            true => Self::Host(io::Error::other(failure.reason)),
            false => Self::Setup {
                step: failure.step,
                reason: failure.reason,
            },
        }
    }
}

fn instructions(spec: &ExecSpec, cgroup: Option<&Cgroup>, rlimits: Rlimits) -> Instructions {
    let mut environment = spec.environment.clone();
    environment.insert(MARKER.into(), spec.instance.clone());
    Instructions {
        command: spec.command.clone(),
        directory: spec.directory.clone(),
        credentials: spec.account.as_ref().map(|account| Credentials {
            user: account.user.clone(),
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
        }),
        environment,
        output: spec.output.clone(),
        identity: spec.identity.clone(),
        rlimit_mark: RlimitMark::of(&spec.instance),
        mounts: spec.mounts.clone(),
        landlock: spec.landlock.clone(),
        lent: spec.lent.clone(),
        cgroups: cgroup.map(Cgroup::directories).unwrap_or_default(),
        nice: spec.nice.or_else(priority::ordinary),
        umask: spec.umask,
        rlimits,
        fixed_project: fixed_project::is_required(),
    }
}
