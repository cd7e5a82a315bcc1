//! [`Schedules`]: which jobs of an app are due (pure): (jobs, up to when each was looked at, now) → runs.
//!
//! A time is looked at once: it is written down as seen before its run begins, so that no server runs it a second time. Of
//! times that were missed (the server was away, the clock was set forward) only the last one counts, and only if it is under
//! an hour old. Where the clock was set back a little, what was seen stays seen; by more than three hours it was wrong
//! before, and looking begins anew, as cron(8) does it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::document::cron::CronJob;

/// A time that was missed for longer is let go.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);

/// A clock that was set back by more was wrong before.
const LARGEST_STEP_BACK: SignedDuration = SignedDuration::from_hours(3);

/// Up to when the schedule of each job was looked at.
pub type Seen = BTreeMap<String, Timestamp>;

/// A run that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub job: String,
    /// The time of the schedule.
    pub time: Timestamp,
}

/// What is known of the schedules of an app.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    seen: Seen,
}

impl Schedules {
    #[must_use]
    pub fn recovered(seen: Seen) -> Self {
        Self { seen }
    }

    /// What is to be written down.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Begins anew at `now`: nothing that was missed before is due. For an app that was stopped.
    pub fn begin_anew(&mut self, jobs: &[CronJob], now: Timestamp) {
        self.seen = jobs.iter().map(|job| (job.name.clone(), now)).collect();
    }

    /// Looks at all jobs. Says which runs are due, and whether there is something to be written down.
    pub fn look(&mut self, jobs: &[CronJob], now: Timestamp) -> (Vec<Due>, bool) {
        let before = self.seen.len();
        let is_known = |name: &String| jobs.iter().any(|job| job.name == *name);
        self.seen.retain(|name, _| is_known(name));
        let mut has_changed = self.seen.len() != before;
        let mut due = Vec::new();
        for job in jobs {
            let Some(seen) = self.seen.get_mut(&job.name) else {
                // A job that is new has missed nothing.
                self.seen.insert(job.name.clone(), now);
                has_changed = true;
                continue;
            };
            if seen.duration_since(now) > LARGEST_STEP_BACK {
                *seen = now;
                has_changed = true;
                continue;
            }
            let Some(time) = job.schedule.last_between(*seen, now) else {
                continue;
            };
            *seen = time;
            has_changed = true;
            if now.duration_since(time) < OLDEST {
                due.push(Due {
                    job: job.name.clone(),
                    time,
                });
            }
        }
        (due, has_changed)
    }

    /// When the next run of any job is due.
    #[must_use]
    pub fn next(&self, jobs: &[CronJob], now: Timestamp) -> Option<Timestamp> {
        jobs.iter().filter_map(|job| self.next_of(job, now)).min()
    }

    /// When the next run of a job is due.
    #[must_use]
    pub fn next_of(&self, job: &CronJob, now: Timestamp) -> Option<Timestamp> {
        let seen = self.seen.get(&job.name).copied();
        let seen = seen.filter(|seen| seen.duration_since(now) <= LARGEST_STEP_BACK);
        job.schedule.after(seen.unwrap_or(now).max(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::document::cron::Schedule;

    fn job(name: &str, schedule: &str) -> CronJob {
        CronJob {
            name: name.to_owned(),
            schedule: Schedule::parse(schedule, "Europe/Berlin").unwrap(),
            command: "true".to_owned(),
            timeout: Duration::from_secs(1),
            overlaps: false,
        }
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-{text}:00Z").parse().unwrap()
    }

    fn due(schedules: &mut Schedules, jobs: &[CronJob], now: Timestamp) -> Vec<Timestamp> {
        let found = schedules.look(jobs, now).0;
        found.into_iter().map(|due| due.time).collect()
    }

    #[test]
    fn a_new_job_has_missed_nothing_and_each_time_is_due_once() {
        let jobs = [job("a", "*/10 * * * *")];
        let mut all = Schedules::default();
        assert!(due(&mut all, &jobs, at("11-29T10:05")).is_empty());
        assert!(due(&mut all, &jobs, at("11-29T10:09")).is_empty());
        assert_eq!(due(&mut all, &jobs, at("11-29T10:10")), [at("11-29T10:10")]);
        assert!(due(&mut all, &jobs, at("11-29T10:11")).is_empty());
        assert_eq!(all.next(&jobs, at("11-29T10:11")), Some(at("11-29T10:20")));
        // Whoever comes next knows what was seen.
        let mut next = Schedules::recovered(all.seen().clone());
        assert!(due(&mut next, &jobs, at("11-29T10:19")).is_empty());
        assert!(next.look(&[], at("11-29T10:20")).1 && next.seen().is_empty());
    }

    #[test]
    fn of_what_was_missed_the_last_is_made_up_for_if_it_is_under_an_hour_old() {
        let (often, daily) = ([job("a", "*/10 * * * *")], [job("b", "30 3 * * *")]);
        let mut all = Schedules::default();
        due(&mut all, &often, at("11-29T00:00"));
        assert_eq!(
            due(&mut all, &often, at("11-29T09:07")),
            [at("11-29T09:00")]
        );
        for (back, is_run) in [("11-29T03:29", true), ("11-29T03:30", false)] {
            let mut all = Schedules::default();
            due(&mut all, &daily, at("11-28T12:00"));
            assert_eq!(
                due(&mut all, &daily, at(back)).len(),
                usize::from(is_run),
                "{back}"
            );
        }
        // An app that was stopped has missed nothing.
        all.begin_anew(&often, at("11-29T12:05"));
        assert!(due(&mut all, &often, at("11-29T12:09")).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_repeats_nothing_and_one_that_was_wrong_is_followed() {
        let jobs = [job("a", "*/10 * * * *")];
        let mut all = Schedules::default();
        due(&mut all, &jobs, at("11-29T10:05"));
        assert_eq!(due(&mut all, &jobs, at("11-29T10:30")).len(), 1);
        assert!(due(&mut all, &jobs, at("11-29T10:00")).is_empty());
        assert!(due(&mut all, &jobs, at("11-29T10:30")).is_empty());
        assert_eq!(all.next(&jobs, at("11-29T10:00")), Some(at("11-29T10:40")));
        assert_eq!(due(&mut all, &jobs, at("11-29T10:40")).len(), 1);
        // Set forward by a day, and back again.
        assert_eq!(due(&mut all, &jobs, at("11-30T10:45")), [at("11-30T10:40")]);
        assert!(due(&mut all, &jobs, at("11-29T10:45")).is_empty());
        assert_eq!(due(&mut all, &jobs, at("11-29T10:50")), [at("11-29T10:50")]);
    }

    #[test]
    fn a_set_time_is_due_once_on_the_days_that_the_clock_of_its_zone_changes() {
        let jobs = [job("a", "30 2 * * *")];
        for (from, hours) in [("03-29T00:00", 6), ("10-25T00:00", 6)] {
            let mut all = Schedules::default();
            let mut now = at(from);
            due(&mut all, &jobs, now);
            let mut runs = 0;
            for _ in 0..hours * 60 {
                now += SignedDuration::from_mins(1);
                runs += due(&mut all, &jobs, now).len();
            }
            assert_eq!(runs, 1, "{from}");
        }
    }

    proptest! {
        #[test]
        fn no_time_is_due_twice_however_the_clock_is_set_back_and_forward(
            steps in proptest::collection::vec(-90_i64..300, 1..60)
        ) {
            let jobs = [job("a", "*/7 * * * *")];
            let (mut all, mut now) = (Schedules::default(), at("11-29T10:00"));
            let mut seen = std::collections::BTreeSet::new();
            let latest = &mut now.clone();
            for step in steps {
                now += SignedDuration::from_mins(step);
                // Further back is another clock.
                now = now.max(*latest - SignedDuration::from_hours(2));
                *latest = now.max(*latest);
                for time in due(&mut all, &jobs, now) {
                    prop_assert!(seen.insert(time), "{time} twice");
                    prop_assert!(now.duration_since(time) < OLDEST);
                }
            }
        }
    }
}
