//! [`Deadline`]: a time limit that is moved with every request and almost never set in the timer wheel.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A time limit. The timer fires at the earliest time it was ever set to and is then set again, so that moving the
/// limit into the future costs a clock reading only.
#[derive(Debug)]
pub struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// The limit is `after` from now.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        let timer = Box::pin(tokio::time::sleep_until(at));
        Self { at, timer }
    }

    /// Moves the limit to `after` from now.
    pub fn set(&mut self, after: Duration) {
        self.at = Instant::now() + after;
        if self.timer.deadline() > self.at {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Ready when it has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}
