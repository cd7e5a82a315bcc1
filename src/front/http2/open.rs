//! [`Open`]: the streams of a connection that are not answered yet.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::Waker;

use tokio::sync::Notify;

/// Bytes of heads that are kept for the requests of one connection at a time. A head of 60 KB can come in 50 bytes, so
/// that what was sent bounds nothing. A hundred requests with cookies of 8 KB have room.
const HEADS: usize = 1024 * 1024;

/// The streams of a connection that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    count: Cell<usize>,
    /// Bytes of their heads.
    heads: Cell<usize>,
    /// Those that their client gave up, until they are counted.
    given_up: Cell<u32>,
    waker: RefCell<Option<Waker>>,
    /// Tells that all frames were written that could be.
    wrote: Notify,
}

impl Open {
    pub(super) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Leaves whom it wakes when a stream was answered.
    pub(super) fn wakes(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// Counts a stream that its client gave up.
    pub(super) fn give_up(&self) {
        self.given_up.set(self.given_up.get() + 1);
    }

    /// How many were given up since this was asked last.
    pub(super) fn take_given_up(&self) -> u32 {
        self.given_up.take()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// All frames were written that could be.
    pub(super) fn tell_written(&self) {
        self.wrote.notify_waiters();
    }

    /// Resolves once all frames of now are written.
    pub(super) async fn sent(&self) {
        let mut wrote = pin!(self.wrote.notified());
        wrote.as_mut().enable();
        self.wake();
        wrote.await;
    }
}

/// A stream that is not answered yet. Dropping it takes it off the count.
pub(super) struct Stream {
    open: Rc<Open>,
    /// Bytes of its head.
    head: usize,
}

impl Stream {
    /// Counts one with a head of so many bytes. Returns `None` if there is no room for it beside the others.
    pub(super) fn begin(open: &Rc<Open>, head: usize) -> Option<Self> {
        if !open.is_empty() && open.heads.get() + head > HEADS {
            return None;
        }
        open.count.set(open.count.get() + 1);
        open.heads.set(open.heads.get() + head);
        let open = Rc::clone(open);
        Some(Self { open, head })
    }

    pub(super) fn open(&self) -> &Open {
        &self.open
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let open = &self.open;
        open.count.set(open.count.get() - 1);
        open.heads.set(open.heads.get() - self.head);
        open.wake();
    }
}
