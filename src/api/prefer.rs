//! `Prefer: wait=SECONDS` (RFC 7240 §4.3): how long a caller wants to wait for the end of what it asked for.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

/// No connection is held longer for one answer.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Returns how long the caller wants to wait, `None` when it does not.
pub(super) fn wait(request: &HttpRequest) -> Option<Duration> {
    request
        .headers()
        .get_all(PREFER)
        .filter_map(|value| value.to_str().ok())
        .find_map(wait_of)
}

/// Reads the first `wait`, which is the one that counts (§2). A malformed one is ignored, as unknown preferences are.
fn wait_of(field: &str) -> Option<Duration> {
    field
        .split([',', ';'])
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds_of(seconds.trim().trim_matches('"')))
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn seconds_of(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // All digits and no number: it is too large for one.
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_found_among_other_preferences_and_capped() {
        for (field, seconds) in [
            ("wait=10", Some(10)),
            ("respond-async, Wait = \"5\"", Some(5)),
            ("wait=0", Some(0)),
            ("wait=99999999", Some(3600)),
            ("wait=99999999999999999999999", Some(3600)),
            ("wait=-1", None),
            ("wait=+1", None),
            ("wait=", None),
            ("wait=ten", None),
            ("wait", None),
            ("return=minimal", None),
            ("", None),
        ] {
            assert_eq!(wait_of(field), seconds.map(Duration::from_secs), "{field}");
        }
    }
}
