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

use crate::router::backend::{Backend, Load};

/// Most answer in less, and then nobody is asked.
const SOON: Duration = Duration::from_millis(20);

/// How long it is looked whether somebody waits for a connection that is kept meanwhile: who waits longer waits for
/// something else, most likely.
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
    /// Answers on new connections that were known of.
    answered: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// Whoever keeps a connection meanwhile looks whether it is that one. So long already.
    Waits(Duration),
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
            answered: backend.load.answered(),
            stage: Stage::New,
        }
    }

    /// Asks when it is time to.
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
                // Others have answers on new connections: it is not for want of one that this has none yet.
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

/// Looks, after a connection to `backend` was kept although somebody waits on a new one, whether it is what they wait for:
/// then there are no answers on new ones beside it. Under load there are, and connections must not be given up then.
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

/// Somebody looks as long as this is there.
struct Looks<'l>(&'l Load);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.end_looking();
    }
}
