//! `cron` of the document (pure).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use crate::document::cron::{CronJob, Schedule, time_zone};
use crate::document::rules as rules_of;
use crate::document::walk::{Object, Walk, expected};

const FIELDS: [&str; 6] = [
    "name", "schedule", "command", "timezone", "timeout", "overlap",
];

const MAX_JOBS: usize = 64;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

const USUAL_TIMEOUT: Duration = Duration::from_hours(1);

/// Reads `cron` of the document.
pub(super) fn read_cron(walk: &mut Walk, top: &Object<'_>) -> Vec<CronJob> {
    let mut names: Vec<String> = Vec::new();
    let shape = "a list of jobs, [{name: \"…\", schedule: \"…\", command: \"…\"}]";
    walk.items(top, "cron", (shape, MAX_JOBS), |walk, item, pointer| {
        if !item.is_object() {
            let wanted = "an object {name: \"…\", schedule: \"…\", command: \"…\"}";
            walk.report(pointer, expected(wanted, item));
            return None;
        }
        let job = read_job(walk, item, pointer.clone())?;
        if names.contains(&job.name) {
            walk.report(
                format!("{pointer}/name"),
                format!("\"{}\" is there already", job.name),
            );
            return None;
        }
        names.push(job.name.clone());
        Some(job)
    })
}

fn read_job(walk: &mut Walk, item: &Value, pointer: String) -> Option<CronJob> {
    let job = walk.object(item, pointer, &FIELDS)?;
    for (field, what) in [
        ("name", "is required: a name such as \"report\""),
        (
            "schedule",
            "is required: when it runs, as in \"30 3 * * *\" or \"@daily\"",
        ),
        (
            "command",
            "is required: a command such as \"./manage.py clearsessions\"",
        ),
    ] {
        if job.get(field).is_none() {
            walk.report(job.pointer(field), what);
        }
    }
    let name = walk.text(&job, "name", job_name);
    let zone = match job.get("timezone") {
        None => Some("UTC".to_owned()),
        Some(_) => walk.text(&job, "timezone", |zone| {
            time_zone(zone).map(|_| zone.to_owned())
        }),
    };
    let schedule = walk.text(&job, "schedule", |text| {
        Schedule::parse(text, zone.as_deref().unwrap_or("UTC"))
    });
    let command = walk.text(&job, "command", rules_of::command);
    let timeout = walk.seconds(&job, "timeout", TIMEOUT, USUAL_TIMEOUT);
    let overlaps = walk.text(&job, "overlap", overlap).unwrap_or_default();
    Some(CronJob {
        name: name?,
        schedule: schedule?,
        command: command?,
        timeout,
        overlaps,
    })
}

fn job_name(text: &str) -> Result<String, String> {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 40
        && text.bytes().all(rest);
    match is_name {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "\"{}\" is no name of a job: use \"a\" to \"z\", digits, \"-\" and \"_\", at most 40 and a letter first",
            rules_of::shown(text)
        )),
    }
}

fn overlap(text: &str) -> Result<bool, &'static str> {
    match text {
        "skip" => Ok(false),
        "allow" => Ok(true),
        _ => {
            Err("must be \"skip\" (while a run is at work, the next one is left out) or \"allow\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::{AppConfig, Rules};

    #[test]
    fn every_wrong_field_of_a_job_is_named() {
        let read = |cron: Value| {
            let document = json!({"name": "a", "repo": {"url": "https://h/a.git"}, "cron": cron});
            AppConfig::from_document(document, &Rules::default()).map(|config| config.cron)
        };
        let good = read(json!([
            {"name": "a", "schedule": "@daily", "command": "x", "timezone": "Europe/Berlin"},
            {"name": "b-2", "schedule": "*/5 * * * *", "command": "y", "timeout": "5m", "overlap": "allow"},
        ]));
        let good = good.unwrap();
        assert_eq!((good[0].timeout, good[0].overlaps), (USUAL_TIMEOUT, false));
        assert_eq!(
            (good[1].timeout, good[1].overlaps),
            (Duration::from_mins(5), true)
        );
        let wrong = |job: Value| -> Vec<String> {
            let errors = read(json!([job])).unwrap_err();
            errors.into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(
            wrong(json!({})),
            ["/cron/0/name", "/cron/0/schedule", "/cron/0/command"]
        );
        assert_eq!(wrong(json!("x")), ["/cron/0"]);
        let base = json!({"name": "a", "schedule": "@daily", "command": "x"});
        for (field, value) in [
            ("name", "1"),
            ("name", "A"),
            ("schedule", "60 * * * *"),
            ("schedule", "* * *"),
            ("schedule", "0 0 30 2 *"),
            ("schedule", "@reboot"),
            ("schedule", ""),
            ("timezone", "Mars/Phobos"),
            ("timeout", "0s"),
            ("overlap", "maybe"),
            ("when", "now"),
        ] {
            let mut job = base.clone();
            job[field] = value.into();
            assert_eq!(wrong(job), [format!("/cron/0/{field}")], "{value}");
        }
        let twice = read(json!([base, base])).unwrap_err();
        assert_eq!(twice[0].pointer, "/cron/1/name");
    }
}
