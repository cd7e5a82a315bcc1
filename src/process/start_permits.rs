//! [`StartPermits`]: who may start when everything starts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a start may keep others waiting. One that takes longer waits for something else than a core.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Starts at a time for each core. A start mostly waits: for threads, for a fork, until its port answers. One for each
/// core leaves the cores idle; hundreds at once would keep each other from getting ready.
const PER_CORE: usize = 4;

/// Bounds how many processes start at a time when the server starts. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct StartPermits(Arc<Semaphore>);

/// Lets one process start; the next one's permit comes when it is dropped.
#[derive(Debug)]
pub(super) struct StartPermit {
    _permit: OwnedSemaphorePermit,
}

impl StartPermits {
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self(Arc::new(Semaphore::new(cores.max(1) * PER_CORE)))
    }

    /// Waits for a permit. Cancel safe; first come, first served.
    pub(super) async fn acquire(self) -> Option<StartPermit> {
        // It is never closed.
        let permit = self.0.acquire_owned().await.ok()?;
        Some(StartPermit { _permit: permit })
    }
}
