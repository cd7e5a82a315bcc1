//! Which process runs on which core, and how many files it may open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core of the proxy that is measured.
pub(crate) const PROXY: usize = 0;

/// The core of the load and the origin.
pub(crate) const LOAD: usize = 1;

/// Puts this thread, and what it starts from now on, on one core. A machine with one core has it all there.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("core {core}: {error}: the figures are of a machine whose processes share cores");
    }
}

/// Allows as many open files as the hard limit does.
pub(crate) fn allow_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        eprintln!("RLIMIT_NOFILE: {error}");
    }
}

/// A runtime on this thread only.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
