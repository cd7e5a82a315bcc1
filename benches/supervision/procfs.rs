//! CPU and memory of other processes, from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// All processes.
pub(crate) fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The fields of proc_pid_stat(5) from the third on; the second may have blanks.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Whether it runs; a zombie does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
}

/// `root` and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parent = |pid| stat(pid)?.get(1)?.parse::<u32>().ok();
    let parents: BTreeMap<u32, u32> = pids()
        .into_iter()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        let below = parents
            .iter()
            .filter(|(_, parent)| found.contains(parent))
            .map(|(pid, _)| *pid)
            .collect::<Vec<_>>();
        found.extend(below);
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}

/// All processes that run from, in, or with `directory`.
pub(crate) fn processes_of(directory: &Path) -> Vec<u32> {
    let needle = directory.as_os_str().as_encoded_bytes();
    let is_ours = |pid: u32| {
        let below = |link: &str| {
            fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|to| to.starts_with(directory))
        };
        let named = |file: &str| {
            fs::read(format!("/proc/{pid}/{file}"))
                .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
        };
        below("exe") || below("cwd") || named("cmdline")
    };
    let own = std::process::id();
    pids()
        .into_iter()
        .filter(|pid| *pid != own && is_alive(*pid) && is_ours(*pid))
        .collect()
}

/// CPU time that a process, its threads and its ended children have had. What ran as long as a tick (10 ms) is exact to
/// a tick, as the kernel counts it; what lives is exact.
pub(crate) fn cpu(pid: u32) -> Duration {
    let Some(fields) = stat(pid) else {
        return Duration::ZERO;
    };
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
    let of_tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
    let seconds = |first: usize| {
        let both = ticks(first).unwrap_or(0.0) + ticks(first + 1).unwrap_or(0.0);
        Duration::from_secs_f64(both * of_tick)
    };
    // utime and stime, with those of ended threads; cutime and cstime.
    seconds(11).max(cpu_of_threads(pid)) + seconds(13)
}

/// CPU time that the living threads of a process have had.
fn cpu_of_threads(pid: u32) -> Duration {
    threads(&[pid]).values().map(|thread| thread.cpu).sum()
}

/// What one thread has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Thread {
    pub(crate) cpu: Duration,
    /// How often it has gone to sleep.
    pub(crate) sleeps: u64,
}

/// All living threads of these processes, by their ids.
pub(crate) fn threads(pids: &[u32]) -> BTreeMap<u32, Thread> {
    let tasks = pids
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let thread = |task: fs::DirEntry| {
        let id = task.file_name().to_str()?.parse().ok()?;
        let read = |file| fs::read_to_string(task.path().join(file)).ok();
        let nanoseconds = read("schedstat")?.split_whitespace().next()?.parse().ok()?;
        let thread = Thread {
            cpu: Duration::from_nanos(nanoseconds),
            sleeps: field(&read("status")?, "voluntary_ctxt_switches:")?,
        };
        Some((id, thread))
    };
    tasks.flatten().flatten().filter_map(thread).collect()
}

/// KiB of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All that is mapped and present.
    pub(crate) resident: u64,
    /// With what is shared divided by who shares it.
    pub(crate) proportional: u64,
    /// What no other process has.
    pub(crate) private: u64,
}

/// The memory of these processes together.
pub(crate) fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |name| field(&text, name).unwrap_or(0);
        sum.resident += of("Rss:");
        sum.proportional += of("Pss:");
        sum.private += of("Private_Clean:") + of("Private_Dirty:");
    }
    sum
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
