//! [`Told`]: what was told of what, so that nobody is told the same again and again (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::notice::{Notice, State};

/// What goes on being wrong is told again after this time, when it is heard of again.
const AGAIN: Duration = Duration::from_hours(1);

/// What an application may be wrong with at once; what is more is not told.
const MOST: usize = 10_000;

/// Event, application and what of it.
type Key = (&'static str, Option<Arc<str>>, String);

#[derive(Debug, Default)]
struct Subject {
    /// When it was told last that it is wrong.
    told: Option<Instant>,
    /// What is told when it stays so.
    waits: Option<(Instant, Notice)>,
}

/// What was told.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<Key, Subject>);

impl Told {
    /// Hears of something; answers what is to be told now.
    pub fn hear(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        let key = (notice.event, notice.app.clone(), notice.subject.clone());
        match notice.state {
            State::Test => return Some(notice),
            State::Gone => _ = self.0.remove(&key),
            State::Recovered => {
                let subject = self.0.get_mut(&key)?;
                if subject.told.is_none() {
                    self.0.remove(&key);
                } else if notice.settles.is_zero() {
                    self.0.remove(&key);
                    return Some(notice);
                } else {
                    subject.waits.get_or_insert((now + notice.settles, notice));
                }
            }
            State::Failing => {
                if self.0.len() >= MOST && !self.0.contains_key(&key) {
                    return None;
                }
                let subject = self.0.entry(key).or_default();
                // It was not well for long enough.
                subject
                    .waits
                    .take_if(|(_, waits)| waits.state == State::Recovered);
                if subject
                    .told
                    .is_some_and(|told| now.duration_since(told) < AGAIN)
                {
                    return None;
                }
                if notice.settles.is_zero() || subject.told.is_some() {
                    subject.told = Some(now);
                    subject.waits = None;
                    return Some(notice);
                }
                subject.waits.get_or_insert((now + notice.settles, notice));
            }
        }
        None
    }

    /// What has stayed so for long enough.
    pub fn settled(&mut self, now: Instant) -> Vec<Notice> {
        let mut settled = Vec::new();
        self.0.retain(|_, subject| {
            let Some((_, notice)) = subject.waits.take_if(|(due, _)| *due <= now) else {
                return true;
            };
            let is_wrong = notice.state == State::Failing;
            subject.told = is_wrong.then_some(now);
            settled.push(notice);
            is_wrong
        });
        settled
    }

    /// When something is next.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let waits = self.0.values().filter_map(|subject| subject.waits.as_ref());
        waits.map(|(due, _)| *due).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(state: State, settles: u64) -> Notice {
        Notice {
            app: Some("blog".into()),
            settles: Duration::from_secs(settles),
            ..Notice::of_server(
                "crash",
                "web.1",
                state,
                String::new(),
                jiff::Timestamp::UNIX_EPOCH,
            )
        }
    }

    #[test]
    fn what_passes_by_itself_is_not_told() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert_eq!(told.hear(notice(State::Failing, 300), now), None);
        assert_eq!(told.hear(notice(State::Recovered, 0), now), None);
        assert!(told.settled(now + AGAIN).is_empty() && told.next().is_none());
        told.hear(notice(State::Failing, 300), now);
        told.hear(notice(State::Gone, 0), now);
        assert!(told.settled(now + AGAIN).is_empty());
    }

    #[test]
    fn a_process_that_comes_up_and_crashes_again_is_told_of_once() {
        let (mut told, mut now) = (Told::default(), Instant::now());
        assert!(told.hear(notice(State::Failing, 0), now).is_some());
        for _ in 0..20 {
            now += Duration::from_secs(60);
            assert_eq!(told.hear(notice(State::Recovered, 90), now), None);
            assert!(told.settled(now).is_empty());
            assert_eq!(told.hear(notice(State::Failing, 0), now), None);
        }
        told.hear(notice(State::Recovered, 90), now);
        let due = told.next().unwrap();
        assert_eq!(told.settled(due)[0].state, State::Recovered);
        assert!(told.hear(notice(State::Failing, 0), due).is_some());
    }

    proptest! {
        /// Recoveries are told only after failures, and failures not twice within an hour without one in between.
        #[test]
        fn nobody_is_told_the_same_again_and_again(steps in proptest::collection::vec((0_u8..3, 0_u64..1000, prop_oneof![Just(0_u64), Just(90), Just(300)]), 0..200)) {
            let (mut told, mut now) = (Told::default(), Instant::now());
            let mut last: Option<(State, Instant)> = None;
            for (step, seconds, settles) in steps {
                now += Duration::from_secs(seconds);
                let heard = match step {
                    0 => told.hear(notice(State::Failing, settles), now).into_iter().collect(),
                    1 => told.hear(notice(State::Recovered, settles), now).into_iter().collect(),
                    _ => told.settled(now),
                };
                for one in heard {
                    match one.state {
                        State::Recovered => prop_assert!(matches!(last, Some((State::Failing, _)))),
                        _ => prop_assert!(!matches!(last, Some((State::Failing, at)) if now.duration_since(at) < AGAIN)),
                    }
                    last = Some((one.state, now));
                }
            }
        }
    }
}
