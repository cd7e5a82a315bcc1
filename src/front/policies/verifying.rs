//! [`Verifying`]: how many passwords are looked at by their hashes at a time, by all workers together.
//!
//! One application waits for another's hashes as little as can be: each has places of its own for those that wait, one
//! of them is looked at at a time, and applications take turns in the order in which they came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::router::policies::gate::Fingerprint;

/// Those of all applications that are looked at. Each is a core at work, and with argon2 up to 64 MiB.
const AT_WORK: usize = 2;

/// Those of one application, the one that is looked at among them. Beyond them a client is told to come back.
const OF_APP: usize = 16;

/// Those of one address among these.
const OF_ADDRESS: usize = 2;

/// Requests that say the same in one place, as those of a browser do that loads a page. They cost one hash if it is
/// right.
const ALIKE: usize = 128;

/// Shares out turns. Clones are one.
#[derive(Clone, Debug)]
pub struct Verifying {
    apps: Arc<Mutex<HashMap<Arc<str>, OfApp>>>,
    work: Arc<Semaphore>,
}

/// What is looked at, and from where. Those that are equal share a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// As [`crate::router::policies::limiter::key`] has it.
    pub address: u64,
    pub said: Fingerprint,
}

/// Why there is no place for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Its address has as many as it may.
    Address,
    /// The application has.
    App,
}

/// The attempts at one application, while there are any.
#[derive(Debug)]
struct OfApp {
    turn: Arc<Semaphore>,
    /// How many requests are in each place.
    places: HashMap<Attempt, usize>,
}

/// A place among those that wait, until it is dropped.
#[derive(Debug)]
struct Place {
    verifying: Verifying,
    app: Arc<str>,
    attempt: Attempt,
}

/// The turn of an application, until it is dropped. Nothing of the same one is looked at meanwhile.
#[derive(Debug)]
pub struct Turn {
    _turn: OwnedSemaphorePermit,
    place: Place,
}

/// A turn with leave to work, until it is dropped.
#[derive(Debug)]
pub struct Work {
    _work: OwnedSemaphorePermit,
    _turn: Turn,
}

impl Default for Verifying {
    fn default() -> Self {
        Self {
            apps: Arc::default(),
            work: Arc::new(Semaphore::new(AT_WORK)),
        }
    }
}

impl Verifying {
    /// Waits for the turn of an attempt at `app`.
    ///
    /// # Errors
    /// Too many wait already, which is found out at once.
    pub async fn enter(&self, app: &Arc<str>, attempt: Attempt) -> Result<Turn, Busy> {
        let (place, turn) = self.place(app, attempt)?;
        // It is never closed.
        let turn = turn.acquire_owned().await.map_err(|_| Busy::App)?;
        Ok(Turn { _turn: turn, place })
    }

    fn place(&self, app: &Arc<str>, attempt: Attempt) -> Result<(Place, Arc<Semaphore>), Busy> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = match apps.get_mut(app) {
            Some(of_app) => of_app.take(attempt)?,
            None => {
                let of_app = apps.entry(Arc::clone(app)).or_insert_with(OfApp::new);
                of_app.take(attempt)?
            }
        };
        let place = Place {
            verifying: self.clone(),
            app: Arc::clone(app),
            attempt,
        };
        Ok((place, turn))
    }
}

impl Turn {
    /// Waits for other applications.
    pub async fn begin(self) -> Option<Work> {
        let work = Arc::clone(&self.place.verifying.work);
        Some(Work {
            _work: work.acquire_owned().await.ok()?,
            _turn: self,
        })
    }
}

impl OfApp {
    fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            places: HashMap::new(),
        }
    }

    fn take(&mut self, attempt: Attempt) -> Result<Arc<Semaphore>, Busy> {
        let alike = self.places.get(&attempt).copied().unwrap_or(0);
        let own = |of: &&Attempt| of.address == attempt.address;
        if alike >= ALIKE || alike == 0 && self.places.keys().filter(own).count() >= OF_ADDRESS {
            return Err(Busy::Address);
        }
        if alike == 0 && self.places.len() >= OF_APP {
            return Err(Busy::App);
        }
        self.places.insert(attempt, alike + 1);
        Ok(Arc::clone(&self.turn))
    }

    fn leave(&mut self, attempt: &Attempt) {
        if let Some(alike) = self.places.get_mut(attempt) {
            *alike -= 1;
            if *alike == 0 {
                self.places.remove(attempt);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let apps = &self.verifying.apps;
        let mut apps = apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_app) = apps.get_mut(&self.app) {
            of_app.leave(&self.attempt);
            if of_app.places.is_empty() {
                apps.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt as _;

    use super::*;

    type Entering = Pin<Box<dyn Future<Output = Result<Turn, Busy>>>>;

    /// What an address says to an application, which is another thing for each `said`.
    fn enter(verifying: &Verifying, app: &str, address: u64, said: u8) -> Entering {
        let (verifying, app) = (verifying.clone(), app.into());
        let said = [said; 32];
        Box::pin(async move { verifying.enter(&app, Attempt { address, said }).await })
    }

    fn turn(entering: &mut Entering) -> Option<Turn> {
        let turn = entering.as_mut().now_or_never()?;
        Some(turn.expect("a place"))
    }

    fn busy(mut entering: Entering) -> Option<Busy> {
        entering.as_mut().now_or_never()?.err()
    }

    #[test]
    fn an_application_has_so_many_places_and_one_is_looked_at() {
        let verifying = Verifying::default();
        let mut all: Vec<_> = (0..OF_APP as u64)
            .map(|n| enter(&verifying, "blog", n, 0))
            .collect();
        let mut turns: Vec<_> = all.iter_mut().map(turn).collect();
        assert!(turns[0].is_some() && turns[1..].iter().all(Option::is_none));
        assert_eq!(busy(enter(&verifying, "blog", 99, 0)), Some(Busy::App));
        assert!(turn(&mut enter(&verifying, "shop", 99, 0)).is_some());
        // Who does not wait any more makes room, and so does who had a turn.
        drop(all.pop());
        assert_eq!(busy(enter(&verifying, "blog", 99, 0)), None);
        turns.clear();
        let second = turn(&mut all[1]);
        assert!(second.is_some() && turn(&mut all[2]).is_none());
        drop((all, second));
        assert!(verifying.apps.lock().unwrap().is_empty());
    }

    #[test]
    fn an_address_has_two_places_of_an_application() {
        let verifying = Verifying::default();
        let mut all: Vec<_> = (0..2).map(|n| enter(&verifying, "blog", 1, n)).collect();
        let first = turn(&mut all[0]);
        assert!(first.is_some() && turn(&mut all[1]).is_none());
        assert_eq!(busy(enter(&verifying, "blog", 1, 2)), Some(Busy::Address));
        assert_eq!(busy(enter(&verifying, "blog", 2, 2)), None);
        assert!(turn(&mut enter(&verifying, "shop", 1, 2)).is_some());
        all.pop();
        assert_eq!(busy(enter(&verifying, "blog", 1, 2)), None);
    }

    #[test]
    fn those_that_say_the_same_share_a_place() {
        let verifying = Verifying::default();
        let mut all: Vec<_> = (0..ALIKE)
            .map(|_| enter(&verifying, "blog", 1, 0))
            .collect();
        let turns: Vec<_> = all.iter_mut().filter_map(turn).collect();
        assert_eq!(turns.len(), 1);
        assert_eq!(busy(enter(&verifying, "blog", 1, 0)), Some(Busy::Address));
        assert_eq!(busy(enter(&verifying, "blog", 1, 1)), None);
        drop((turns, all));
        assert!(verifying.apps.lock().unwrap().is_empty());
    }

    /// Whatever the hashes of one application cost, another's is the next.
    #[test]
    fn applications_take_turns_to_work() {
        let verifying = Verifying::default();
        let begin = |app: &str, address| {
            let mut entering = enter(&verifying, app, address, 0);
            Box::pin(async move { entering.as_mut().await.ok()?.begin().await })
        };
        let mut slow = begin("slow", 0).now_or_never().flatten();
        assert!(slow.is_some());
        let mut more: Vec<_> = (1..OF_APP as u64).map(|n| begin("slow", n)).collect();
        assert!(more.iter_mut().all(|m| m.now_or_never().is_none()));
        let other = begin("other", 0).now_or_never().flatten();
        assert!(other.is_some(), "the slow one has but one");
        let mut third = begin("third", 0);
        assert!(third.as_mut().now_or_never().is_none());
        slow.take();
        // The slow one's next comes behind it.
        assert!(more[0].as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().flatten().is_some());
        drop((more, other, third));
        assert!(verifying.apps.lock().unwrap().is_empty());
    }
}
