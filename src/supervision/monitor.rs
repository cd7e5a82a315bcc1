//! Runs an actor so that its panic becomes an [`Exit`] that its supervisor is told.

use std::sync::{Arc, Mutex};

use actix::prelude::*;
use actix_rt::ArbiterHandle;

use super::child_spec::Exit;

/// Asks an actor to stop in good order. Every supervised actor handles it.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Where an actor leaves the reason of its own end; without one it ends as [`Exit::Normal`].
#[derive(Clone, Debug, Default)]
pub struct ExitReason(Arc<Mutex<Option<Exit>>>);

impl ExitReason {
    /// Sets the reason; the first one stays.
    pub fn set(&self, exit: Exit) {
        self.0
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .get_or_insert(exit);
    }

    /// Takes the reason.
    #[must_use]
    pub fn take(&self) -> Option<Exit> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

/// A running, monitored actor, in its supervisor's hands.
#[derive(Debug)]
pub struct Child<A: Actor> {
    /// Where it can be reached.
    pub addr: Addr<A>,
    abort: futures::future::AbortHandle,
}

impl<A: Actor> Child<A> {
    /// Ends it now, without asking; its exit is [`Exit::Killed`].
    pub fn kill(&self) {
        self.abort.abort();
    }
}

/// Starts an actor on `arbiter`, built there by `build`, and calls `on_exit` once when it has ended, however it ended.
pub fn start<A, F, E>(arbiter: &ArbiterHandle, build: F, on_exit: E) -> Child<A>
where
    A: Actor<Context = Context<A>>,
    F: FnOnce(&mut Context<A>, ExitReason) -> A + Send + 'static,
    E: FnOnce(Exit) + Send + 'static,
{
    let _ = (arbiter, build, on_exit);
    todo!()
}
