//! Ends a process and everything it started.
//!
//! "Everything" is found in `/proc`: what is in the process' session or group, and what carries its instance's marker
//! in the environment, which children inherit into sessions of their own. Signals go through pidfds, checked after
//! opening: a pid that was given to another program meanwhile is never signalled.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::procfs;
use super::running::Running;
use super::spawn::MARKER;
use crate::app::config::StopPolicy;

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The process ended within the grace.
    InTime,
    /// It was killed after the grace.
    Killed,
}

/// A signal's name, e.g. `SIGTERM`.
pub(super) fn name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |known| known.to_string())
}

/// Sends the policy's signal to the process group (and SIGCONT, for stopped ones), waits up to the grace for the
/// process' end, then kills everything that is left. Does not reap. Cancel safe: it can be called again.
pub async fn gracefully(running: &Running, policy: &StopPolicy) -> Stopped {
    signal_group(
        running,
        Signal::from_named_raw(policy.signal).unwrap_or(Signal::TERM),
    );
    signal_group(running, Signal::CONT);
    let outcome = match tokio::time::timeout(policy.timeout, running.exited()).await {
        Ok(()) => Stopped::InTime,
        Err(_) => Stopped::Killed,
    };
    kill(running).await;
    outcome
}

/// SIGKILL to everything of the process, repeated until nothing lives. Does not reap.
pub async fn kill(running: &Running) {
    let target = Target::of(running);
    for pause in pauses() {
        let sweep = target.clone();
        // Reads all of /proc: too long for the actors' thread.
        match tokio::task::spawn_blocking(move || sweep.kill_once()).await {
            Ok(0) => return,
            Ok(_) => tokio::time::sleep(pause).await,
            Err(error) => {
                log::error!("looking for what pid {} left: {error}", running.pid());
                return;
            }
        }
    }
    log::error!(
        "processes of pid {} do not die of SIGKILL: the kernel holds them (a hanging disk or network file system?)",
        running.pid()
    );
}

/// Signals the group as one, so that a fork in progress cannot escape it.
fn signal_group(running: &Running, signal: Signal) {
    if let Some(group) = Target::of(running).group() {
        // ESRCH: it has just ended.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// Kills what a dead process left running, recognised by the marker alone: its pid may be a stranger's by now. Blocks.
pub fn kill_remains(instance: &str) {
    let target = Target {
        leader: None,
        marker: format!("{MARKER}={instance}"),
    };
    for pause in pauses() {
        if target.kill_once() == 0 {
            return;
        }
        std::thread::sleep(pause);
    }
    log::error!(
        "processes of {instance} do not die of SIGKILL: the kernel holds them (a hanging disk or network file system?)"
    );
}

/// Pauses between sweeps: short, while the kernel buries what was killed, then longer; half a minute in all, because
/// a process in an uninterruptible sleep does not die.
fn pauses() -> impl Iterator<Item = Duration> {
    (0..160).map(|sweep| Duration::from_millis(if sweep < 20 { 5 } else { 200 }))
}

/// What belongs to one instance.
#[derive(Clone, Debug)]
struct Target {
    /// Pid and start time of the session's leader, as long as the pid cannot have been given to another program.
    leader: Option<(u32, u64)>,
    marker: String,
}

impl Target {
    fn of(running: &Running) -> Self {
        Self {
            leader: Some((running.pid(), running.start_time())),
            marker: running.marker().to_owned(),
        }
    }

    /// The group, while the leader is there, alive or as a zombie.
    fn group(&self) -> Option<Pid> {
        let (leader, start_time) = self.leader?;
        let stat = procfs::stat(leader)?;
        let is_ours = stat.start_time == start_time && stat.group == leader;
        is_ours.then(|| pid(leader)).flatten()
    }

    /// Kills what is found in one pass, and says how many that were.
    fn kill_once(&self) -> usize {
        if let Some(group) = self.group() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let own = std::process::id();
        procfs::pids()
            .filter(|candidate| *candidate != own && self.owns(*candidate))
            .filter(|candidate| {
                // What is checked once the pidfd is open is what is signalled.
                hold(*candidate).is_some_and(|pidfd| {
                    self.owns(*candidate)
                        && rustix::process::pidfd_send_signal(pidfd.as_fd(), Signal::KILL).is_ok()
                })
            })
            .count()
    }

    /// Whether `candidate` lives and is of this instance.
    fn owns(&self, candidate: u32) -> bool {
        procfs::stat(candidate).is_some_and(|stat| {
            stat.is_alive()
                && (self.has_in_session(candidate, &stat)
                    || procfs::has_variable(candidate, &self.marker))
        })
    }

    /// Whether it is in the leader's session or group: the kernel gives their number to no new process while one
    /// member lives. An adopted leader is reaped by init at its end; pids are handed out cyclically, so that its
    /// number is not a stranger's in the moments after.
    fn has_in_session(&self, candidate: u32, stat: &procfs::Stat) -> bool {
        let Some((leader, start_time)) = self.leader else {
            return false;
        };
        if candidate == leader {
            // Also before its setsid.
            return stat.start_time == start_time;
        }
        if stat.session != leader && stat.group != leader {
            return false;
        }
        match procfs::stat(leader) {
            Some(present) => present.start_time == start_time,
            None => stat.start_time >= start_time,
        }
    }
}

fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(raw).ok()?)
}

fn hold(candidate: u32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid(candidate)?, PidfdFlags::empty()).ok()
}
