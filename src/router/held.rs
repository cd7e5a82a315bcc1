//! [`Held`]: the requests that wait for an app, counted over all workers, and who is told when one comes. [`HeldHere`]:
//! those of one worker.
//!
//! It outlives the actors on both sides: a worker that holds a request and the App that it waits for may each be
//! restarted meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Requests that may wait for one app.
pub const MOST: usize = 1000;

/// Requests that one worker may hold, beside one of each app.
const HERE: usize = 2048;

/// Those of one app among them, so that a few apps that never wake leave room for others.
const OF_APP_HERE: usize = HERE / 4;

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
}

/// One request that waits. Dropping it takes it off the count.
#[derive(Debug)]
pub struct HeldRequest(HeldOfApp);

/// The requests that wait on one worker.
#[derive(Debug, Default)]
pub struct HeldHere(RefCell<Here>);

#[derive(Debug, Default)]
struct Here {
    all: usize,
    /// Only those apps for which some wait.
    apps: HashMap<Arc<str>, usize>,
}

impl HeldHere {
    /// Counts one more for `app`; `false` if it may not wait here. The first one of an app always may: it wakes the app.
    #[must_use]
    pub fn take(&self, app: &Arc<str>) -> bool {
        let mut here = self.0.borrow_mut();
        let own = here.apps.get(app).copied().unwrap_or(0);
        if own > 0 && (own >= OF_APP_HERE || here.all >= HERE) {
            return false;
        }
        here.all += 1;
        here.apps.insert(Arc::clone(app), own + 1);
        true
    }

    /// Takes one that [`Self::take`] counted off.
    pub fn leave(&self, app: &Arc<str>) {
        let mut here = self.0.borrow_mut();
        let Some(own) = here.apps.get_mut(app) else {
            return;
        };
        *own -= 1;
        if *own == 0 {
            here.apps.remove(app);
        }
        here.all -= 1;
    }
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
        let request = HeldRequest(self.clone());
        (count < MOST).then(|| {
            self.0.came.notify_one();
            request
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

impl Drop for HeldRequest {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Ordering::SeqCst);
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
    fn an_app_has_a_quarter_of_a_worker_at_most() {
        let here = HeldHere::default();
        let (blog, shop) = ("blog".into(), "shop".into());
        assert!((0..OF_APP_HERE).all(|_| here.take(&blog)));
        assert!(!here.take(&blog));
        assert!((0..OF_APP_HERE).all(|_| here.take(&shop)));
        here.leave(&blog);
        assert!(here.take(&blog) && !here.take(&blog));
        for app in [&blog, &shop] {
            (0..OF_APP_HERE).for_each(|_| here.leave(app));
        }
        let here = here.0.into_inner();
        assert!(here.all == 0 && here.apps.is_empty());
    }

    #[test]
    fn the_first_one_of_an_app_is_held_however_many_of_others_are() {
        let here = HeldHere::default();
        for n in 0..5 {
            let app = format!("hostile{n}").into();
            while here.take(&app) {}
        }
        assert_eq!(here.0.borrow().all, HERE + 1);
        let blog = "blog".into();
        for _ in 0..3 {
            assert!(here.take(&blog));
            assert!(!here.take(&blog), "the rest is not for many");
            here.leave(&blog);
        }
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
