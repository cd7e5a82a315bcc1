//! [`Drain`]: wakes the idle connections of one thread when the front end drains, or the one that is idle longest when
//! another connection needs room.
//!
//! A connection leaves its waker once and finds it there at its next request, so waiting costs it nothing. To wait on
//! the published value itself would take a lock that all workers share, for each of a million requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Drain {
    published: watch::Receiver<bool>,
    seats: RefCell<Seats>,
    over: Cell<bool>,
    is_soft: Cell<bool>,
}

/// Those who wait, by place. The idle ones are linked, the one that is idle longest first, so that nobody looks through
/// a thousand of them.
#[derive(Debug, Default)]
struct Seats {
    all: Vec<Seat>,
    free: Vec<usize>,
    first: Option<usize>,
    last: Option<usize>,
}

#[derive(Debug, Default)]
struct Seat {
    waker: Option<Waker>,
    is_idle: bool,
    /// Its connection was told to end.
    is_told: bool,
    before: Option<usize>,
    behind: Option<usize>,
}

impl Seats {
    fn leave(&mut self, waker: Waker, at: Option<usize>) -> usize {
        let place = at.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.all.push(Seat::default());
            self.all.len() - 1
        });
        self.all[place].waker = Some(waker);
        place
    }

    /// Puts it last among the idle ones, unless it is among them.
    fn link(&mut self, place: usize) {
        if self.all[place].is_idle || self.all[place].is_told {
            return;
        }
        let last = self.last.replace(place);
        match last {
            Some(last) => self.all[last].behind = Some(place),
            None => self.first = Some(place),
        }
        let seat = &mut self.all[place];
        (seat.is_idle, seat.before, seat.behind) = (true, last, None);
    }

    fn unlink(&mut self, place: usize) {
        let seat = &mut self.all[place];
        if !std::mem::take(&mut seat.is_idle) {
            return;
        }
        let (before, behind) = (seat.before.take(), seat.behind.take());
        match before {
            Some(before) => self.all[before].behind = behind,
            None => self.first = behind,
        }
        match behind {
            Some(behind) => self.all[behind].before = before,
            None => self.last = before,
        }
    }
}

impl Drain {
    /// Wakes everybody on this thread when `published` turns true or its sender is gone. Needs this thread's runtime.
    pub(super) fn start(published: watch::Receiver<bool>) -> Rc<Self> {
        let mut changes = published.clone();
        let drain = Rc::new(Self {
            published,
            seats: RefCell::default(),
            over: Cell::new(false),
            is_soft: Cell::new(false),
        });
        let weak = Rc::downgrade(&drain);
        actix_rt::spawn(async move {
            // An error means that the front end is gone.
            let _gone = changes.wait_for(|draining| *draining).await;
            if let Some(drain) = weak.upgrade() {
                drain.end_all();
            }
        });
        drain
    }

    fn end_all(&self) {
        self.over.set(true);
        let seats = &mut self.seats.borrow_mut().all;
        let waiting = seats.iter_mut().filter_map(|seat| seat.waker.take());
        waiting.for_each(Waker::wake);
    }

    /// Wakes everybody though the front end still accepts: see [`super::departure`].
    pub(super) fn end_softly(&self) {
        self.is_soft.set(true);
        self.end_all();
    }

    /// Whether what is idle is to be given a moment before it ends.
    pub(super) fn is_soft(&self) -> bool {
        self.is_soft.get()
    }

    pub(super) fn has_begun(&self) -> bool {
        *self.published.borrow()
    }

    pub(super) fn has_idle(&self) -> bool {
        self.seats.borrow().first.is_some()
    }

    /// Tells the connection that is idle longest to end. Returns false if none is idle.
    pub(super) fn end_oldest(&self) -> bool {
        let mut seats = self.seats.borrow_mut();
        let Some(oldest) = seats.first else {
            return false;
        };
        seats.unlink(oldest);
        seats.all[oldest].is_told = true;
        if let Some(waker) = seats.all[oldest].waker.take() {
            waker.wake();
        }
        true
    }
}

/// The place of one who may wait. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    drain: Rc<Drain>,
    /// The place, and the waker that was left there.
    left: Option<(usize, Waker)>,
    /// It is linked among the idle ones.
    is_idle: bool,
}

impl Place {
    pub(crate) fn new(drain: &Rc<Drain>) -> Self {
        Self {
            drain: Rc::clone(drain),
            left: None,
            is_idle: false,
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
        let at = self.left.as_ref().map(|(place, _)| *place);
        let mut seats = self.drain.seats.borrow_mut();
        let place = seats.leave(cx.waker().clone(), at);
        self.left = Some((place, cx.waker().clone()));
        Poll::Pending
    }

    /// Counts as idle. Ready when the front end drains, or when this one is to end to make room.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some((place, _)) = &self.left {
            let mut seats = self.drain.seats.borrow_mut();
            if seats.all[*place].is_told {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut self.is_idle, true) {
                seats.link(*place);
            }
        }
        Poll::Pending
    }

    /// Counts as idle no more.
    pub(super) fn set_busy(&mut self) {
        if let (true, Some((place, _))) = (std::mem::take(&mut self.is_idle), &self.left) {
            self.drain.seats.borrow_mut().unlink(*place);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((place, _)) = &self.left else {
            return;
        };
        let mut seats = self.drain.seats.borrow_mut();
        seats.unlink(*place);
        seats.all[*place] = Seat::default();
        seats.free.push(*place);
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
        assert_eq!(drain.seats.borrow().all.len(), 3);
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
    async fn the_one_that_is_idle_longest_is_ended_first() {
        let (_sender, receiver) = watch::channel(false);
        let drain = Drain::start(receiver);
        let mut places: Vec<Place> = (0..4).map(|_| Place::new(&drain)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!drain.has_idle() && !drain.end_oldest());
        for place in &mut places[..3] {
            assert!(place.poll_idle(&mut cx).is_pending());
        }
        // What waits and is not idle is no matter of this.
        assert!(places[3].poll(&mut cx).is_pending());
        // The first is busy for a while, the second leaves.
        places[0].set_busy();
        assert!(places[0].poll_idle(&mut cx).is_pending());
        drop(places.remove(1));
        assert!(drain.end_oldest());
        assert!(places[1].poll_idle(&mut cx).is_ready());
        assert!(places[0].poll_idle(&mut cx).is_pending());
        assert!(drain.end_oldest() && places[0].poll_idle(&mut cx).is_ready());
        assert!(!drain.has_idle() && !drain.end_oldest());
        assert!(places[2].poll(&mut cx).is_pending());
        // A place that was told is as good as new for the next.
        drop(places);
        let mut fresh = Place::new(&drain);
        assert!(fresh.poll_idle(&mut cx).is_pending() && drain.has_idle());
        drop(fresh);
        assert!(!drain.has_idle());
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
