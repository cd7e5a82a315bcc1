//! [`Going`]: a request that was held and goes on, until its app answers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::router::burst::{Burst, GoingOn};

/// An app that has not answered by then takes its time: nobody waits for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request that was held and goes on, until its app answers or that takes long. Dropping it before lets another one go
/// on, and no more.
#[derive(Debug)]
pub(super) struct Going(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    place: RefCell<Option<GoingOn>>,
    burst: Arc<Burst>,
    since: Instant,
}

impl Going {
    /// Needs this thread's runtime.
    pub(super) fn new(place: GoingOn, burst: &Arc<Burst>) -> Self {
        let inner = Rc::new(Inner {
            place: RefCell::new(Some(place)),
            burst: Arc::clone(burst),
            since: Instant::now(),
        });
        let late = Rc::downgrade(&inner);
        actix_rt::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            if let Some(inner) = late.upgrade()
                && inner.place.take().is_some()
            {
                inner.burst.more();
            }
        });
        Self(inner)
    }

    /// The app has answered.
    pub(super) fn answered(self) {
        if self.0.place.take().is_some() {
            self.0.burst.answered(self.0.since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn who_is_answered_or_gone_lets_another_one_go_on() {
        let burst = Arc::<Burst>::default();
        let go = || burst.try_go().map(|place| Going::new(place, &burst));
        let mut all: Vec<_> = std::iter::from_fn(go).collect();
        let first = all.len();
        drop(all.pop());
        all.extend(go());
        assert!(go().is_none());
        all.into_iter().for_each(Going::answered);
        // How many more there may be the burst says.
        let again: Vec<_> = std::iter::from_fn(go).collect();
        assert!(again.len() > first, "{first}");
    }

    #[actix::test]
    async fn one_that_takes_long_is_not_waited_for() {
        let burst = Arc::<Burst>::default();
        let go = || burst.try_go().map(|place| Going::new(place, &burst));
        let all: Vec<_> = std::iter::from_fn(go).collect();
        for _ in 0..2 * all.len() {
            let limit = Duration::from_secs(20);
            let place = tokio::time::timeout(limit, burst.go()).await;
            place.expect("one goes on").forget();
        }
    }
}
