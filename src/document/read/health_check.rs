//! Reads `health_check` of the document (pure).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use crate::document::config::HealthCheck;
use crate::document::rules as rules_of;
use crate::document::statuses::Statuses;
use crate::document::walk::{Object, Walk, expected, number};

/// Of the request.
const MAX_FIELDS: usize = 32;
const MAX_STATUSES: usize = 32;

const TICK: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
const BOOT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

pub(super) fn read_health_check(walk: &mut Walk, top: &Object<'_>) -> HealthCheck {
    let default = HealthCheck::default();
    let fields = [
        "path",
        "host",
        "headers",
        "status",
        "interval",
        "timeout",
        "boot_timeout",
    ];
    let Some(check) = walk.child(top, "health_check", &fields) else {
        return default;
    };
    HealthCheck {
        path: walk.text(&check, "path", rules_of::request_path),
        host: walk.text(&check, "host", rules_of::request_host),
        headers: walk.map(&check, "headers", MAX_FIELDS, read_field),
        status: read_status(walk, &check).unwrap_or(default.status),
        interval: walk.duration(&check, "interval", TICK, default.interval),
        timeout: walk.duration(&check, "timeout", TICK, default.timeout),
        boot_timeout: walk.duration(&check, "boot_timeout", BOOT, default.boot_timeout),
    }
}

/// A field of the request; those that say how it is framed and where it goes are ours.
fn read_field(name: &str, value: &Value) -> Result<String, String> {
    rules_of::request_field(name)?;
    let Value::String(text) = value else {
        return Err(expected("a string", value));
    };
    rules_of::field_value(text)
}

/// One status, a range, or a list of these: 204, "200-399", [200, "300-399"].
fn read_status(walk: &mut Walk, check: &Object<'_>) -> Option<Statuses> {
    let ranges = match check.get("status")? {
        Value::Array(_) => {
            let shape = "a list of statuses, [200, \"300-399\"]";
            walk.items(check, "status", (shape, MAX_STATUSES), read_statuses)
        }
        one => Vec::from_iter(read_statuses(walk, one, check.pointer("status"))),
    };
    // An empty list would refuse every answer.
    if ranges.is_empty() && walk.errors.is_empty() {
        walk.report(check.pointer("status"), "must name a status, such as 200");
    }
    (!ranges.is_empty()).then(|| Statuses::of(ranges))
}

fn read_statuses(walk: &mut Walk, item: &Value, pointer: String) -> Option<(u16, u16)> {
    let read = match item {
        Value::String(text) => rules_of::statuses(text),
        Value::Number(_) => number(item, 200..=599).map(|status| {
            let status = u16::try_from(status).unwrap_or_default();
            (status, status)
        }),
        other => Err(expected("a status, or a range such as \"200-399\"", other)),
    };
    read.map_err(|detail| walk.report(pointer, detail)).ok()
}
