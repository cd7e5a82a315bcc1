//! What was killed and does not die: the kernel holds it (a frozen control group, a disk or network file system that
//! hangs).
//!
//! It does nothing any more, so nobody waits for it: other processes start beside it. The app's status warns of it until
//! the kernel lets it go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::cgroup::Cgroup;
use super::procfs::{self, Stat};

/// The kernel may bury what was killed for so long; meanwhile there are many looks.
const SHORT: Duration = Duration::from_millis(100);

/// Gives up after this time. Sweeps of a loaded machine take a second each: time counts, not their number.
const MOST: Duration = Duration::from_secs(30);

/// Gives up earlier where all that is left slept, in so many sweeps in a row and for so long, without a way to wake it.
const HELD: Duration = Duration::from_millis(1200);
const LOOKS: u32 = 3;

/// How often what is held is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end of what was killed is waited for (pure).
#[derive(Debug, Default)]
pub(super) struct Patience {
    begun: Option<Instant>,
    held: Option<HeldSince>,
}

/// Since when all that is left is held, and how often that was seen in a row.
#[derive(Clone, Copy, Debug)]
struct HeldSince {
    since: Instant,
    looks: u32,
}

impl Patience {
    /// The pause before the next sweep; `None`: it is given up. `is_held`: all that is left is held by the kernel.
    pub(super) fn pause(&mut self, is_held: bool, now: Instant) -> Option<Duration> {
        let waited = now.duration_since(*self.begun.get_or_insert(now));
        if waited < SHORT {
            return Some(Duration::from_millis(5));
        }
        let mut held = self.held.unwrap_or(HeldSince {
            since: now,
            looks: 0,
        });
        held.looks += 1;
        self.held = is_held.then_some(held);
        let is_given_up = is_held && held.looks >= LOOKS && now.duration_since(held.since) >= HELD;
        (waited < MOST && !is_given_up).then_some(Duration::from_millis(200))
    }
}

/// A process as only one ever was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unique {
    pub(super) pid: u32,
    /// Clock ticks since boot.
    pub(super) start_time: u64,
}

impl Unique {
    /// What `/proc` says of it, as long as it is there, alive or as a zombie.
    pub(super) fn stat(self) -> Option<Stat> {
        procfs::stat(self.pid).filter(|stat| stat.start_time == self.start_time)
    }

    pub(super) fn is_alive(self) -> bool {
        self.stat().is_some_and(|stat| stat.is_alive())
    }
}

/// By instance, what is held of it.
static ALL: Mutex<BTreeMap<String, Vec<u32>>> = Mutex::new(BTreeMap::new());

fn all() -> MutexGuard<'static, BTreeMap<String, Vec<u32>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a killed process is still in a sleep that no signal ends. A frozen one looks the same.
pub(super) fn is_held(process: Unique) -> bool {
    process.stat().is_some_and(|stat| stat.state == 'D')
}

/// Warnings about the instances below `runtime` (`RUNTIME/apps/NAME`).
#[must_use]
pub fn warnings(runtime: &Path) -> Vec<String> {
    let prefix = format!("{}/", runtime.display());
    let all = all();
    let below = all
        .iter()
        .filter_map(|(instance, pids)| Some((instance.strip_prefix(&prefix)?, pids)));
    below.map(|(instance, pids)| text(instance, pids)).collect()
}

fn text(instance: &str, pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let who = match instance.rsplit_once('#') {
        Some((_, "install")) => "an install command",
        Some((_, "fetch")) => "git",
        _ => instance,
    };
    format!(
        "processes that {who} has left do not die of SIGKILL (pid {}): the kernel holds them (a frozen control group, a \
         hanging disk or network file system); others run beside them",
        pids.join(", ")
    )
}

/// Says that `processes` of an instance do not die, and sees them off: when they are gone, their control group is
/// removed, and `directory`. They were killed: nothing more is to be done to them.
pub(super) fn see_off(
    instance: &str,
    processes: Vec<Unique>,
    cgroup: Option<Cgroup>,
    directory: Option<PathBuf>,
) {
    let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
    log::error!("{}", text(instance, &pids));
    if all().insert(instance.to_owned(), pids).is_some() {
        return;
    }
    let of = instance.to_owned();
    let watch = move || {
        while processes.iter().any(|process| process.is_alive()) {
            std::thread::sleep(LOOK);
        }
        processes.iter().for_each(|process| reap(*process));
        if let Some(cgroup) = cgroup {
            cgroup.remove();
        }
        if let Some(directory) = directory {
            super::instance::remove(&directory);
        }
        all().remove(&of);
        log::info!("what {of} has left, and the kernel held, is gone");
    };
    let started = std::thread::Builder::new()
        .name("leftovers".to_owned())
        .spawn(watch);
    if let Err(e) = started {
        log::warn!("nobody waits for what {instance} has left: {e}");
        all().remove(instance);
    }
}

/// Lets the kernel forget a child of ours; where it is another's, this does nothing.
fn reap(process: Unique) {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| process.stat().is_some()) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // ECHILD: it is none of ours.
        let _ = rustix::process::waitid(WaitId::Pid(pid), options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it is waited where a sweep takes so long.
    fn waited(sweep: Duration, mut is_held: impl FnMut(u32) -> bool) -> Duration {
        let (mut patience, begun) = (Patience::default(), Instant::now());
        let (mut now, mut sweeps) = (begun, 0);
        loop {
            (now, sweeps) = (now + sweep, sweeps + 1);
            match patience.pause(is_held(sweeps), now) {
                Some(pause) => now += pause,
                None => return now - begun,
            }
        }
    }

    #[test]
    fn what_is_held_is_given_up_soon_and_what_still_moves_is_waited_for() {
        let short = Duration::from_millis(1);
        assert!(waited(short, |_| true) < Duration::from_secs(2));
        assert!(waited(short, |_| true) > Duration::from_secs(1));
        assert!(waited(short, |_| false) > Duration::from_secs(25));
        assert!(waited(short, |sweep| sweep % 5 > 0) > Duration::from_secs(25));
    }

    #[test]
    fn where_a_look_takes_long_there_are_fewer() {
        let long = Duration::from_secs(1);
        assert!(waited(long, |_| true) < Duration::from_secs(6));
        assert!(waited(long, |_| false) < Duration::from_secs(33));
    }

    #[test]
    fn only_the_app_of_an_instance_is_warned() {
        all().insert("/r/apps/held-a/web.1-4".into(), vec![7]);
        let found = warnings(Path::new("/r/apps/held-a"));
        assert!(found[0].contains("web.1-4") && found[0].contains("pid 7"));
        assert!(text("releases#install", &[7]).contains("an install command has left"));
        assert!(warnings(Path::new("/r/apps/held")).is_empty());
        all().remove("/r/apps/held-a/web.1-4");
    }
}
