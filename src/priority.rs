//! Who runs first when there is more to run than processors: the supervisor, before what it supervises.
//!
//! An app that forks without end, or two hundred busy ones, leave each thread a hundredth of the machine; a stop that
//! takes ten steps between threads took seconds then. So the thread of the supervision tree and those it starts get more
//! (`setpriority(2)`, which on Linux is a thread's own), where the kernel lets them: as root, or with CAP_SYS_NICE. Not so
//! the workers of the proxy, from which a flood of requests would take the processor away from the apps; nor anything that
//! is started.

use std::sync::OnceLock;

use rustix::process::{Pid, getpriority_process, setpriority_process};

/// Levels before all others: ten times the weight of an ordinary thread.
const AHEAD: i32 = 10;

/// The level of all others, once this process' own is another one.
static ORDINARY: OnceLock<i32> = OnceLock::new();

/// Lets this thread, and those that it starts from here on, run first. To be called before there are others.
pub fn come_first() {
    let Ok(before) = getpriority_process(None) else {
        return;
    };
    match setpriority_process(None, before.saturating_sub(AHEAD).max(-20)) {
        Ok(()) => drop(ORDINARY.set(before)),
        Err(error) => {
            return log::debug!("the server runs at no other priority than its apps: {error}");
        }
    }
    // Where the kernel shares processors out by sessions (sched(7), "autogroup"), that counts only within one, and each
    // process that an app puts into a session of its own gets a share of its own. A shell's session is not ours to raise.
    if leads_its_session() {
        // Many kernels have none.
        let _ = std::fs::write("/proc/self/autogroup", format!("-{AHEAD}"));
    }
}

/// Not rustix's `getsid`, which takes the answer for a pid: it is 0 where the session's leader is outside of this
/// process' pid namespace (pid_namespaces(7)), as for what is started in a container from without.
fn leads_its_session() -> bool {
    nix::unistd::getsid(None).is_ok_and(|session| session == nix::unistd::getpid())
}

/// The level for what is started; `None` if that is what it gets anyway.
#[must_use]
pub fn ordinary() -> Option<i32> {
    ORDINARY.get().copied()
}

/// Gives this thread the ordinary level.
pub fn step_back() {
    if let Some(level) = ordinary() {
        let _ = setpriority_process(None, level);
    }
}

/// Gives a process that was just started the ordinary level.
pub fn put_back(pid: Option<u32>) {
    let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let (Some(level), Some(pid)) = (ordinary(), pid) {
        // ESRCH: it has ended.
        let _ = setpriority_process(Some(pid), level);
    }
}

/// Does something before all else on this thread's processor, where the kernel lets it.
pub fn urgently<T>(what: impl FnOnce() -> T) -> T {
    let before = getpriority_process(None).unwrap_or(0);
    let is_raised = setpriority_process(None, -20).is_ok();
    let done = what();
    if is_raised {
        // What was raised can be lowered.
        let _ = setpriority_process(None, before);
    }
    done
}
