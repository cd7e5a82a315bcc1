//! [`HeldHere`]: how many requests wait for their apps on one worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Requests that one worker may hold, beside one of each app.
const HERE: usize = 2048;

/// Those of one app among them, so that a few apps that never wake leave room for others.
const OF_APP_HERE: usize = HERE / 4;

/// The requests that wait on one worker.
#[derive(Debug, Default)]
pub(super) struct HeldHere(RefCell<Here>);

#[derive(Debug, Default)]
struct Here {
    all: usize,
    /// Only those apps for which some wait.
    apps: HashMap<Arc<str>, usize>,
}

impl HeldHere {
    /// Counts one more for `app`; `false` if it may not wait here. The first one of an app always may: it wakes the app.
    #[must_use]
    pub(super) fn take(&self, app: &Arc<str>) -> bool {
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
    pub(super) fn leave(&self, app: &Arc<str>) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
