//! [`StepLimits`]: until when a step may run, and whether the deploy was cancelled.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::failure;
use super::record::{Failure, Step};

/// Why a step does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("{}", .0.reason)]
    Failed(Box<Failure>),
    #[error("it was cancelled")]
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

    /// Limits of work that begins now and takes at most `limit`, whatever is left of these; it ends early when they do.
    #[must_use]
    pub fn of(&self, limit: Duration) -> Self {
        Self::new(limit, self.cancel.clone())
    }

    /// The limit that is reached. For work on a thread of its own, which nobody can end: it looks here before each file.
    #[must_use]
    pub fn reached(&self) -> Option<LimitReached> {
        if *self.cancel.borrow() || self.cancel.has_changed().is_err() {
            Some(LimitReached::Cancelled)
        } else if Instant::now() >= self.deadline {
            Some(LimitReached::TimedOut(self.limit))
        } else {
            None
        }
    }

    /// As [`Self::reached`], for `?` in work that does I/O.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn check(&self) -> io::Result<()> {
        match self.reached() {
            Some(_) => Err(io::Error::other("it takes too long, or was cancelled")),
            None => Ok(()),
        }
    }

    /// As [`blocking`], for `work` that may take long and ends with [`Self::check`] when a limit is reached. It is
    /// waited for also then: what is cancelled has stopped writing when that is told.
    ///
    /// # Errors
    /// The work's own; the limit that was reached.
    pub async fn blocking<T: Send + 'static>(
        &self,
        step: Step,
        what: &str,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StepError> {
        let own = self.clone();
        let done = blocking(step, what, move || work(&own)).await;
        match self.reached() {
            Some(reached) if done.is_err() => {
                Err(reached.into_error(step, what.trim_start_matches("cannot "), Vec::new()))
            }
            _ => done,
        }
    }

    /// Runs `work`, and drops it when a limit is reached. Not for [`blocking`], which would go on.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;

    #[tokio::test]
    async fn what_is_cancelled_on_a_thread_is_over_when_that_is_told() {
        for is_dropped in [false, true] {
            let (cancel, cancelled) = watch::channel(false);
            let limits = StepLimits::new(Duration::from_secs(60), cancelled);
            let over = Arc::new(AtomicBool::new(false));
            let (begins, began) = mpsc::channel();
            let ends = over.clone();
            let work = move |limits: &StepLimits| {
                begins.send(()).unwrap();
                while limits.check().is_ok() {
                    std::thread::yield_now();
                }
                // What it is at is still completed.
                std::thread::sleep(Duration::from_millis(20));
                ends.store(true, Ordering::SeqCst);
                limits.check()
            };
            std::thread::spawn(move || {
                began.recv().unwrap();
                match is_dropped {
                    true => drop(cancel),
                    false => drop(cancel.send(true)),
                }
            });
            let told = limits.blocking(Step::Checkout, "cannot", work).await;
            assert!(matches!(told, Err(StepError::Cancelled)), "{told:?}");
            assert!(over.load(Ordering::SeqCst), "it goes on");
        }
    }

    #[tokio::test]
    async fn work_on_a_thread_that_takes_too_long_is_told_so() {
        let (_wanted, cancelled) = watch::channel(false);
        let limits = StepLimits::new(Duration::from_millis(10), cancelled);
        let work = |limits: &StepLimits| {
            while limits.check().is_ok() {
                std::thread::yield_now();
            }
            limits.check()
        };
        let told = limits.blocking(Step::Checkout, "cannot", work).await;
        let Err(StepError::Failed(failure)) = told else {
            panic!("{told:?}");
        };
        assert!(failure.reason.contains("took"), "{}", failure.reason);
    }
}
