//! Children of the server that this process was before execve(2), which nobody waits for.
//!
//! Processes of applications have a record, and whoever takes them over waits. A git, a helper, an install command that
//! was under way has none, and would stay a zombie.

use std::path::Path;

use rustix::process::{WaitId, WaitIdOptions};
use std::os::fd::AsFd;

use super::running::{open, watch};
use super::{procfs, survivors};

/// The children of this process that have no record below `runtime` (`RUNTIME/apps`). Blocks.
#[must_use]
pub fn find(runtime: &Path) -> Vec<u32> {
    let recorded = survivors::recorded_pids(runtime);
    let own = std::process::id();
    let is_child = |pid: &u32| procfs::stat(*pid).is_some_and(|stat| stat.parent == own);
    let strangers = procfs::pids().filter(|pid| !recorded.contains(pid));
    strangers.filter(is_child).collect()
}

/// Waits for each of them to end. Needs a runtime.
pub async fn wait_for(children: Vec<u32>) {
    let each = children.into_iter().map(|pid| async move {
        // An error means that somebody else has waited for it.
        let Ok(pidfd) = open(pid).and_then(watch) else {
            return;
        };
        if pidfd.readable().await.is_ok() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let child = WaitId::PidFd(pidfd.get_ref().as_fd());
            let _reaped = rustix::process::waitid(child, options);
        }
    });
    futures::future::join_all(each.collect::<Vec<_>>()).await;
}
