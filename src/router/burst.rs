//! [`Burst`]: requests that were held go on a few at a time, and more as they are answered.
//!
//! A thousand of them at once would overflow the queue of an app that takes one connection after the other: the kernel
//! drops what does not fit, and asks again seconds later. How much an app takes shows in how long it takes: one that is
//! asked for more than it does at a time lets each wait for those before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many go on before any is answered. Simple programs let five wait (the backlog of listen(2)).
const FIRST: usize = 4;

/// An answer is fast if it took no longer than the fastest one so many times.
const SLOWER: u32 = 2;

/// A difference that says nothing.
const NOTHING: Duration = Duration::from_millis(1);

/// Requests that were held together, on all workers.
#[derive(Debug)]
pub struct Burst {
    /// In the order in which they ask.
    places: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// A place of a request that goes on, until it is dropped.
pub type GoingOn = OwnedSemaphorePermit;

impl Default for Burst {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(FIRST)),
            pace: Mutex::default(),
        }
    }
}

impl Burst {
    /// Takes a place, if there is one for which nobody waits.
    #[must_use]
    pub fn try_go(&self) -> Option<GoingOn> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Waits for a place.
    pub async fn go(&self) -> GoingOn {
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// One that went on was answered after this time. Drop its place then.
    pub fn answered(&self, took: Duration) {
        if self.pace().answered(took) {
            self.places.add_permits(1);
        }
    }

    /// Lets one more go on: somebody who goes on is not waited for.
    pub fn more(&self) {
        self.pace().grow();
        self.places.add_permits(1);
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says when more may go on: one more for as many fast answers as may go on at a time.
#[derive(Debug)]
struct Pace {
    at_once: usize,
    fastest: Duration,
    /// Fast answers since it grew.
    fast: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            at_once: FIRST,
            fastest: Duration::MAX,
            fast: 0,
        }
    }
}

impl Pace {
    fn answered(&mut self, took: Duration) -> bool {
        self.fastest = self.fastest.min(took);
        let is_fast = took <= self.fastest.saturating_mul(SLOWER).saturating_add(NOTHING);
        self.fast += usize::from(is_fast);
        let grows = self.fast >= self.at_once;
        if grows {
            self.grow();
        }
        grows
    }

    fn grow(&mut self) {
        self.at_once += 1;
        self.fast = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    /// Lets a thousand go on to an app that does `at_once` of them at a time, each in 20 ms. Returns how many were on
    /// it at most, and when all were answered.
    fn all_on(at_once: usize) -> (usize, Duration) {
        let (each, burst) = (Duration::from_millis(20), Burst::default());
        let mut free_at = BinaryHeap::from(vec![Reverse(Duration::ZERO); at_once]);
        let mut going = BinaryHeap::new();
        let (mut now, mut left, mut most) = (Duration::ZERO, 1000, 0);
        while left > 0 || !going.is_empty() {
            while left > 0
                && let Some(place) = burst.try_go()
            {
                // Its place is counted by hand, since an order of permits is none.
                place.forget();
                let Reverse(free) = free_at.pop().expect("it does one at least");
                let done = free.max(now) + each;
                free_at.push(Reverse(done));
                going.push(Reverse((done, now)));
                left -= 1;
            }
            most = most.max(going.len());
            let Some(Reverse((done, sent))) = going.pop() else {
                break;
            };
            now = done;
            burst.answered(done - sent);
            burst.places.add_permits(1);
        }
        (most, now)
    }

    #[test]
    fn one_that_does_one_at_a_time_has_no_more_waiting_than_its_queue_takes() {
        let (most, took) = all_on(1);
        assert!(most <= 5, "{most}");
        assert_eq!(took, Duration::from_secs(20), "and it never idles");
    }

    #[test]
    fn one_that_does_many_at_a_time_has_more_and_more() {
        let (most, took) = all_on(usize::from(u8::MAX));
        assert!(most > 40, "{most}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn who_waits_has_a_place_when_one_is_dropped_before_who_comes_then() {
        use futures::FutureExt as _;
        let burst = Burst::default();
        let mut places: Vec<_> = std::iter::from_fn(|| burst.try_go()).collect();
        assert_eq!(places.len(), FIRST);
        let mut waits = Box::pin(burst.go());
        assert!(waits.as_mut().now_or_never().is_none());
        places.pop();
        assert!(burst.try_go().is_none(), "it is that of the one who waits");
        assert!(waits.as_mut().now_or_never().is_some());
    }
}
