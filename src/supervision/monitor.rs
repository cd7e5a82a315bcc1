//! Runs an actor so that its panic becomes an [`Exit`] that its supervisor is told.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};

use actix::dev::{ContextFut, channel};
use actix::prelude::*;
use actix_rt::ArbiterHandle;
use futures::future::{AbortHandle, AbortRegistration, Abortable, Aborted};

use super::child_spec::Exit;
use crate::failpoint;

/// As in actix: the messages that senders may queue. Each sender has one place more.
const MAILBOX_CAPACITY: usize = 16;

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

    #[must_use]
    pub fn take(&self) -> Option<Exit> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

/// A running, monitored actor, in its supervisor's hands.
#[derive(Debug)]
pub struct Child<A: Actor> {
    pub addr: Addr<A>,
    abort: AbortHandle,
}

impl<A: Actor> Child<A> {
    /// Ends it now, without asking; its exit is [`Exit::Killed`].
    pub fn kill(&self) {
        self.abort.abort();
    }
}

/// Starts an actor on `arbiter`, built there by `build`, and calls `on_exit` once when it has ended, however it ended:
/// by itself, by a panic (also one of `build`), by [`Child::kill`], or with its arbiter, which counts as killed too.
///
/// The address can be used at once; messages wait until the actor is built. When `on_exit` runs, the actor has been
/// dropped and its mailbox is closed. It runs on the arbiter's thread, or on this one if the arbiter is gone already.
pub fn start<A, F, E>(arbiter: &ArbiterHandle, build: F, on_exit: E) -> Child<A>
where
    A: Actor<Context = Context<A>>,
    F: FnOnce(&mut Context<A>, ExitReason) -> A + Send + 'static,
    E: FnOnce(Exit) + Send + 'static,
{
    let (sender, receiver) = channel::channel(MAILBOX_CAPACITY);
    let (abort, registration) = AbortHandle::new_pair();
    let notice = Notice(Some(on_exit));
    // If the arbiter is gone, the closure is dropped, and the notice in it reports that.
    arbiter.spawn_fn(move || {
        let mut ctx = Context::with_receiver(receiver);
        let reason = ExitReason::default();
        match catch_unwind(AssertUnwindSafe(|| build(&mut ctx, reason.clone()))) {
            Ok(actor) => {
                let monitored = Monitored {
                    future: Some(ctx.into_future(actor)),
                    reason,
                };
                actix_rt::spawn(watch(notice, monitored, registration));
            }
            Err(payload) => {
                // The mailbox closes before anybody is told.
                drop(ctx);
                notice.tell(Exit::Panic(text_of(&*payload)));
            }
        }
    });
    Child {
        addr: Addr::new(sender),
        abort,
    }
}

/// Drives an actor to its end and reports the exit. If this future itself is dropped (its arbiter stops), its locals
/// are dropped in reverse: first the actor, then the notice, which reports.
async fn watch<A, E>(notice: Notice<E>, monitored: Monitored<A>, registration: AbortRegistration)
where
    A: Actor<Context = Context<A>>,
    E: FnOnce(Exit),
{
    let mut monitored = monitored;
    let ended = Abortable::new(&mut monitored, registration).await;
    let dropped = monitored.drop_actor();
    notice.tell(match ended {
        Err(Aborted) => Exit::Killed,
        Ok(Exit::Panic(message)) => Exit::Panic(message),
        // A panic while dropping is the actor's fault as much as any other.
        Ok(exit) => dropped.err().unwrap_or(exit),
    });
}

/// An actor's future whose panics are caught.
struct Monitored<A: Actor<Context = Context<A>>> {
    future: Option<ContextFut<A, Context<A>>>,
    reason: ExitReason,
}

impl<A: Actor<Context = Context<A>>> Monitored<A> {
    /// Drops the actor, and runs nothing of it but its `Drop`. A terminated `ContextFut` does not poll the actor while
    /// it is dropped: `stopped()` of an actor that has just panicked cannot be trusted.
    fn drop_actor(&mut self) -> Result<(), Exit> {
        let Some(mut future) = self.future.take() else {
            return Ok(());
        };
        catch_unwind(AssertUnwindSafe(move || {
            future.ctx().terminate();
            drop(future);
        }))
        .map_err(|payload| Exit::Panic(text_of(&*payload)))
    }
}

impl<A: Actor<Context = Context<A>>> Future for Monitored<A> {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Exit> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Ready(Exit::Normal);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            failpoint::reach_actor::<A>();
            Pin::new(future).poll(cx)
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(self.reason.take().unwrap_or(Exit::Normal)),
            Err(payload) => Poll::Ready(Exit::Panic(text_of(&*payload))),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Monitored<A> {
    fn drop(&mut self) {
        // Its arbiter stops, which the notice reports; a panic meanwhile changes nothing.
        let _ = self.drop_actor();
    }
}

/// Reports an exit exactly once: the one it is given, or [`Exit::Killed`] when it is dropped.
struct Notice<E: FnOnce(Exit)>(Option<E>);

impl<E: FnOnce(Exit)> Notice<E> {
    fn tell(mut self, exit: Exit) {
        if let Some(on_exit) = self.0.take() {
            on_exit(exit);
        }
    }
}

impl<E: FnOnce(Exit)> Drop for Notice<E> {
    fn drop(&mut self) {
        if let Some(on_exit) = self.0.take() {
            on_exit(Exit::Killed);
        }
    }
}

/// The message of a panic.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests;
