//! What was killed and does not die: the kernel holds it (a frozen control group, a disk or network file system that hangs).
//!
//! It does nothing any more, so nobody waits for it: others start beside it. It is told of until the kernel lets it go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::cgroup::Cgroup;
use super::procfs;

/// As long as sweeps are short, the kernel is burying what was killed.
const SHORT: u32 = 20;

/// In all, half a minute.
const MOST: u32 = 160;

/// Sweeps in a row in which all that is left sleeps without a way to wake it: more than a second.
const HELD: u32 = 7;

/// How often what is held is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end of what was killed is waited for (pure).
#[derive(Debug, Default)]
pub(super) struct Patience {
    sweeps: u32,
    held: u32,
}

impl Patience {
    /// The pause before the next sweep; `None`: it is given up. `is_held`: all that is left is held by the kernel.
    pub(super) fn pause(&mut self, is_held: bool) -> Option<Duration> {
        self.sweeps += 1;
        if self.sweeps <= SHORT {
            return Some(Duration::from_millis(5));
        }
        self.held = if is_held { self.held + 1 } else { 0 };
        (self.sweeps < MOST && self.held < HELD).then_some(Duration::from_millis(200))
    }
}

/// A process as only one ever was: pid and start time.
pub(super) type Unique = (u32, u64);

/// By instance, what is held of it.
static ALL: Mutex<BTreeMap<String, Vec<u32>>> = Mutex::new(BTreeMap::new());

fn all() -> MutexGuard<'static, BTreeMap<String, Vec<u32>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a process was killed in vain so far: it is in a sleep that no signal ends. What is frozen looks like that, too.
pub(super) fn is_held((pid, start_time): Unique) -> bool {
    procfs::stat(pid).is_some_and(|stat| stat.start_time == start_time && stat.state == 'D')
}

fn is_alive((pid, start_time): Unique) -> bool {
    procfs::stat(pid).is_some_and(|stat| stat.start_time == start_time && stat.is_alive())
}

/// What a person is to know of the instances below `runtime` (`RUNTIME/apps/NAME`).
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
    format!(
        "processes that {instance} has left do not die of SIGKILL (pid {}): the kernel holds them (a frozen control group, a \
         hanging disk or network file system); others run beside them",
        pids.join(", ")
    )
}

/// Says that `processes` of an instance do not die, and sees them off: when they are gone, their control group is removed,
/// and `directory`. They were killed: nothing more is to be done to them.
pub(super) fn see_off(
    instance: &str,
    processes: Vec<Unique>,
    cgroup: Option<Cgroup>,
    directory: Option<PathBuf>,
) {
    let pids: Vec<u32> = processes.iter().map(|(pid, _)| *pid).collect();
    log::error!("{}", text(instance, &pids));
    if all().insert(instance.to_owned(), pids).is_some() {
        return;
    }
    let of = instance.to_owned();
    let watch = move || {
        while processes.iter().any(|process| is_alive(*process)) {
            std::thread::sleep(LOOK);
        }
        processes.iter().for_each(|process| reap(*process));
        if let Some(cgroup) = cgroup {
            cgroup.remove();
        }
        if let Some(directory) = directory {
            super::identity::remove(&directory);
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
fn reap((pid, start_time): Unique) {
    let is_it = procfs::stat(pid).is_some_and(|stat| stat.start_time == start_time);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| is_it) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // ECHILD: it is none of ours.
        let _ = rustix::process::waitid(WaitId::Pid(pid), options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(mut is_held: impl FnMut(u32) -> bool) -> Duration {
        let mut patience = Patience::default();
        let mut sweep = 0;
        let pauses = std::iter::from_fn(|| {
            sweep += 1;
            patience.pause(is_held(sweep))
        });
        pauses.sum()
    }

    #[test]
    fn what_is_held_is_given_up_soon_and_what_still_moves_is_waited_for() {
        assert!(waited(|_| true) < Duration::from_secs(2));
        assert!(waited(|_| true) > Duration::from_secs(1));
        assert!(waited(|_| false) > Duration::from_secs(25));
        assert!(waited(|sweep| sweep % 5 > 0) > Duration::from_secs(25));
    }

    #[test]
    fn only_the_app_of_an_instance_is_warned() {
        all().insert("/r/apps/held-a/web.1-4".into(), vec![7]);
        let found = warnings(Path::new("/r/apps/held-a"));
        assert!(found[0].contains("web.1-4") && found[0].contains("pid 7"));
        assert!(warnings(Path::new("/r/apps/held")).is_empty());
        all().remove("/r/apps/held-a/web.1-4");
    }
}
