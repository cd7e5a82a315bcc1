//! Ends a process and everything it started.
//!
//! What runs in a control group of its own ([`super::cgroup`]) is killed with that; where its user cannot leave it,
//! that is all. Else "everything" is found in `/proc`: what is in the process' session or group, what carries its
//! instance's rlimit mark ([`super::rlimit_mark`]) or its marker in the environment, which children inherit
//! into sessions of their own, and the descendants of all these. Both marks count only on processes of the instance's
//! users ([`super::users`]): anybody can put them on processes of their own. Signals go through pidfds, checked after
//! opening: a pid that was given to another program meanwhile is never signalled.

mod grace;
mod missed;
pub mod pause;
mod user;

pub use user::kill_all_of;

use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal};

use grace::Grace;

use super::cgroup::Cgroup;
use super::exec_spec::MARKER;
use super::held::{self, Patience, Unique};
use super::instance;
use super::procfs::{self, Stat};
use super::rlimit_mark::RlimitMark;
use super::running::Running;
use super::users::Users;
use crate::document::config::StopPolicy;
use crate::priority;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All of it ended within the grace.
    InTime,
    /// The process was killed after the grace.
    Killed,
    /// The process ended within the grace; what it had started did not, and was killed.
    RestKilled,
}

/// A signal's name, e.g. `SIGTERM`.
pub(super) fn name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |known| known.to_string())
}

/// Stops the process and all that it started, by the policy: sends the signal to each (and SIGCONT to stopped ones),
/// waits for the grace, kills what is left. The process itself may have ended already. Does not reap. Cancel safe: can
/// be called again.
pub async fn gracefully(running: &Running, policy: &StopPolicy) -> Stopped {
    let mut grace = Grace::new(Target::of(running), signal_of(policy));
    grace.ask(policy.to).await;
    let ended = tokio::time::timeout(policy.timeout, grace.ended()).await;
    let command = grace.command_end().await;
    let outcome = match ended {
        Ok(()) => Stopped::InTime,
        Err(_) if command.has_ended => Stopped::RestKilled,
        Err(_) => Stopped::Killed,
    };
    if let Some(status) = command.status {
        running.note(status);
    }
    if outcome != Stopped::InTime {
        grace.into_target().kill_all().await;
    }
    outcome
}

/// Resumes a shell that an unfinished stop, of an earlier server or of an actor that panicked, has left stopped.
pub(super) fn let_go(running: &Running) {
    let leader = leader_of(running);
    let is_held = procfs::stat(leader.pid).is_some_and(|stat| stat.state == 'T');
    if is_held && procfs::is_shell(leader.pid) {
        signal(leader, Signal::CONT);
    }
}

fn signal_of(policy: &StopPolicy) -> Signal {
    Signal::from_named_raw(policy.signal).unwrap_or(Signal::TERM)
}

/// SIGKILL to everything of the process, repeated until nothing lives. Does not reap.
pub async fn kill(running: &Running) {
    Target::of(running).kill_all().await;
}

/// Kills what a dead process of these users left running. Recognises it by control group, marker and rlimit mark, not
/// by pid, which may be another program's by now. Blocks.
pub fn kill_remains(instance: &str, users: &Users) {
    kill_all_remains(instance, users, None);
}

/// As [`kill_remains`], and removes `directory` once nothing is left, even if that is later.
pub(super) fn kill_all_remains(instance: &str, users: &Users, directory: Option<&Path>) {
    let mut target = Target {
        leader: None,
        marker: format!("{MARKER}={instance}"),
        rlimit_mark: RlimitMark::of(instance),
        users: users.clone(),
        cgroup: Cgroup::left_by(instance),
        is_confined: false,
        known: BTreeSet::new(),
    };
    let mut patience = Patience::default();
    loop {
        target.kill_once();
        let left = target.left();
        if left == Left::Nothing {
            if let Some(directory) = directory {
                instance::remove(directory);
            }
            return;
        }
        match patience.pause(left == Left::Held, Instant::now()) {
            Some(pause) => std::thread::sleep(pause),
            None => return target.give_up(directory),
        }
    }
}

/// The instances that have running processes, from one scan of `/proc` instead of one for each of a thousand instances.
#[derive(Debug)]
pub struct Marked {
    markers: Vec<MarkOf<String>>,
    rlimit_marks: Vec<MarkOf<RlimitMark>>,
}

/// A mark, and who has it.
#[derive(Debug)]
struct MarkOf<T> {
    pid: u32,
    mark: T,
}

impl Marked {
    #[must_use]
    pub fn look() -> Self {
        let pids: Vec<u32> = procfs::pids().collect();
        let marker = |pid: &u32| {
            let (pid, mark) = (*pid, procfs::variable(*pid, MARKER)?);
            Some(MarkOf { pid, mark })
        };
        let rlimit_mark = |pid: &u32| {
            let (pid, mark) = (*pid, RlimitMark::worn_by(*pid)?);
            Some(MarkOf { pid, mark })
        };
        Self {
            markers: pids.iter().filter_map(marker).collect(),
            rlimit_marks: pids.iter().filter_map(rlimit_mark).collect(),
        }
    }

    /// Whether `instance` had running processes, so that [`kill_remains`] has something to do. Blocks.
    #[must_use]
    pub fn has(&self, instance: &str, users: &Users) -> bool {
        // A process that gave itself another environment still has its rlimit mark, and its control group.
        let rlimit_mark = RlimitMark::of(instance);
        let mut marked = self.markers.iter().filter(|m| m.mark == instance);
        let mut limited = self.rlimit_marks.iter().filter(|m| m.mark == rlimit_mark);
        marked.any(|m| users.have(m.pid))
            || limited.any(|m| users.have(m.pid))
            || Cgroup::left_by(instance).is_some()
    }

    /// Strips `prefix` from the markers of `users` that begin with it. Blocks.
    pub(super) fn below<'a>(&'a self, prefix: &str, users: &Users) -> BTreeSet<&'a str> {
        let found = self.markers.iter().filter_map(|marker| {
            let rest = marker.mark.strip_prefix(prefix)?;
            users.have(marker.pid).then_some(rest)
        });
        found.collect()
    }
}

/// Most sweeps that stop processes before they are killed. Two are enough where nothing forks meanwhile.
const FREEZES: usize = 16;

/// What a sweep has left of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// The kernel holds all of it.
    Held,
    Some,
}

/// What belongs to one instance.
#[derive(Clone, Debug)]
struct Target {
    /// The session's leader, as long as its pid cannot have been given to another program.
    leader: Option<Unique>,
    marker: String,
    rlimit_mark: RlimitMark,
    /// Whose marker and rlimit mark count.
    users: Users,
    cgroup: Option<Cgroup>,
    /// Nothing of it can be outside of the control group.
    is_confined: bool,
    /// What the last sweep found alive.
    known: BTreeSet<Unique>,
}

impl Target {
    fn of(running: &Running) -> Self {
        Self {
            leader: Some(leader_of(running)),
            marker: running.marker().to_owned(),
            rlimit_mark: RlimitMark::of(running.instance()),
            users: running.users().clone(),
            cgroup: running.cgroup().cloned(),
            is_confined: running.is_confined(),
            known: BTreeSet::new(),
        }
    }

    async fn kill_all(mut self) {
        let mut patience = Patience::default();
        loop {
            let mut target = self.clone();
            // A sweep reads all of `/proc`: too long for the actors' thread.
            let swept = tokio::task::spawn_blocking(move || {
                priority::urgently(|| target.kill_once());
                let left = target.left();
                (target, left)
            });
            // An error: the runtime is shutting down, and nothing can be swept any more.
            let left = match swept.await {
                Ok((target, left)) => {
                    self = target;
                    left
                }
                Err(_) => Left::Some,
            };
            if left == Left::Nothing {
                return;
            }
            match patience.pause(left == Left::Held, Instant::now()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return self.give_up(None),
            }
        }
    }

    /// What the last sweep has left. Blocks.
    fn left(&self) -> Left {
        if self.is_gone() {
            return Left::Nothing;
        }
        let is_held = |process: &Unique| held::is_held(*process);
        match !self.known.is_empty() && self.known.iter().all(is_held) {
            true => Left::Held,
            false => Left::Some,
        }
    }

    fn give_up(self, directory: Option<&Path>) {
        let instance = self.marker.split_once('=').map_or("", |(_, value)| value);
        let left = self.known.into_iter().collect();
        held::see_off(instance, left, self.cgroup, directory.map(Path::to_owned));
    }

    /// Signals the group as one, so that a fork in progress cannot escape it.
    fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.group() {
            // ESRCH: it has just ended.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// The group, while the leader is there, alive or as a zombie.
    fn group(&self) -> Option<Pid> {
        let leader = self.leader?;
        let is_group = leader.stat()?.group == leader.pid;
        is_group.then(|| pid(leader.pid)).flatten()
    }

    /// Whether the last sweep found nothing. The empty control group is removed then.
    fn is_gone(&self) -> bool {
        let Some(cgroup) = &self.cgroup else {
            return self.known.is_empty();
        };
        let is_gone = self.known.is_empty() && !cgroup.is_populated();
        if is_gone {
            cgroup.remove();
        }
        is_gone
    }

    /// Finds what lives of this instance, and kills it.
    fn kill_once(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        if self.is_confined {
            self.known = self.members().collect();
            return;
        }
        freeze(|each| self.find(each));
        self.signal_group(Signal::KILL);
        for found in &self.known {
            signal(*found, Signal::KILL);
        }
    }

    /// What lives in the control group.
    fn members(&self) -> impl Iterator<Item = Unique> {
        let members = self.cgroup.iter().flat_map(Cgroup::members);
        members.filter_map(|pid| {
            let stat = procfs::stat(pid).filter(Stat::is_alive)?;
            Some(unique(pid, &stat))
        })
    }

    /// Finds what lives of this instance.
    fn remember(&mut self) {
        if self.is_confined {
            self.known = self.members().collect();
            return;
        }
        self.find(|_| ());
    }

    /// Finds the living processes of this instance: those with a mark, those known before, and the descendants of both.
    /// Calls `each` for each as soon as it is found.
    fn find(&mut self, mut each: impl FnMut(Unique)) {
        let own = std::process::id();
        let mut found: BTreeSet<Unique> = self.members().inspect(|member| each(*member)).collect();
        let mut living = Vec::new();
        for candidate in procfs::pids().filter(|candidate| *candidate != own) {
            let Some(stat) = procfs::stat(candidate).filter(Stat::is_alive) else {
                continue;
            };
            let process = unique(candidate, &stat);
            if !found.contains(&process) && self.owns(candidate, &stat) {
                each(process);
                found.insert(process);
            }
            living.push((candidate, stat));
        }
        let mut pids: HashSet<u32> = found.iter().map(|process| process.pid).collect();
        loop {
            let before = found.len();
            for (candidate, stat) in &living {
                if pids.contains(&stat.parent) && pids.insert(*candidate) {
                    each(unique(*candidate, stat));
                    found.insert(unique(*candidate, stat));
                }
            }
            if found.len() == before {
                break;
            }
        }
        self.known = found;
    }

    fn owns(&self, candidate: u32, stat: &Stat) -> bool {
        self.known.contains(&unique(candidate, stat))
            || self.has_in_session(candidate, stat)
            || self.may_have_started(stat)
                && (self.rlimit_mark.is_on(candidate)
                    || procfs::has_variable(candidate, &self.marker))
                && self.users.have(candidate)
    }

    /// A process older than the leader was not started by it. That excludes most of a machine without reading more of
    /// it.
    fn may_have_started(&self, stat: &Stat) -> bool {
        self.leader
            .is_none_or(|leader| stat.start_time >= leader.start_time)
    }

    /// Whether it is in the leader's session or group: the kernel gives their number to no new process while one
    /// member lives. An adopted leader is reaped by init at its end; pids are handed out cyclically, so that its
    /// number is not a stranger's in the moments after.
    fn has_in_session(&self, candidate: u32, stat: &Stat) -> bool {
        let Some(leader) = self.leader else {
            return false;
        };
        if candidate == leader.pid {
            // Also before its setsid.
            return stat.start_time == leader.start_time;
        }
        if stat.session != leader.pid && stat.group != leader.pid {
            return false;
        }
        match procfs::stat(leader.pid) {
            Some(present) => present.start_time == leader.start_time,
            None => self.may_have_started(stat),
        }
    }
}

/// Stops every process that `find` finds, until it is killed. A stopped process does not fork, and still counts against
/// its user's process limit, so no other forks in its place. A fork bomb that is only killed grows again as fast.
fn freeze(mut find: impl FnMut(&mut dyn FnMut(Unique))) {
    let mut frozen = BTreeSet::new();
    for _ in 0..FREEZES {
        let before = frozen.len();
        // Each as soon as it is found: a stopped process leaves its CPU time to finding the next.
        find(&mut |found| {
            if frozen.insert(found) {
                signal(found, Signal::STOP);
            }
        });
        if frozen.len() == before {
            return;
        }
    }
}

fn leader_of(running: &Running) -> Unique {
    Unique {
        pid: running.pid(),
        start_time: running.start_time(),
    }
}

fn unique(pid: u32, stat: &Stat) -> Unique {
    Unique {
        pid,
        start_time: stat.start_time,
    }
}

fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(raw).ok()?)
}

/// Signals this process, and no other that was given its pid meanwhile.
fn signal(process: Unique, signal: Signal) {
    // What is checked once the pidfd is open is what is signalled.
    if let Some(pidfd) = hold(process.pid)
        && process.stat().is_some()
    {
        // ESRCH: it has just ended.
        let _ = rustix::process::pidfd_send_signal(pidfd.as_fd(), signal);
    }
}

fn hold(candidate: u32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid(candidate)?, PidfdFlags::empty()).ok()
}
