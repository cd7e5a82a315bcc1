//! Memory and CPU time of processes, from `/proc` and control groups (blocks; call it from a blocking thread).

use std::collections::HashMap;

use super::{cgroup, procfs};

/// What a session of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident set of all its processes, bytes.
    pub memory_bytes: u64,
    /// User and system time of all its living processes, seconds.
    pub cpu_seconds: f64,
    /// How many of its processes the kernel has ended because memory ran out, as far as control groups tell.
    pub oom_kills: u64,
}

/// One run of a process, by what its engine calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    /// The OS process, which leads a session.
    Pid(u32),
    /// The task of a swarm.
    Task(String),
}

/// Resident memory of this process, bytes; 0 where `/proc` does not say.
#[must_use]
pub fn own_memory() -> u64 {
    let page = rustix::param::page_size() as u64;
    procfs::stat(std::process::id()).map_or(0, |stat| stat.resident_pages * page)
}

/// `USER_HZ`: 100 on every Linux architecture that Debian has; sysconf(3) cannot say otherwise there.
const TICKS_PER_SECOND: f64 = 100.0;

/// Usage of each of `sessions` (session leaders' pids), in one pass over `/proc`. A session of which nothing lives is
/// left out.
#[must_use]
pub fn of_sessions(sessions: &[u32]) -> HashMap<u32, Usage> {
    let page = rustix::param::page_size() as u64;
    let mut usage: HashMap<u32, Usage> = HashMap::new();
    for stat in procfs::pids().filter_map(procfs::stat) {
        if sessions.contains(&stat.session) {
            let total = usage.entry(stat.session).or_default();
            total.memory_bytes += stat.resident_pages * page;
            total.cpu_seconds += stat.ticks as f64 / TICKS_PER_SECOND;
        }
    }
    for (session, total) in &mut usage {
        total.oom_kills = cgroup::oom_kills_beside(*session);
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_session_uses_memory_and_others_are_left_out() {
        let own = procfs::stat(std::process::id()).expect("stat").session;
        let usage = of_sessions(&[own, u32::MAX]);
        assert!(usage[&own].memory_bytes > 100_000, "{usage:?}");
        assert!(!usage.contains_key(&u32::MAX));
    }
}
