//! Waiting for what another program does.

use std::time::{Duration, Instant};

/// Asks until there is an answer. Fails at the limit: whoever waits cannot go on.
pub(crate) fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    match within(limit, &mut ask) {
        Some(answer) => answer,
        None => panic!("{what}: not within {limit:?}"),
    }
}

/// Asks until there is an answer or the time is over.
pub(crate) fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
