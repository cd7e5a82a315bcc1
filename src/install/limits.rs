//! [`StepLimits`]: until when a step may run, and whether the deploy was cancelled.

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

#[derive(Clone, Debug)]
pub struct StepLimits {
    limit: Duration,
    deadline: Instant,
    cancel: watch::Receiver<bool>,
}

impl StepLimits {
    /// The limits of a step that begins now, takes at most `limit`, and ends early when `cancel` becomes true or its
    /// sender is dropped.
    #[must_use]
    pub fn new(limit: Duration, cancel: watch::Receiver<bool>) -> Self {
        Self {
            limit,
            deadline: Instant::now() + limit,
            cancel,
        }
    }

    /// The same, but at most `limit` from now.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        let deadline = self.deadline.min(Instant::now() + limit);
        Self {
            limit,
            deadline,
            cancel: self.cancel.clone(),
        }
    }

    /// Runs `work`, and drops it when a limit is reached.
    ///
    /// # Errors
    /// The limit that was reached.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, LimitReached> {
        let mut cancel = self.cancel.clone();
        tokio::select! {
            biased;
            _ = cancel.wait_for(|cancelled| *cancelled) => Err(LimitReached::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => Err(LimitReached::TimedOut(self.limit)),
            result = work => Ok(result),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    Cancelled,
    /// The step has taken this long.
    TimedOut(Duration),
}

impl LimitReached {
    /// The error of `step`, which was at `what`.
    #[must_use]
    pub fn into_error(self, step: Step, what: &str, tail: Vec<String>) -> StepError {
        match self {
            Self::Cancelled => StepError::Cancelled,
            Self::TimedOut(limit) => failure::timed_out(step, what, limit, tail).into(),
        }
    }
}

/// Runs `work` of `step`, which uses the disk, on a blocking thread. The sentence about a failure begins with `what`.
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
