//! [`PauseRequest`]: the body of `POST /applications/A/pause`, as typed and as true (pure).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use super::config::FieldError;
use super::walk::Walk;

/// A pause ends by itself: nobody is to forget one.
pub const LONGEST: Duration = Duration::from_mins(10);

const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=LONGEST;

const UNLESS_SAID: Duration = Duration::from_mins(1);

/// How long requests are to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseRequest {
    pub time: Duration,
}

impl PauseRequest {
    /// # Errors
    /// Every field that is wrong, unknown ones included.
    pub fn read(body: Option<Value>) -> Result<Self, Vec<FieldError>> {
        let body = match body {
            None | Some(Value::Null) => json!({}),
            Some(body) => body,
        };
        let mut walk = Walk::default();
        let top = walk.object(&body, String::new(), &["for"]);
        let time = top.map(|top| walk.duration(&top, "for", TIME, UNLESS_SAID));
        match time {
            Some(time) if walk.errors.is_empty() => Ok(Self { time }),
            _ => Err(walk.errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_an_end_whatever_is_asked_for() {
        let time = |body| PauseRequest::read(body).map(|request| request.time.as_secs());
        assert_eq!(time(None), Ok(60));
        assert_eq!(time(Some(json!({"for": "2m"}))), Ok(120));
        for wrong in [
            json!({"for": "11m"}),
            json!({"for": "0s"}),
            json!({"for": 5}),
            json!({"fro": "5s"}),
            json!("5s"),
        ] {
            let errors = PauseRequest::read(Some(wrong.clone())).unwrap_err();
            assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
        }
    }
}
