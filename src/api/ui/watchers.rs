//! [`Watchers`]: bounds how many answers that never end browsers have at a time, in all and by session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::api::problem::Problem;
use crate::tokens::token::Digest;

const MOST: usize = 500;
const MOST_OF_SESSION: usize = 20;

/// The answers to browsers that never end by themselves. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Watchers(Arc<Mutex<HashMap<Option<Digest>, usize>>>);

/// One such answer; dropping it takes it off.
#[derive(Debug)]
pub(super) struct Watcher {
    all: Watchers,
    session: Option<Digest>,
}

impl Watchers {
    /// Counts one more; `session` is `None` for those of the command line.
    pub(super) fn enter(&self, session: Option<Digest>) -> Result<Watcher, Problem> {
        let mut by_session = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let own = by_session.get(&session).copied().unwrap_or(0);
        if own >= MOST_OF_SESSION || by_session.values().sum::<usize>() >= MOST {
            let detail = "Too many pages follow what happens: close some.";
            return Err(Problem::unavailable(detail));
        }
        *by_session.entry(session).or_default() += 1;
        Ok(Watcher {
            all: self.clone(),
            session,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut by_session = self.all.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(count) = by_session.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                by_session.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_session_has_more_than_its_part_and_all_have_a_bound() {
        let all = Watchers::default();
        let enter = |n: usize, count: usize| -> Vec<Watcher> {
            let session = Some(Digest::of(&n.to_le_bytes()));
            (0..count).map_while(|_| all.enter(session).ok()).collect()
        };
        assert_eq!(enter(0, 1000).len(), MOST_OF_SESSION);
        let held: Vec<_> = (0..1000).map(|n| enter(n, 1000)).collect();
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), MOST);
        drop(held);
        assert!(all.0.lock().unwrap().is_empty());
    }
}
