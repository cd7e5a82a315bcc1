//! Waiting for a condition, bounded by a deadline: no test sleeps and hopes.

use std::time::{Duration, Instant};

/// How long anything that should happen "soon" may take on a loaded machine before the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks at `condition` until it gives something and returns that; fails after `limit`, saying `what` was awaited.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    condition: impl FnMut() -> Option<T>,
) -> T {
    match within(limit, condition) {
        Some(found) => found,
        None => panic!("not within {limit:?}: {what}"),
    }
}

/// Looks at `condition` until it gives something, `None` after `limit`.
pub(crate) fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = condition();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
