//! [`Running`]: a hold on one OS process that cannot slip to another one with the same pid.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::{self, Cgroup};
use super::exec_spec::{ExecSpec, MARKER};
use super::identity::Identity;
use super::lack::Lack;
use super::procfs;
use super::users::Users;
use crate::document::limits::Limits;
use crate::exit_status::ExitStatus;

/// One OS process that leads a session, held by a pidfd: its end is announced by the kernel, own child or not.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    start_time: u64,
    /// The user that the command runs as.
    uid: u32,
    marker: String,
    users: Users,
    cgroup: Option<Cgroup>,
    is_confined: bool,
    /// How many of its group's processes had been ended for want of memory before it was started or held.
    oom_kills: u64,
    pidfd: AsyncFd<OwnedFd>,
    /// How the command ended, where this process is a shell that only waited for it.
    command: OnceLock<ExitStatus>,
}

impl Running {
    /// Holds a child that was just started. It leads its session as soon as it is set up. Blocks; needs a runtime.
    pub(super) fn of_child(
        child: &std::process::Child,
        spec: &ExecSpec,
        cgroup: Option<Cgroup>,
    ) -> io::Result<Self> {
        let pidfd = watch(open(child.id())?)?;
        Ok(Self {
            pid: child.id(),
            start_time: procfs::stat(child.id()).map_or(0, |stat| stat.start_time),
            uid: match &spec.account {
                Some(account) => account.uid,
                None => nix::unistd::geteuid().as_raw(),
            },
            marker: format!("{MARKER}={}", spec.instance),
            users: Users::of_account(spec.account.as_ref()),
            oom_kills: cgroup.as_ref().map_or(0, Cgroup::oom_kills),
            cgroup,
            is_confined: false,
            pidfd,
            command: OnceLock::new(),
        })
    }

    /// Holds the process of an identity record, if it still runs or is a zombie that has not been reaped. Blocks; needs
    /// a runtime.
    ///
    /// # Errors
    /// `NotFound` when it has ended, also when another process has its pid now.
    pub fn of_survivor(survivor: &Identity) -> io::Result<Self> {
        let pidfd = open(survivor.pid)?;
        // After the pidfd is open: what is checked now is what is held.
        if survivor.stat().is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut running = Self {
            pid: survivor.pid,
            start_time: survivor.start_time,
            uid: procfs::uid_or_own(survivor.pid),
            marker: format!("{MARKER}={}", survivor.directory.display()),
            users: survivor.users(),
            cgroup: None,
            is_confined: false,
            oom_kills: 0,
            pidfd: watch(pidfd)?,
            command: OnceLock::new(),
        };
        running.settle(Place::of(running.pid, running.instance()));
        running.oom_kills = running.cgroup.as_ref().map_or(0, Cgroup::oom_kills);
        Ok(running)
    }

    /// The process id, also its session and group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Field 22 of `/proc/PID/stat`.
    pub(super) fn start_time(&self) -> u64 {
        self.start_time
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// `PROCSERVER_INSTANCE=…`, as it is in the environment of all it started.
    pub(super) fn marker(&self) -> &str {
        &self.marker
    }

    /// [`ExecSpec::instance`].
    pub(super) fn instance(&self) -> &str {
        self.marker.split_once('=').map_or("", |(_, value)| value)
    }

    /// Whose processes may be of it.
    pub(super) fn users(&self) -> &Users {
        &self.users
    }

    /// Its control group, if it has one.
    pub(super) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Whether nothing that it starts can leave its control group.
    pub(super) fn is_confined(&self) -> bool {
        self.is_confined
    }

    /// Takes note of where it is, now that it is set up.
    pub(super) fn settle(&mut self, place: Place) {
        self.is_confined = place.is_confined;
        self.cgroup = match (place.cgroup, self.cgroup.take()) {
            (Some(found), Some(made)) => Some(found.and(made)),
            (found, made) => found.or(made),
        };
    }

    /// Finds out on another thread what [`Self::ran_out_of_memory`] does; `None` where nobody counts.
    pub(super) fn look_for_oom(&self) -> Option<impl FnOnce() -> bool + Send + use<>> {
        let cgroup = self.cgroup.clone().filter(Cgroup::counts_memory)?;
        let before = self.oom_kills;
        Some(move || cgroup.oom_kills() > before)
    }

    /// Lets the kernel enforce the limits on an instance that outlived the server which started it; says what it cannot.
    /// Blocks.
    pub(super) fn limit_again(&self, limits: &Limits) -> Vec<Lack> {
        match &self.cgroup {
            _ if *limits == Limits::default() => Vec::new(),
            Some(cgroup) => cgroup.limit_again(limits),
            None => Cgroup::default().limit(limits),
        }
    }

    /// Whether the kernel has ended it, or something that it had started, because memory ran out. Asked before what is
    /// left of it is killed: its control group goes with that. Blocks.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        let kills = self.cgroup.as_ref().map_or(0, Cgroup::oom_kills);
        kills > self.oom_kills
    }

    /// Resolves when it has ended. A child of ours stays a zombie until [`Running::reap`], so that its pid, session
    /// and group stay taken meanwhile. Cancel safe.
    pub async fn exited(&self) {
        // An error means that the runtime's I/O driver is shutting down: then nothing is watched any more.
        if self.pidfd.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Notes how the command ended, where this process is only the shell that waited for it.
    pub(super) fn note(&self, command: ExitStatus) {
        // The first one is that of the command.
        let _ = self.command.set(command);
    }

    /// How the process ended, or the command for which it waited. [`ExitStatus::Unknown`] when it is no child of ours,
    /// has not ended or was reaped.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.wait_id(WaitIdOptions::NOWAIT)
    }

    /// As [`Running::status`], and lets the kernel forget it: its pid is free for others afterwards.
    pub fn reap(&self) -> ExitStatus {
        self.wait_id(WaitIdOptions::empty())
    }

    fn wait_id(&self, more: WaitIdOptions) -> ExitStatus {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | more;
        let waited = rustix::process::waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options);
        if let Some(status) = self.command.get() {
            return *status;
        }
        match waited {
            Ok(Some(status)) => status
                .exit_status()
                .map(ExitStatus::Code)
                .or_else(|| status.terminating_signal().map(ExitStatus::Signal))
                .unwrap_or(ExitStatus::Unknown),
            Ok(None) | Err(_) => ExitStatus::Unknown,
        }
    }
}

/// Where a process runs, once it is set up.
pub(super) struct Place {
    cgroup: Option<Cgroup>,
    is_confined: bool,
}

impl Place {
    /// Finds the control group that a process of `instance` is in. Blocks.
    pub(super) fn of(pid: u32, instance: &str) -> Self {
        let cgroup = Cgroup::of_process(pid, instance);
        Self {
            is_confined: cgroup.as_ref().is_some_and(Cgroup::tracks) && cgroup::is_confined(pid),
            cgroup,
        }
    }
}

#[expect(
    deprecated,
    reason = "tokio deprecates every safe constructor because some type's as_raw_fd() may change under it; \
              an OwnedFd's does not, and this crate forbids the unsafe one"
)]
pub(super) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

pub(super) fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}
