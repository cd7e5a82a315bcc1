//! Runs one command of a deploy. Its output goes to the install log, and all that it started ends with it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk_space;
use super::failure;
use super::install_log::{InstallLog, elapsed};
use super::limits::{LimitReached, StepError, StepLimits};
use super::output::OutputLog;
use super::record::Failure;
use super::started::{Group, Start, Started};
use crate::account::Account;
use crate::document::limits::Limits;
use crate::exit_status::ExitStatus;
use crate::process::exec;
use crate::process::exec_spec::{Exec, ExecSpec, Output};
use crate::process::landlock::Landlock;
use crate::process::lent::Lent;
use crate::process::spawn::SpawnError;

/// How long output is read after its command has ended: a daemon that it started may hold the pipe for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// How often reading goes on for another [`DRAIN`] while output comes: a loaded machine reads late what was printed.
const DRAINS: u32 = 10;

/// The most that is kept of a captured output; bytes.
pub(super) const MAX_CAPTURE: u64 = 32 * 1024 * 1024;

/// A program of the machine: `git`, `apt-get`, `dpkg-query`. It runs as the daemon's own user unless it is confined.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Name, searched in PATH of `environment`.
    pub name: &'static str,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Working directory; `None`: `/`.
    pub directory: Option<PathBuf>,
    /// Its stdout is a result and not for the log, which does not name the command either.
    pub quiet: bool,
    /// `None`: it runs as the daemon.
    pub confined: Option<Box<Confined>>,
}

/// The rights of a program that reads what strangers have written.
#[derive(Clone, Debug)]
pub struct Confined {
    /// The account to switch to, when the daemon is root.
    pub account: Option<Account>,
    pub landlock: Landlock,
    /// See [`ExecSpec::instance`]: the next daemon finds it by that when this one was killed.
    pub instance: String,
    /// `nice(2)` level, of what nobody waits for.
    pub nice: Option<i32>,
    pub lent: Lent,
}

impl Confined {
    /// `program` with these rights.
    pub(super) fn spec(&self, program: &Program) -> ExecSpec {
        let mut words = vec![program.name.to_owned()];
        words.extend_from_slice(&program.arguments);
        ExecSpec {
            command: Exec::Program(words),
            directory: program.directory.clone().unwrap_or_else(|| "/".into()),
            account: self.account.clone(),
            environment: program.environment.clone(),
            instance: self.instance.clone(),
            mounts: None,
            landlock: Some(self.landlock.clone()),
            output: Output::Pipe,
            identity: None,
            // git has its own: `lent`.
            limits: Limits::default(),
            nice: self.nice,
            umask: 0o022,
            lent: self.lent.clone(),
        }
    }
}

impl Program {
    /// The command line as people type it.
    #[must_use]
    pub fn title(&self) -> String {
        let mut title = self.name.to_owned();
        for argument in &self.arguments {
            title.push(' ');
            title.push_str(argument);
        }
        title
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.name);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.directory.as_deref().unwrap_or("/".as_ref()));
        command
    }
}

/// A command that ended by itself.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    /// Its last lines.
    pub tail: Vec<String>,
    /// The stdout of a quiet [`Program`].
    pub stdout: Vec<u8>,
    /// The kernel has ended something of it because memory ran out.
    pub ran_out_of_memory: bool,
}

impl Finished {
    /// Whether it exited with 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == ExitStatus::Code(0)
    }
}

/// Runs a program of the machine.
///
/// # Errors
/// It cannot be started, or a limit is reached, and then its process group has been killed. An exit code other than 0
/// is no error here.
pub async fn run(
    program: &Program,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Finished, StepError> {
    let title = program.title();
    // On the heap: what a command needs meanwhile would be part of all that wait for it, several times over.
    match &program.confined {
        Some(confined) => Box::pin(run_confined(program, confined, &title, log, limits)).await,
        None => Box::pin(run_here(program, &title, log, limits)).await,
    }
}

async fn run_here(
    program: &Program,
    title: &str,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Finished, StepError> {
    if !program.quiet {
        log.line(format!("$ {title}")).await;
    }
    let (reader, mut group) = Group::start(program.command(), program.quiet)
        .map_err(|e| failure::not_started(log.step(), program.name, &e))?;
    let stdout = group.stdout();
    let mut captured = Vec::new();
    let seen = Cell::default();
    let mut output_log = OutputLog::new(log, &seen);
    let began = Instant::now();
    let capture = async {
        if let Some(stdout) = stdout {
            // If reading fails or the limit cuts it, whoever parses the result sees that.
            let _ = stdout.take(MAX_CAPTURE).read_to_end(&mut captured).await;
        }
    };
    let output = async { tokio::join!(capture, output_log.read(reader)) };
    let held = limits.hold(until_both(group.ended(), output, &seen)).await;
    match held {
        Ok(status) => {
            if !program.quiet {
                log.line(footer(status, began)).await;
            }
            Ok(Finished {
                status,
                tail: output_log.tail(),
                stdout: captured,
                ran_out_of_memory: false,
            })
        }
        Err(reached) => {
            group.kill().await;
            Err(cut_short(reached, log, title, output_log.tail()).await)
        }
    }
}

async fn run_confined(
    program: &Program,
    confined: &Confined,
    title: &str,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Finished, StepError> {
    let mut spec = confined.spec(program);
    let failed = |e: io::Error| failure::not_started(log.step(), program.name, &e);
    let mut result = None;
    if program.quiet {
        let (reader, writer) = io::pipe().map_err(failed)?;
        let reader = Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        // The helper opens it there, before it is another user.
        let writer = Arc::new(OwnedFd::from(writer));
        spec.lent.stdout = Some(writer.into());
        result = Some(reader);
    }
    follow(spec, title, log, limits, result).await
}

/// Runs a command as the app's user, shown in the log as `title`.
///
/// # Errors
/// As [`run`]. Everything that it started has ended then, as after its own end, also what left its session.
pub async fn run_as_app(
    spec: &ExecSpec,
    title: &str,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Finished, StepError> {
    follow(spec.clone(), title, log, limits, None).await
}

/// Runs `spec` to its end. With `result`, its stdout goes there, and the log does not name the command.
async fn follow(
    mut spec: ExecSpec,
    title: &str,
    log: &InstallLog,
    limits: &StepLimits,
    result: Option<Receiver>,
) -> Result<Finished, StepError> {
    let is_told = result.is_none();
    if is_told {
        log.line(format!("$ {title}")).await;
    }
    let began = Instant::now();
    let started = start_within(&spec, title, log, limits).await;
    // The pipe ends only when nobody holds its other end, so this copy is dropped.
    spec.lent = Lent::default();
    let Started {
        output,
        mut tree,
        lacks,
    } = started?;
    for lack in lacks.iter().filter(|_| is_told) {
        log.line(format!("remark: {lack}")).await;
    }
    let seen = Cell::default();
    let (mut output_log, mut captured) = (OutputLog::new(log, &seen), Vec::new());
    let read = async {
        if let Some(output) = output {
            output_log.read(output).await;
        }
    };
    let capture = async {
        if let Some(reader) = result {
            let _ = reader.take(MAX_CAPTURE).read_to_end(&mut captured).await;
        }
    };
    let all = async { tokio::join!(capture, read) };
    match limits.hold(until_both(tree.ended(), all, &seen)).await {
        Ok(status) => {
            if is_told {
                log.line(footer(status, began)).await;
            }
            let mut tail = output_log.tail();
            if status != ExitStatus::Code(0) && !failure::disk_is_full(&tail) {
                tail.extend(full_disk(&spec, log).await);
            }
            Ok(Finished {
                status,
                tail,
                stdout: captured,
                ran_out_of_memory: tree.ran_out_of_memory(),
            })
        }
        Err(reached) => {
            tree.kill().await;
            Err(cut_short(reached, log, title, output_log.tail()).await)
        }
    }
}

/// Says in the log that a disk is full: programs that fail for that reason do not always say so.
async fn full_disk(spec: &ExecSpec, log: &InstallLog) -> Option<String> {
    let mut places = vec![spec.directory.clone()];
    places.extend(
        spec.landlock
            .iter()
            .flat_map(|landlock| landlock.writable.clone()),
    );
    let look = move || places.into_iter().find(|place| disk_space::is_full(place));
    let full = tokio::task::spawn_blocking(look).await.ok().flatten()?;
    let remark = format!("remark: {}: No space left on device", full.display());
    log.line(&remark).await;
    Some(remark)
}

async fn start_within(
    spec: &ExecSpec,
    title: &str,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Started, StepError> {
    let mut start = Start::of(spec.clone());
    match limits.hold(start.done()).await {
        Ok(Ok(started)) => Ok(started),
        Ok(Err(error)) => Err(refused(&error, spec, title, log).await),
        Err(reached) => {
            start.undo().await;
            Err(reached.into_error(log.step(), title, Vec::new()))
        }
    }
}

async fn refused(error: &SpawnError, spec: &ExecSpec, title: &str, log: &InstallLog) -> StepError {
    if let (
        SpawnError::Setup {
            step: spawn_step,
            reason,
        },
        Exec::Program(words),
    ) = (error, &spec.command)
        && *spawn_step == exec::Step::Exec
        && reason.ends_with("(os error 2)")
    {
        let missing = io::ErrorKind::NotFound.into();
        return failure::not_started(log.step(), &words[0], &missing).into();
    }
    let failure = Failure::new(
        log.step(),
        format!("`{title}` could not be started: {error}"),
    );
    log.line(&failure.reason).await;
    failure.into()
}

async fn cut_short(
    reached: LimitReached,
    log: &InstallLog,
    title: &str,
    tail: Vec<String>,
) -> StepError {
    let remark = match reached {
        LimitReached::Cancelled => "cancelled: the command was killed".to_owned(),
        LimitReached::TimedOut(limit) => {
            format!("killed: the step took more than {}", elapsed(limit))
        }
    };
    log.line(remark).await;
    reached.into_error(log.step(), title, tail)
}

fn footer(status: ExitStatus, began: Instant) -> String {
    format!("{status} after {}", elapsed(began.elapsed()))
}

/// Waits for the end and for all output. After the end it waits only as long as `seen` grows within [`DRAIN`].
async fn until_both(
    ended: impl Future<Output = ExitStatus>,
    output: impl Future,
    seen: &Cell<u64>,
) -> ExitStatus {
    let (gone, told) = oneshot::channel();
    let ended = async {
        let status = ended.await;
        // The output may have ended before.
        let _ = gone.send(());
        status
    };
    let output = async {
        let late = async {
            let _ = told.await;
            for _ in 0..DRAINS {
                let before = seen.get();
                tokio::time::sleep(DRAIN).await;
                if seen.get() == before {
                    break;
                }
            }
        };
        tokio::select! { _ = output => {}, () = late => {} }
    };
    tokio::join!(ended, output).0
}
