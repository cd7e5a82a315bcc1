//! Threads for what blocks (files, `/proc`, fork): in each runtime of the daemon there is always one.
//!
//! Where the machine has no thread to give, tokio lets those that there are do the work, but panics when there is none.
//! That would be every actor that has something to do, and no reason for anything to end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// The most in a runtime: a few hundred processes that stop at once need not have one each.
const MOST: usize = 32;

/// Longer than any daemon lives.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Less than the ten seconds after which tokio ends a thread that was not needed.
const NUDGE: Duration = Duration::from_secs(4);

/// A runtime for one thread, with a thread for what blocks.
///
/// # Errors
/// The machine has no descriptor or thread for it.
pub fn runtime() -> std::io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MOST)
        .thread_keep_alive(FOREVER)
        .build()?;
    nudge(runtime.handle());
    Ok(runtime)
}

/// Keeps one in the runtime of this thread, which somebody else has built.
pub fn keep_one() {
    actix_rt::spawn(async {
        loop {
            nudge(&Handle::current());
            tokio::time::sleep(NUDGE).await;
        }
    });
}

fn nudge(runtime: &Handle) {
    // It is missing after a long sleep, and cannot be had now: perhaps next time.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| {}))));
}
