//! How many descriptors the daemon may have open.

use rustix::process::{Resource, Rlimit};

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
