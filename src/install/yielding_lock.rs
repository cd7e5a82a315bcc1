//! [`YieldingLock`]: many use a thing at a time, or one has it alone, who gives it back as soon as anybody else wants it.
//!
//! A lock for reading and writing (`tokio::sync::RwLock`) lets readers wait until the writer is done, and for one that
//! waits. Here nobody waits longer than it takes to stop a process.

use std::sync::Arc;

use tokio::sync::watch;

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct YieldingLock(Arc<watch::Sender<Holders>>);

#[derive(Clone, Copy, Debug, Default)]
struct Holders {
    /// Those who use it, or wait for it.
    sharing: usize,
    /// Somebody has it alone.
    is_exclusive: bool,
    /// Somebody has it alone, or waits for that.
    is_claimed: bool,
}

/// Somebody uses it, until this is dropped.
#[derive(Debug)]
pub struct Shared(YieldingLock);

/// Somebody waits to have it alone, until this is dropped.
#[derive(Debug)]
pub struct Claim(YieldingLock);

/// Somebody has it alone, until this is dropped.
#[derive(Debug)]
pub struct Exclusive<'a>(&'a Claim);

impl Default for YieldingLock {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Holders::default())))
    }
}

impl YieldingLock {
    /// Waits until nobody has it alone. Whoever has it hears of that at once.
    pub async fn share(&self) -> Shared {
        self.0.send_modify(|holders| holders.sharing += 1);
        let shared = Shared(self.clone());
        self.until(|holders| !holders.is_exclusive).await;
        shared
    }

    /// The right to have it alone. `None`: somebody else is about to.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        let claimed = self.0.send_if_modified(|holders| {
            let is_free = !holders.is_claimed;
            holders.is_claimed = true;
            is_free
        });
        claimed.then(|| Claim(self.clone()))
    }

    async fn until(&self, is: impl Fn(&Holders) -> bool) {
        // It is not closed: this has the sender.
        let _ = self.0.subscribe().wait_for(|holders| is(holders)).await;
    }
}

impl Claim {
    /// Waits until nobody uses it.
    pub async fn exclusive(&mut self) -> Exclusive<'_> {
        loop {
            self.0.until(|holders| holders.sharing == 0).await;
            let taken = self.0.0.send_if_modified(|holders| {
                holders.is_exclusive |= holders.sharing == 0;
                holders.is_exclusive
            });
            if taken {
                return Exclusive(self);
            }
        }
    }
}

impl Exclusive<'_> {
    /// Waits until somebody else wants it.
    pub async fn is_wanted(&self) {
        self.0.0.until(|holders| holders.sharing > 0).await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.0.send_modify(|holders| holders.sharing -= 1);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.send_modify(|holders| holders.is_claimed = false);
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let lock = &self.0.0.0;
        lock.send_modify(|holders| holders.is_exclusive = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn who_has_it_alone_hears_that_others_want_it_and_they_wait_until_it_is_given_back() {
        let lock = YieldingLock::default();
        let _two_share = (lock.share().await, lock.share().await);
        drop(_two_share);
        let mut claim = lock.claim().unwrap();
        assert!(lock.claim().is_none());
        let alone = claim.exclusive().await;
        let mut wanted = Box::pin(alone.is_wanted());
        assert!(futures::poll!(&mut wanted).is_pending());
        let mut sharing = Box::pin(lock.share());
        assert!(futures::poll!(&mut sharing).is_pending());
        wanted.await;
        assert!(futures::poll!(&mut sharing).is_pending());
        drop(alone);
        let shared = sharing.await;
        let mut again = Box::pin(claim.exclusive());
        assert!(futures::poll!(&mut again).is_pending());
        drop(shared);
        drop(again.await);
        drop(claim);
        assert!(lock.claim().is_some());
    }

    #[actix_web::test]
    async fn who_does_not_wait_any_longer_holds_nothing_up() {
        let lock = YieldingLock::default();
        let mut claim = lock.claim().unwrap();
        let alone = claim.exclusive().await;
        let mut sharing = Box::pin(lock.share());
        assert!(futures::poll!(&mut sharing).is_pending());
        drop(sharing);
        drop(alone);
        drop(claim.exclusive().await);
        let shared = lock.share().await;
        let mut waiting = Box::pin(claim.exclusive());
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        drop(lock.share().await);
        drop(shared);
    }
}
