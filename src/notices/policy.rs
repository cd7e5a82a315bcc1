//! [`Told`]: what was told of what, so that nobody is told the same again and again (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::notice::{DROPPED, Key, Notice, State};
use crate::document::notify::EVENTS;

/// What goes on being wrong is told again after this time, when it is heard of again.
const AGAIN: Duration = Duration::from_hours(1);

/// What was told so long ago, and of which nothing was heard since, may be there no more.
const LONG_AGO: Duration = Duration::from_hours(24 * 30);

/// What may be wrong at once. Who recovers is forgotten; who never does makes room for others in the end.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
struct Subject {
    /// When it was told last that it is wrong.
    told: Option<Instant>,
    /// Somebody has that notice, or nobody will: the next server need not tell it.
    is_brought: bool,
    /// What is told when it stays so.
    waits: Option<(Instant, Notice)>,
}

/// What was told.
#[derive(Debug, Default)]
pub struct Told {
    subjects: BTreeMap<Key, Subject>,
    is_changed: bool,
}

/// What was told to be wrong, for the server that comes after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldBefore {
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<Arc<str>>,
    subject: String,
    told: jiff::Timestamp,
}

impl Told {
    /// Takes over what the server before told. Whether a receiver of logs is well again is not known of it: that
    /// begins anew.
    pub fn take_over(&mut self, before: Vec<ToldBefore>, now: (Instant, jiff::Timestamp)) {
        for one in before.into_iter().take(MOST) {
            let event = EVENTS.into_iter().find(|event| *event == one.event);
            let event = event.filter(|event| *event != "drain" || one.subject == DROPPED);
            let Some(event) = event else { continue };
            let ago = now.1.duration_since(one.told).try_into();
            let ago: Duration = ago.unwrap_or_default();
            if ago > LONG_AGO {
                continue;
            }
            let subject = Subject {
                told: now.0.checked_sub(ago).or(Some(now.0)),
                is_brought: true,
                waits: None,
            };
            self.subjects
                .entry((event, one.app, one.subject))
                .or_insert(subject);
        }
    }

    /// What was told to be wrong, where that has changed since it was asked for last.
    pub fn changed(&mut self, now: (Instant, jiff::Timestamp)) -> Option<Vec<ToldBefore>> {
        std::mem::take(&mut self.is_changed).then(|| {
            let told = self.subjects.iter().filter_map(|(key, subject)| {
                let (event, app, subject_of) = key;
                let told = subject.told.filter(|_| subject.is_brought)?;
                let ago = now.0.saturating_duration_since(told);
                Some(ToldBefore {
                    event: (*event).to_owned(),
                    app: app.clone(),
                    subject: subject_of.clone(),
                    told: now.1.checked_sub(ago).unwrap_or(now.1),
                })
            });
            told.collect()
        })
    }

    /// Hears of something; answers what is to be told now.
    pub fn hear(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        let key = notice.key();
        match notice.state {
            State::Test => return Some(notice),
            State::Gone => {
                let subject = self.subjects.get_mut(&key)?;
                // What was told of it stays: somebody wants to know when it, or what takes its place, is well again.
                subject
                    .waits
                    .take_if(|(_, waits)| waits.batch <= notice.batch);
                if subject.told.is_none() && subject.waits.is_none() {
                    self.subjects.remove(&key);
                }
            }
            State::Recovered => {
                let subject = self.subjects.get_mut(&key)?;
                if subject.told.is_none() {
                    self.subjects.remove(&key);
                } else if notice.settles.is_zero() {
                    self.subjects.remove(&key);
                    self.is_changed = true;
                    return Some(notice);
                } else {
                    let is_older = |waits: &mut (_, Notice)| waits.1.batch < notice.batch;
                    subject.waits.take_if(is_older);
                    subject.waits.get_or_insert((now + notice.settles, notice));
                }
            }
            State::Failing => {
                if !self.subjects.contains_key(&key) {
                    self.make_room();
                }
                let subject = self.subjects.entry(key).or_default();
                let is_recovery = |waits: &mut (_, Notice)| waits.1.state == State::Recovered;
                if let Some((due, waits)) = subject.waits.take_if(is_recovery) {
                    // What takes its place goes on well; else it was not well for long enough.
                    if waits.batch > notice.batch {
                        subject.waits = Some((due, waits));
                        return None;
                    }
                }
                if subject
                    .told
                    .is_some_and(|told| now.duration_since(told) < AGAIN)
                {
                    return None;
                }
                if notice.settles.is_zero() || subject.told.is_some() {
                    (subject.told, subject.is_brought) = (Some(now), false);
                    subject.waits = None;
                    return Some(notice);
                }
                subject.waits.get_or_insert((now + notice.settles, notice));
            }
        }
        None
    }

    /// A notice of this was taken, or will not be.
    pub fn brought(&mut self, key: &Key) {
        if let Some(subject) = self.subjects.get_mut(key) {
            subject.is_brought = true;
            self.is_changed = true;
        }
    }

    /// Forgets an application that is removed: another one may have its name.
    pub fn forget(&mut self, app: &str) {
        let before = self.subjects.len();
        self.subjects
            .retain(|(_, of, _), _| of.as_deref() != Some(app));
        self.is_changed |= self.subjects.len() < before;
    }

    /// Forgets what was told longest ago, where there is too much.
    fn make_room(&mut self) {
        if self.subjects.len() < MOST {
            return;
        }
        let told = |(_, subject): &(&Key, &Subject)| (subject.told.is_none(), subject.told);
        let oldest = self
            .subjects
            .iter()
            .min_by_key(told)
            .map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.subjects.remove(&oldest);
        }
    }

    /// What has stayed so for long enough.
    pub fn settled(&mut self, now: Instant) -> Vec<Notice> {
        let mut settled = Vec::new();
        self.subjects.retain(|_, subject| {
            let Some((_, notice)) = subject.waits.take_if(|(due, _)| *due <= now) else {
                return true;
            };
            let is_wrong = notice.state == State::Failing;
            (subject.told, subject.is_brought) = (is_wrong.then_some(now), false);
            settled.push(notice);
            is_wrong
        });
        self.is_changed |= !settled.is_empty();
        settled
    }

    /// When something is next.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let waits = self
            .subjects
            .values()
            .filter_map(|subject| subject.waits.as_ref());
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

    #[test]
    fn what_takes_the_place_of_a_process_that_crashed_is_told_to_be_well() {
        let of = |batch, state, settles| Notice {
            batch,
            ..notice(state, settles)
        };
        let last = |steps: &[Notice]| {
            let (mut told, now) = (Told::default(), Instant::now());
            for step in steps {
                told.hear(step.clone(), now);
            }
            told.settled(now + AGAIN).pop().map(|notice| notice.batch)
        };
        let (crashes, stopped) = (of(4, State::Failing, 0), of(4, State::Gone, 0));
        let ready = of(5, State::Recovered, 90);
        // The old one stops when the new one serves, or before it starts; it may have come up once more.
        let (c, s, r) = (crashes, stopped, ready);
        let again = of(4, State::Recovered, 90);
        for steps in [
            vec![c.clone(), r.clone(), s.clone()],
            vec![c.clone(), s.clone(), r.clone()],
            vec![c.clone(), again.clone(), r.clone(), s.clone()],
            vec![c.clone(), r.clone(), c.clone(), s.clone()],
        ] {
            assert_eq!(last(&steps), Some(5), "{steps:?}");
        }
        assert_eq!(last(&[c.clone(), again, s]), None);
        assert_eq!(last(&[c, r, of(5, State::Failing, 0)]), None);
    }

    #[test]
    fn the_longest_told_makes_room_and_what_is_removed_is_forgotten() {
        let (mut told, now) = (Told::default(), Instant::now());
        let of = |number: usize| Notice {
            subject: number.to_string(),
            ..notice(State::Failing, 0)
        };
        for number in 0..=MOST {
            let at = now + Duration::from_millis(number as u64);
            assert!(told.hear(of(number), at).is_some(), "{number}");
        }
        assert_eq!(told.subjects.len(), MOST);
        let well = |number| Notice {
            state: State::Recovered,
            ..of(number)
        };
        assert_eq!(told.hear(well(0), now), None);
        assert!(told.hear(well(1), now).is_some());
        told.forget("shop");
        assert!(told.hear(well(2), now).is_some());
        told.forget("blog");
        assert_eq!(told.hear(well(3), now), None);
    }

    #[test]
    fn the_next_server_tells_nothing_again_and_when_it_is_well() {
        let wall: jiff::Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let (mut told, now) = (Told::default(), Instant::now());
        assert_eq!(told.changed((now, wall)), None);
        told.hear(notice(State::Failing, 0), now);
        let drain = Notice {
            event: "drain",
            ..notice(State::Failing, 0)
        };
        told.hear(drain.clone(), now);
        // What nobody has got, or may yet get, is told by the next server.
        assert_eq!(told.changed((now, wall)), None);
        for one in [notice(State::Failing, 0), drain.clone()] {
            told.brought(&one.key());
        }
        let half = Duration::from_mins(30);
        let kept = told.changed((now + half, wall + half)).unwrap();
        assert_eq!((kept.len(), kept[0].told), (2, wall));
        assert_eq!(told.changed((now, wall)), None);

        // Whose clock of the boot began anew, or whose clock was set back.
        let text = serde_json::to_string(&kept).unwrap();
        for (start, at, tells) in [
            (now, wall + half, false),
            (now, wall + AGAIN, true),
            (now, wall - half, false),
        ] {
            let mut next = Told::default();
            next.take_over(serde_json::from_str(&text).unwrap(), (start, at));
            assert_eq!(next.changed((start, at)), None);
            assert_eq!(
                next.hear(notice(State::Failing, 0), start).is_some(),
                tells,
                "{at}"
            );
            // Nobody knows whether it was well meanwhile.
            assert!(next.hear(drain.clone(), start).is_some());
            let well = next.hear(notice(State::Recovered, 0), start);
            assert_eq!(well.unwrap().state, State::Recovered);
            assert_eq!(next.changed((start, at)), Some(vec![]));
        }
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
