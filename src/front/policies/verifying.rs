//! [`Verifying`]: how many passwords are looked at by their hashes at a time, by all workers together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Each is a core at work, and with argon2 up to 64 MiB.
const AT_WORK: usize = 2;

/// Those that wait. Beyond them a client is told to come back: each is a request that is held in memory.
const WAITING: usize = 64;

/// Shares out turns. Clones are one.
#[derive(Clone, Debug)]
pub struct Verifying {
    places: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _work: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Default for Verifying {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_WORK + WAITING)),
            work: Arc::new(Semaphore::new(AT_WORK)),
        }
    }
}

impl Verifying {
    /// Waits for a turn; `None` where too many wait already.
    pub async fn enter(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let work = Arc::clone(&self.work).acquire_owned().await.ok()?;
        Some(Turn {
            _work: work,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn two_are_at_work_some_wait_and_others_are_sent_away() {
        let verifying = Verifying::default();
        let enter = || {
            let verifying = verifying.clone();
            Box::pin(async move { verifying.enter().await })
        };
        let mut working: Vec<_> = (0..AT_WORK)
            .map(|_| enter().now_or_never().flatten().expect("a turn"))
            .collect();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| enter()).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert!(matches!(enter().now_or_never(), Some(None)));
        working.pop();
        assert!(waiting[0].as_mut().now_or_never().flatten().is_some());
        drop(waiting);
        assert!(enter().now_or_never().flatten().is_some());
    }
}
