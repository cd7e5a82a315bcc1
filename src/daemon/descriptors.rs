//! How many descriptors the daemon may have open.

use rustix::process::{Resource, Rlimit};

use super::DaemonError;
use crate::front::capacity;

/// What the systemd unit asks for: connections, and the pipes of every process. Where there is no limit at all, more
/// would only cost those commands time that close every descriptor they could have.
const WANTED: u64 = 65_536;

/// Raises the soft limit, which shells and container engines often leave at 1024, as far as the hard one lets it. Each
/// process of an app gets 1024 again (`process::spawn`).
pub(super) fn raise_limit() {
    let present = rustix::process::getrlimit(Resource::Nofile);
    let wanted = present.maximum.map_or(WANTED, |hard| hard.min(WANTED));
    if present.current.is_none_or(|soft| soft >= wanted) {
        return;
    }
    let limit = Rlimit {
        current: Some(wanted),
        maximum: present.maximum,
    };
    if let Err(e) = rustix::process::setrlimit(Resource::Nofile, limit) {
        log::warn!("the limit of open files stays low: {e}");
    }
}

/// Refuses to start with fewer than the server itself needs, and one application beside it: it would take connections
/// and answer none, or never deploy.
///
/// # Errors
/// [`DaemonError::Start`], with how many are needed and what for.
pub(super) fn suffice(workers: usize, listeners: usize) -> Result<(), DaemonError> {
    let needed = capacity::least(workers, listeners);
    match rustix::process::getrlimit(Resource::Nofile).current {
        Some(present) if present < needed => Err(DaemonError::Start(format!(
            "{present} file descriptors (LimitNOFILE, ulimit -n) are too few: {workers} workers, {listeners} listeners and one \
             application need {needed}; raise the limit, or lower `workers`"
        ))),
        _ => Ok(()),
    }
}
