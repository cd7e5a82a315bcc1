//! [`Held`]: the requests that wait for an app, counted over all workers, and who is told when one comes.
//!
//! It outlives the actors on both sides: a worker that holds a request and the App that it waits for may each be
//! restarted meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::burst::Burst;

/// Requests that may wait for one app.
pub const MOST: usize = 1000;

/// The requests that wait, by app. Clones are of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<Mutex<HashMap<Arc<str>, HeldOfApp>>>);

/// The requests that wait for one app. Clones are of the same ones.
#[derive(Clone, Debug, Default)]
pub struct HeldOfApp(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    came: Notify,
    /// How those that wait now go on. The next that wait, when all these have gone on, begin anew.
    burst: Mutex<Weak<Burst>>,
}

/// One request that waits. Dropping it takes it off the count.
#[derive(Debug)]
pub struct HeldRequest {
    of: HeldOfApp,
    burst: Arc<Burst>,
}

impl Held {
    /// Those of `app`.
    #[must_use]
    pub fn of(&self, app: &Arc<str>) -> HeldOfApp {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(app) {
            return known.clone();
        }
        // Apps that nobody asks about any more.
        all.retain(|_, waiting| Arc::strong_count(&waiting.0) > 1);
        all.entry(Arc::clone(app)).or_default().clone()
    }
}

impl HeldOfApp {
    /// Counts one more and tells of it; `None` if there are as many as there may be.
    #[must_use]
    pub fn take(&self) -> Option<HeldRequest> {
        let count = self.0.count.fetch_add(1, Ordering::SeqCst);
        // From here on it is taken off the count again in any case.
        let request = HeldRequest {
            of: self.clone(),
            burst: self.burst(),
        };
        (count < MOST).then(|| {
            self.0.came.notify_one();
            request
        })
    }

    fn burst(&self) -> Arc<Burst> {
        let mut known = self.0.burst.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let fresh = Arc::<Burst>::default();
            *known = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// How many wait at this moment.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Resolves once one has come since this was last awaited. It may be gone by now.
    pub async fn came(&self) {
        self.0.came.notified().await;
    }
}

impl HeldRequest {
    /// With which others it goes on.
    #[must_use]
    pub fn burst(&self) -> &Arc<Burst> {
        &self.burst
    }
}

impl Drop for HeldRequest {
    fn drop(&mut self) {
        self.of.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn so_many_wait_for_an_app_and_each_that_goes_makes_room() {
        let held = Held::default();
        let (blog, shop) = (held.of(&"blog".into()), held.of(&"shop".into()));
        let mut all: Vec<_> = (0..MOST)
            .map(|_| blog.take().expect("there is room"))
            .collect();
        assert!(blog.take().is_none());
        assert!(shop.take().is_some(), "another app has room of its own");
        all.pop();
        assert_eq!(held.of(&"blog".into()).count(), MOST - 1);
        assert!(blog.take().is_some());
        drop(all);
        assert_eq!(blog.count(), 0);
    }

    #[test]
    fn those_that_wait_together_go_on_together_and_later_ones_begin_anew() {
        let blog = Held::default().of(&"blog".into());
        let (one, other) = (blog.take().unwrap(), blog.take().unwrap());
        let first = Arc::downgrade(one.burst());
        assert!(Arc::ptr_eq(one.burst(), other.burst()));
        drop((one, other));
        assert!(first.upgrade().is_none());
        assert!(blog.take().is_some());
    }

    #[test]
    fn who_awaits_one_is_told_also_of_one_that_came_before() {
        let waiting = Held::default().of(&"blog".into());
        assert!(waiting.came().now_or_never().is_none());
        drop(waiting.take());
        assert!(waiting.came().now_or_never().is_some());
        assert!(waiting.came().now_or_never().is_none(), "told once");
    }

    #[test]
    fn apps_that_nobody_asks_about_are_forgotten() {
        let held = Held::default();
        for n in 0..100 {
            drop(held.of(&format!("app{n}").into()));
        }
        assert!(held.0.lock().unwrap().len() <= 1);
    }
}
