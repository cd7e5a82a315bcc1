//! Threads for what blocks (files, `/proc`, fork): in each runtime of the daemon there is always one.
//!
//! Where the machine has no thread to give, tokio lets those that there are do the work, but panics when there is none.
//! That would be every actor that has something to do, and no reason for anything to end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_rt::Arbiter;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::priority;

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

/// A thread with such a runtime that steps back behind the applications.
///
/// # Errors
/// The machine has none for it.
pub fn behind_applications() -> std::io::Result<Arbiter> {
    Arbiter::try_with_tokio_rt(|| {
        priority::step_back();
        runtime()
    })
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

/// Makes as many threads as are needed and ends them again: what fails later, within a runtime, is a panic of somebody
/// else's and says nothing.
///
/// # Errors
/// The machine has not so many, with what to do.
pub fn probe(needed: usize) -> std::io::Result<()> {
    let gate = Mutex::new(());
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let wait = || drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
        let mut made = (0..needed).map(|_| std::thread::Builder::new().spawn_scoped(scope, wait));
        let failed = made.find_map(Result::err);
        drop(closed);
        failed.map_or(Ok(()), |e| {
            let advice = format!(
                "this machine does not give it the {needed} threads that it needs ({e}): raise the limit of processes \
                 (ulimit -u, TasksMax= of its systemd unit), or lower --workers"
            );
            Err(std::io::Error::new(e.kind(), advice))
        })
    })
}

fn nudge(runtime: &Handle) {
    // It is missing after a long sleep, and cannot be had now: perhaps next time.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| {}))));
}
