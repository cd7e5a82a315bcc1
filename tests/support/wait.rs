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
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}
