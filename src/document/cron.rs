//! [`CronJob`]: a command of the document that is run at set times, and when that is (pure).
//!
//! A schedule is read as cron(8) reads it, in a time zone. When the clock of the zone goes forward, a job of a set time that
//! is left out runs right behind the gap; when it goes back, such a job runs once. Jobs of each hour or minute run as time
//! passes. The rules of the zones are those that this program was built with.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::rules as rules_of;

/// A command that is run at set times.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJob {
    /// It begins with a letter: its runs are `cron.NAME`, which no process of the formation is called.
    pub name: String,
    pub schedule: Schedule,
    /// For the shell of the document.
    pub command: String,
    /// How long a run may take; in whole seconds.
    pub timeout: Duration,
    /// Whether a run begins while another one is at work.
    pub overlaps: bool,
}

/// When a job is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// As it was given.
    pub text: String,
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Reads `*/5 * * * *`, with seconds before that if there are six fields, or `@daily` and its like.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str, zone: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "\"{}\" is no schedule: {why}; write \"MINUTE HOUR DAY MONTH WEEKDAY\", as in \"30 3 * * *\", or @hourly, \
                 @daily, @weekly, @monthly",
                rules_of::shown(text)
            )
        };
        if text.len() > 200 {
            return Err(wrong("it is longer than 200 characters"));
        }
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|e| wrong(&why(text, &e)))?;
        let schedule = Self {
            text: text.to_owned(),
            cron,
            zone: time_zone(zone)?,
        };
        // From before a leap year: February 29 comes, February 30 does not.
        match schedule.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(wrong("there is no such day")),
        }
    }

    /// The first time behind `time`.
    #[must_use]
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.zoned(time), false);
        found.ok().map(|next| next.timestamp())
    }

    /// The last time in `from..=to`, `from` itself left out.
    #[must_use]
    pub fn last_between(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&self.zoned(to), true);
        let found = found.ok()?.timestamp();
        (found > from && found <= to).then_some(found)
    }

    /// The name of the zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    fn zoned(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone.clone())
    }
}

/// What is wrong with a text that the parser does not take.
fn why(text: &str, error: &dyn std::fmt::Display) -> String {
    match text.split_whitespace().count() {
        0 => "it is empty".to_owned(),
        1 => "that word is not known".to_owned(),
        5 | 6 => error.to_string().trim_end_matches('.').to_owned(),
        fields => format!("it has {fields} fields, not five"),
    }
}

pub(super) fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!(
            "\"{}\" is no time zone: write it as \"Europe/Berlin\" or \"UTC\"",
            rules_of::shown(name)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn times(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(text, zone).unwrap();
        let mut time = at(from);
        let next = || {
            time = schedule.after(time).unwrap();
            time.to_string()
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn a_schedule_is_in_its_time_zone() {
        assert_eq!(
            times("30 3 * * *", "UTC", "2026-11-29T03:30:00Z", 1),
            ["2026-11-30T03:30:00Z"]
        );
        assert_eq!(
            times("30 3 * * *", "Asia/Kolkata", "2026-11-29T00:00:00Z", 1),
            ["2026-11-29T22:00:00Z"]
        );
        assert_eq!(
            times("@hourly", "UTC", "2026-11-29T03:30:00Z", 2),
            ["2026-11-29T04:00:00Z", "2026-11-29T05:00:00Z"]
        );
        assert_eq!(
            times("*/20 * * * * *", "UTC", "2026-11-29T03:30:00Z", 2),
            ["2026-11-29T03:30:20Z", "2026-11-29T03:30:40Z"]
        );
    }

    #[test]
    fn a_set_time_that_the_clock_leaves_out_comes_behind_the_gap_and_one_that_comes_twice_counts_once()
     {
        // At 2:00 on March 29 it is 3:00 in Berlin; at 3:00 on October 25 it is 2:00 again.
        let zone = "Europe/Berlin";
        assert_eq!(
            times("30 2 * * *", zone, "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            times("30 2 * * *", zone, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // What runs each half hour runs as time passes.
        assert_eq!(
            times("*/30 * * * *", zone, "2026-10-25T00:00:00Z", 4),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z"
            ]
        );
        assert_eq!(
            times("*/30 * * * *", zone, "2026-03-29T00:30:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        );
    }

    #[test]
    fn what_is_wrong_with_a_schedule_is_said() {
        for (text, why) in [
            ("", "\"\" is no schedule: it is empty; write"),
            ("@reboot", "that word is not known; write"),
            ("* * * *", "it has 4 fields, not five; write"),
            ("61 * * * *", "61 * * * *\" is no schedule: "),
        ] {
            let error = Schedule::parse(text, "UTC").unwrap_err();
            assert!(error.contains(why) && !error.contains(".;"), "{error}");
        }
    }
}
