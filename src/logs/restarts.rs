//! [`Restarts`]: supervises a task of the arbiter of the logs that is no actor: after a panic a fresh one follows.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use crate::events::{Feed, Report};
use crate::supervision::backoff::{Backoff, PROVED};
use crate::supervision::{Exit, monitor};

/// The panics of one task so far.
#[derive(Debug)]
pub struct Restarts {
    offender: &'static str,
    events: Feed,
    backoff: Backoff,
}

impl Restarts {
    #[must_use]
    pub fn new(offender: &'static str, events: Feed) -> Self {
        Self {
            offender,
            events,
            backoff: Backoff::default(),
        }
    }

    /// Runs the task; `None` when it has ended. A panic is reported: a fresh one follows after the delay.
    pub async fn run(&mut self, task: impl Future<Output = ()>) -> Option<Duration> {
        let started = Instant::now();
        let payload = AssertUnwindSafe(task).catch_unwind().await.err()?;
        self.events.report(Report::actor_restarts(
            None,
            "the arbiter of the logs".to_owned(),
            self.offender.to_owned(),
            format!("{:?}", Exit::Panic(monitor::text_of(&*payload))),
        ));
        if started.elapsed() >= PROVED {
            self.backoff.reset();
        }
        // One alone needs no jitter.
        Some(self.backoff.crashed(Instant::now(), 0.5))
    }
}
