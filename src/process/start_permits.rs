//! [`StartPermits`]: who may start when everything starts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a start may keep others waiting. One that takes longer waits for something else than a core.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// As many starts at a time as there are cores, for processes that start with the server: two hundred at once would
/// only keep each other from getting ready. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct StartPermits(Arc<Semaphore>);

/// Lets one process start; the next one's permit comes when it is dropped.
#[derive(Debug)]
pub(super) struct StartPermit {
    _permit: OwnedSemaphorePermit,
}

impl StartPermits {
    /// One at a time for each of `cores`.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self(Arc::new(Semaphore::new(cores.max(1))))
    }

    /// Waits for a permit. Cancel safe; first come, first served.
    pub(super) async fn acquire(self) -> Option<StartPermit> {
        // It is never closed.
        let permit = self.0.acquire_owned().await.ok()?;
        Some(StartPermit { _permit: permit })
    }
}
