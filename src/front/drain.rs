//! [`Drain`]: who on a worker's own thread waits for the front end to drain, that is, every idle connection.
//!
//! A connection leaves its waker once and finds it still there at its next request: waiting costs it nothing then. A
//! wait on the published value itself would take a lock that all workers share, for each of a million requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// Who waits.
#[derive(Debug)]
pub(super) struct Drain {
    published: watch::Receiver<bool>,
    /// By place; those that are free are named by `free`.
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    over: Cell<bool>,
}

impl Drain {
    /// One for this thread, which tells when `published` turns true, or is gone. Needs this thread's runtime.
    pub(super) fn start(published: watch::Receiver<bool>) -> Rc<Self> {
        let mut changes = published.clone();
        let drain = Rc::new(Self {
            published,
            wakers: RefCell::default(),
            free: RefCell::default(),
            over: Cell::new(false),
        });
        let weak = Rc::downgrade(&drain);
        actix_rt::spawn(async move {
            // An error means that the front end is gone.
            let _gone = changes.wait_for(|draining| *draining).await;
            if let Some(drain) = weak.upgrade() {
                drain.over.set(true);
                let waiting = drain.wakers.take();
                waiting.into_iter().flatten().for_each(Waker::wake);
            }
        });
        drain
    }

    /// Whether the front end drains.
    pub(super) fn has_begun(&self) -> bool {
        *self.published.borrow()
    }
}

/// One who may wait; it leaves when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    drain: Rc<Drain>,
    /// The place, and who was left there.
    left: Option<(usize, Waker)>,
}

impl Place {
    pub(super) fn new(drain: &Rc<Drain>) -> Self {
        Self {
            drain: Rc::clone(drain),
            left: None,
        }
    }

    /// Ready when the front end drains.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drain.over.get() {
            return Poll::Ready(());
        }
        if let Some((_, waker)) = &self.left
            && waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        let mut wakers = self.drain.wakers.borrow_mut();
        let place = match &self.left {
            Some((place, _)) => *place,
            None => self.drain.free.borrow_mut().pop().unwrap_or(wakers.len()),
        };
        if place == wakers.len() {
            wakers.push(None);
        }
        wakers[place] = Some(cx.waker().clone());
        self.left = Some((place, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((place, _)) = &self.left else {
            return;
        };
        // After the drain there are no places any more.
        if let Some(waker) = self.drain.wakers.borrow_mut().get_mut(*place) {
            *waker = None;
            self.drain.free.borrow_mut().push(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt as _;

    use super::*;

    #[actix::test]
    async fn all_who_wait_are_woken_and_who_left_leaves_a_place() {
        let (sender, receiver) = watch::channel(false);
        let drain = Drain::start(receiver);
        let mut places: Vec<Place> = (0..3).map(|_| Place::new(&drain)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        for place in &mut places {
            assert!(place.poll(&mut cx).is_pending());
            assert!(place.poll(&mut cx).is_pending());
        }
        drop(places.remove(1));
        let mut again = Place::new(&drain);
        assert!(again.poll(&mut cx).is_pending());
        assert_eq!(again.left.as_ref().map(|(place, _)| *place), Some(1));
        assert_eq!(drain.wakers.borrow().len(), 3);
        // Another task than the one that was left.
        let mut woken = places.remove(0);
        let waits = actix_rt::spawn(async move { poll_fn(|cx| woken.poll(cx)).await });
        tokio::task::yield_now().await;
        assert!(!drain.has_begun());
        sender.send(true).expect("it is listened to");
        waits.await.expect("woken");
        assert!(drain.has_begun() && again.poll(&mut cx).is_ready());
        drop((places, again));
        let mut late = Place::new(&drain);
        assert!(poll_fn(|cx| late.poll(cx)).now_or_never().is_some());
    }

    #[actix::test]
    async fn who_waits_is_woken_when_the_front_end_is_gone() {
        let (sender, receiver) = watch::channel(false);
        let drain = Drain::start(receiver);
        let mut place = Place::new(&drain);
        drop(sender);
        poll_fn(|cx| place.poll(cx)).await;
    }
}
