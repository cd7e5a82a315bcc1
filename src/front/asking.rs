//! [`Asking`]: asks all workers to give up their idle connections to a backend that does not answer on a new one.
//!
//! Some programs serve one connection at a time (Python's `HTTPServer`, and others with as many threads as
//! connections). A connection to one is made at once, by the kernel; it is looked at when those before it are closed,
//! and an idle one that is kept, by whatever worker, would be one of them.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Sleep;

use crate::router::backend::Backend;

/// Most answer in less, and then nobody is asked.
const SOON: Duration = Duration::from_millis(20);

/// How long no connection is kept for somebody who waits: who waits longer waits for something else, most likely.
const WAITS: Duration = Duration::from_secs(2);

/// How often those that were kept since are asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// Calls that a worker may be behind with: who is behind more gives up all.
const CALLS: usize = 64;

/// A backend whose idle connections are to be given up.
pub type Call = Backend;

/// Brings calls to all workers.
#[must_use]
pub fn calls() -> broadcast::Sender<Call> {
    broadcast::channel(CALLS).0
}

/// Waits for a first answer on a new connection.
#[derive(Debug)]
pub struct Asking {
    sleep: Pin<Box<Sleep>>,
    calls: broadcast::Sender<Call>,
    backend: Backend,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// Nobody keeps a connection meanwhile.
    Waits,
    Late,
}

impl Asking {
    /// For a new connection to `backend`.
    #[must_use]
    pub fn new(calls: &broadcast::Sender<Call>, backend: &Backend) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(SOON)),
            calls: calls.clone(),
            backend: backend.clone(),
            stage: Stage::New,
        }
    }

    /// Asks when it is time to.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(()) = self.sleep.as_mut().poll(cx) {
            let load = &self.backend.load;
            let (stage, after) = match self.stage {
                Stage::New => {
                    load.begin_waiting();
                    (Stage::Waits, WAITS)
                }
                Stage::Waits => {
                    load.end_waiting();
                    (Stage::Late, AGAIN)
                }
                Stage::Late => (Stage::Late, AGAIN),
            };
            self.stage = stage;
            // An error means that no worker listens.
            let _gone = self.calls.send(self.backend.clone());
            let next = tokio::time::Instant::now() + after;
            self.sleep.as_mut().reset(next);
        }
    }

    /// There is an answer.
    pub fn answered(self) {
        if self.stage != Stage::New {
            self.backend.load.was_waited_for();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.stage == Stage::Waits {
            self.backend.load.end_waiting();
        }
    }
}
