//! [`Deadline`]: a time limit that is moved with every request and almost never set in the timer wheel.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A time limit. It counts from when it is first waited for, so that moving it costs nothing and the clock is read once
/// a wait; the timer fires at the earliest time it was ever set to and is then set again.
#[derive(Debug)]
pub struct Deadline {
    after: Duration,
    /// When that is over, once it was waited for.
    at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// The limit is `after` from now.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        let timer = Box::pin(tokio::time::sleep_until(at));
        Self {
            after,
            at: Some(at),
            timer,
        }
    }

    /// Moves the limit to `after` from the next [`Self::poll`].
    pub fn set(&mut self, after: Duration) {
        (self.after, self.at) = (after, None);
    }

    /// Ready when it has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = *self.at.get_or_insert_with(|| Instant::now() + self.after);
        if self.timer.deadline() > at {
            self.timer.as_mut().reset(at);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(at);
        }
        Poll::Pending
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
}
