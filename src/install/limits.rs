//! The bounds of a step: its time, and whether it is still wanted.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::failure;
use super::record::{Failure, Step};

/// Why a step does not go on.
#[derive(Debug)]
pub enum StepError {
    Failed(Box<Failure>),
    Cancelled,
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// How long a step may take, and whether it is still wanted.
#[derive(Clone, Debug)]
pub struct Bounds {
    limit: Duration,
    deadline: Instant,
    cancel: watch::Receiver<bool>,
}

impl Bounds {
    /// Bounds of a step that begins now, takes at most `limit`, and ends early when `cancel` becomes true (or its
    /// sender is gone).
    #[must_use]
    pub fn new(limit: Duration, cancel: watch::Receiver<bool>) -> Self {
        Self {
            limit,
            deadline: Instant::now() + limit,
            cancel,
        }
    }

    /// These bounds, but `limit` from now at most.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        let deadline = self.deadline.min(Instant::now() + limit);
        Self {
            limit,
            deadline,
            cancel: self.cancel.clone(),
        }
    }

    /// Runs `work` within these bounds; it is dropped when they are reached.
    ///
    /// # Errors
    /// [`Bound`] when they were.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Bound> {
        let mut cancel = self.cancel.clone();
        tokio::select! {
            biased;
            _ = cancel.wait_for(|cancelled| *cancelled) => Err(Bound::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => Err(Bound::TimedOut(self.limit)),
            result = work => Ok(result),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Cancelled,
    /// The step has taken this long.
    TimedOut(Duration),
}

impl Bound {
    /// As the end of `step`, while it was at `what`.
    #[must_use]
    pub fn into_error(self, step: Step, what: &str, tail: Vec<String>) -> StepError {
        match self {
            Self::Cancelled => StepError::Cancelled,
            Self::TimedOut(limit) => failure::timed_out(step, what, limit, tail).into(),
        }
    }
}

/// Runs blocking `work` (disks) of `step` on a blocking thread; `what` begins the sentence when it fails.
///
/// # Errors
/// The work's own.
pub async fn blocking<T: Send + 'static>(
    step: Step,
    what: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StepError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| failure::io(step, what, &error).into())
}
