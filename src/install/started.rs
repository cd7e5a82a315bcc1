//! What runs of a command: [`Group`], [`Tree`], and the [`Start`] of one. Each ends whole when it is dropped.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::{JoinError, JoinHandle};

use crate::document::config::{StopPolicy, StopTo};
use crate::exit_status::ExitStatus;
use crate::priority;
use crate::process::exec_spec::ExecSpec;
use crate::process::lack::Lack;
use crate::process::running::Running;
use crate::process::spawn::{self, SpawnError};
use crate::process::stop;

/// How long a command may take to clean up after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// How a command of the app and what it has left running are ended.
const STOP: StopPolicy = StopPolicy {
    signal: Signal::TERM.as_raw(),
    timeout: GRACE,
    to: StopTo::All,
};

/// How long a killed process may take to end.
const BURIAL: Duration = Duration::from_secs(2);

/// A command of the app that runs.
pub(super) struct Started {
    pub(super) output: Option<ChildStderr>,
    pub(super) tree: Tree,
    /// What its sandbox lacks.
    pub(super) lacks: Vec<Lack>,
}

/// A command that is being started, in a task of its own: the start has several parts, and one that is cut off between
/// them would leave a process that nobody knows. When this is dropped, the start is still completed, and the command
/// killed.
pub(super) struct Start(JoinHandle<Result<Started, SpawnError>>);

impl Start {
    pub(super) fn of(spec: ExecSpec) -> Self {
        Self(tokio::spawn(async move {
            let spawned = spawn::spawn(&spec).await?;
            Ok(Started {
                output: spawned.output,
                tree: Tree::of(spawned.running),
                lacks: spawned.lacks,
            })
        }))
    }

    /// Waits until it runs, at most as long as a set-up may take. Cancel safe.
    pub(super) async fn done(&mut self) -> Result<Started, SpawnError> {
        let panicked = |error: JoinError| Err(SpawnError::Host(io::Error::other(error)));
        (&mut self.0).await.unwrap_or_else(panicked)
    }

    /// Ends what was started. Nothing of it writes any more when this returns. Only before [`Self::done`] has returned.
    pub(super) async fn undo(mut self) {
        if let Ok(mut started) = self.done().await {
            started.tree.kill().await;
        }
    }
}

/// A child that leads a process group. The group is killed when this is dropped before the child has ended.
pub(super) struct Group {
    child: Child,
    over: bool,
}

impl Group {
    /// Starts `command`. The pipe has its stderr and, unless that is `captured`, its stdout, in the order in which they
    /// were written.
    pub(super) fn start(mut command: Command, captured: bool) -> io::Result<(Receiver, Self)> {
        let (reader, writer) = io::pipe()?;
        command
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null());
        if captured {
            command.stdout(Stdio::piped());
        } else {
            command.stdout(writer.try_clone()?);
        }
        let child = command.stderr(writer).spawn()?;
        priority::put_back(child.id());
        let group = Self { child, over: false };
        Ok((Receiver::from_owned_fd(reader.into())?, group))
    }

    /// The stdout that is captured, once.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().await;
        self.over = true;
        match status {
            Ok(status) => status
                .code()
                .map(ExitStatus::Code)
                .or_else(|| status.signal().map(ExitStatus::Signal))
                .unwrap_or(ExitStatus::Unknown),
            Err(_) => ExitStatus::Unknown,
        }
    }

    /// SIGTERM, so that lock files are removed; SIGKILL after [`GRACE`].
    pub(super) async fn kill(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            // A process that the kernel holds is reaped later.
            let _held = tokio::time::timeout(BURIAL, self.ended()).await;
        }
    }

    fn signal(&self, signal: Signal) {
        // The child is not reaped before `over`, so the group is still its own.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(group) = pid.and_then(Pid::from_raw).filter(|_| !self.over) {
            // ESRCH: it has just ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A command of the app and all that it started: killed when this is dropped.
pub(super) struct Tree {
    running: Option<Arc<Running>>,
    ran_out_of_memory: bool,
}

impl Tree {
    fn of(running: Running) -> Self {
        Self {
            running: Some(Arc::new(running)),
            ran_out_of_memory: false,
        }
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        let Some(running) = &self.running else {
            return ExitStatus::Unknown;
        };
        running.exited().await;
        let own = Arc::clone(running);
        let looked = tokio::task::spawn_blocking(move || own.ran_out_of_memory()).await;
        self.ran_out_of_memory = looked.unwrap_or_default();
        stop::gracefully(running, &STOP).await;
        let status = running.reap();
        self.running = None;
        status
    }

    /// Whether the kernel had ended something of it for want of memory, once it has ended.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.ran_out_of_memory
    }

    /// SIGTERM to all of it, SIGKILL to what is left after [`GRACE`].
    pub(super) async fn kill(&mut self) {
        if let Some(running) = &self.running {
            stop::gracefully(running, &STOP).await;
            // A process that the kernel holds does not die of SIGKILL. `Running` reaps it later; the deploy does not
            // wait.
            if tokio::time::timeout(BURIAL, running.exited()).await.is_ok() {
                running.reap();
            }
            self.running = None;
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let (Some(running), Ok(runtime)) =
            (self.running.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        // The actor was dropped (a panic), so nobody waits. The command's own group is killed at once, even while the
        // runtime ends too, and the others as soon as they are found.
        let pid = i32::try_from(running.pid()).ok().and_then(Pid::from_raw);
        if let Some(group) = pid {
            // It is not reaped, so the group is still its own. ESRCH: it is not set up yet, or has just ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
        runtime.spawn(async move {
            stop::kill(&running).await;
            running.exited().await;
            running.reap();
        });
    }
}
