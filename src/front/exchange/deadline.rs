//! [`Deadline`]: a time limit that moves with every request and almost never touches the timer wheel.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A time limit. It counts from when it is first waited for, so that moving it costs nothing and a wait reads the clock
/// once. The timer fires at the earliest time it was ever set to, and is then set again. Nothing touches it before:
/// with thousands of connections its memory is not in the processor's cache.
#[derive(Debug)]
pub struct Deadline {
    after: Duration,
    /// The end of that time, once it was waited for.
    at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The time at which the timer fires, and whom it wakes.
    fires: Instant,
    wakes: Option<Waker>,
}

impl Deadline {
    /// Limits the time to `after` from now.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        let timer = Box::pin(tokio::time::sleep_until(at));
        Self {
            after,
            at: Some(at),
            timer,
            fires: at,
            wakes: None,
        }
    }

    /// Moves the limit to `after` from the next [`Self::poll`].
    pub fn set(&mut self, after: Duration) {
        (self.after, self.at) = (after, None);
    }

    /// Ready once the limit has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let at = *self.at.get_or_insert_with(|| now + self.after);
        let wakes = |waker: &Waker| waker.will_wake(cx.waker());
        if now < self.fires && self.fires <= at && self.wakes.as_ref().is_some_and(wakes) {
            return Poll::Pending;
        }
        if self.fires > at {
            self.reset(at);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                self.wakes = None;
                return Poll::Ready(());
            }
            self.reset(at);
        }
        self.wakes = Some(cx.waker().clone());
        Poll::Pending
    }

    fn reset(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.fires = at;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[actix::test]
    async fn it_passes_when_the_latest_limit_says() {
        let start = Instant::now();
        let mut deadline = Deadline::new(Duration::from_millis(1));
        deadline.set(Duration::from_millis(50));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(50));
        deadline.set(Duration::from_secs(3600));
        deadline.set(Duration::from_millis(1));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[actix::test]
    async fn whoever_waits_last_is_woken() {
        let mut deadline = Deadline::new(Duration::from_millis(20));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(deadline.poll(&mut cx).is_pending());
        assert!(deadline.poll(&mut cx).is_pending());
        poll_fn(|cx| deadline.poll(cx)).await;
    }

    #[actix::test]
    async fn a_limit_that_is_moved_back_and_forth_holds() {
        let start = Instant::now();
        let mut deadline = Deadline::new(Duration::from_secs(3600));
        for after in [3_600_000, 30, 3_600_000, 60] {
            deadline.set(Duration::from_millis(after));
            let wait = poll_fn(|cx| deadline.poll(cx));
            let _ = tokio::time::timeout(Duration::from_millis(1), wait).await;
        }
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
