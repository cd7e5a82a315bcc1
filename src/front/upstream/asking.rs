//! [`Asking`]: asks all workers to drop their idle connections to a backend that does not answer on a new one.
//!
//! Some programs serve one connection at a time (Python's `HTTPServer`), or as many as they have threads. The kernel
//! makes a connection to them at once, but they look at it only when those before it are closed, and one of these may
//! be an idle connection that some worker keeps.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Sleep;

use crate::router::backend::{Backend, Load};

/// The time in which most backends answer. Nobody is asked before.
const SOON: Duration = Duration::from_millis(20);

/// The time in which workers that keep a connection look whether somebody waits for it. Whoever waits longer most
/// likely waits for something else.
const WAITS: Duration = Duration::from_secs(2);

/// The time between two calls for the connections that were kept since.
const AGAIN: Duration = Duration::from_millis(500);

/// Calls that a worker may be behind with. A worker that is behind further drops all idle connections.
const CALLS: usize = 64;

/// The backend whose idle connections are to be dropped.
pub type Call = Backend;

/// Makes the channel that brings calls to all workers.
#[must_use]
pub fn calls() -> broadcast::Sender<Call> {
    broadcast::channel(CALLS).0
}

/// Waits for the first answer on a new connection.
#[derive(Debug)]
pub struct Asking {
    sleep: Pin<Box<Sleep>>,
    calls: broadcast::Sender<Call>,
    backend: Backend,
    /// The number of answers on new connections at the last look.
    answered: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// Workers that keep a connection look whether somebody waits for it, for so long already.
    Waits(Duration),
    Late,
}

impl Asking {
    #[must_use]
    pub fn new(calls: &broadcast::Sender<Call>, backend: &Backend) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(SOON)),
            calls: calls.clone(),
            backend: backend.clone(),
            answered: backend.load.answered(),
            stage: Stage::New,
        }
    }

    /// Asks once it is time.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(()) = self.sleep.as_mut().poll(cx) {
            let load = &self.backend.load;
            let waited = match self.stage {
                Stage::New => {
                    load.begin_waiting();
                    Some(SOON)
                }
                Stage::Waits(so_far) if so_far >= WAITS => {
                    load.end_waiting();
                    None
                }
                Stage::Waits(so_far) => Some(so_far + SOON),
                Stage::Late => None,
            };
            self.stage = waited.map_or(Stage::Late, Stage::Waits);
            let known = std::mem::replace(&mut self.answered, load.answered());
            let after = match self.stage {
                // Others get answers on new connections, so this one does not lack a free connection.
                Stage::Waits(_) if known != self.answered => SOON,
                Stage::Waits(_) => {
                    self.stage = Stage::Waits(WAITS);
                    WAITS
                }
                _ => AGAIN,
            };
            if after != SOON {
                // An error means that no worker listens.
                let _gone = self.calls.send(self.backend.clone());
            }
            let next = tokio::time::Instant::now() + after;
            self.sleep.as_mut().reset(next);
        }
    }

    pub fn answered(self) {
        self.backend.load.answers();
        if self.stage != Stage::New {
            self.backend.load.was_waited_for();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Waits(_)) {
            self.backend.load.end_waiting();
        }
    }
}

/// Looks, after a connection to `backend` was kept although somebody waits on a new one, whether they wait for it. If
/// they do, no new connection gets an answer meanwhile. Under load some do, and connections must be kept.
pub async fn look(calls: broadcast::Sender<Call>, backend: Backend) {
    let load = &backend.load;
    if !load.begin_looking() {
        return;
    }
    let _looks = Looks(load);
    while load.is_waited_for() {
        let known = load.answered();
        tokio::time::sleep(SOON).await;
        if load.answered() != known {
            load.serves_several();
        } else if load.is_waited_for() {
            let _gone = calls.send(backend.clone());
            return;
        }
    }
}

/// One worker looks while this lives.
struct Looks<'l>(&'l Load);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.end_looking();
    }
}
