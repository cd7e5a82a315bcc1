//! [`RunRequest`]: the body of `POST /applications/A/run`, as typed and as true (pure).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::config::FieldError;
use super::rules as rules_of;
use super::walk::Walk;

const FIELDS: [&str; 6] = ["command", "size", "env", "tty", "detach", "timeout"];

const MAX_VARIABLES: usize = 1024;

/// In characters.
const SIDE: RangeInclusive<u64> = 1..=10_000;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

/// A command that is to be run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// For the shell of the document.
    pub command: String,
    /// Columns and rows of its terminal.
    pub size: Option<(u16, u16)>,
    /// Beside the document's.
    pub env: BTreeMap<String, String>,
    /// A terminal of its own, not pipes.
    pub tty: bool,
    /// Nobody is attached; its output goes to the log.
    pub detach: bool,
    /// In whole seconds.
    pub timeout: Option<Duration>,
}

impl RunRequest {
    /// # Errors
    /// Every field that is wrong, unknown ones included.
    pub fn read(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut walk = Walk::default();
        match read(&mut walk, body) {
            Some(request) if walk.errors.is_empty() => Ok(request),
            _ => Err(walk.errors),
        }
    }
}

fn read(walk: &mut Walk, body: &Value) -> Option<RunRequest> {
    let top = walk.object(body, String::new(), &FIELDS)?;
    if top.get("command").is_none() {
        let detail = "is required: a command such as \"./manage.py migrate\"";
        walk.report(top.pointer("command"), detail);
    }
    let command = walk.text(&top, "command", rules_of::command);
    let size = walk
        .child(&top, "size", &["columns", "rows"])
        .and_then(|size| {
            let mut side = |name| {
                if size.get(name).is_none() {
                    walk.report(size.pointer(name), "is required: a number of characters");
                }
                let side = walk.number(&size, name, SIDE)?;
                u16::try_from(side).ok()
            };
            let (columns, rows) = (side("columns"), side("rows"));
            Some((columns?, rows?))
        });
    let env = walk.map(&top, "env", MAX_VARIABLES, super::read::read_variable);
    let tty = walk.flag(&top, "tty", false);
    let detach = walk.flag(&top, "detach", false);
    if tty && detach {
        let detail = "is for who is attached: leave it out, or \"detach\"";
        walk.report(top.pointer("tty"), detail);
    }
    let timeout = walk.optional(&top, "timeout", TIMEOUT, Walk::seconds);
    Some(RunRequest {
        command: command?,
        size,
        env,
        tty,
        detach,
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_read_and_every_field_that_is_wrong_is_named() {
        let good = json!({"command": "id", "tty": true, "size": {"columns": 120, "rows": 40}, "timeout": "1h"});
        let good = RunRequest::read(&good).unwrap();
        assert_eq!(
            (good.size, good.timeout),
            (Some((120, 40)), Some(Duration::from_secs(3600)))
        );
        let wrong = |body: Value| -> Vec<String> {
            let errors = RunRequest::read(&body).unwrap_err();
            errors.into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(wrong(json!({})), ["/command"]);
        assert_eq!(wrong(json!("id")), [""]);
        assert_eq!(
            wrong(
                json!({"command": " ", "comand": "", "env": {"A": 1, "=": ""}, "size": {"rows": 0}, "timeout": "0s"})
            ),
            [
                "/comand",
                "/command",
                "/size/columns",
                "/size/rows",
                "/env/A",
                "/env/=",
                "/timeout"
            ]
        );
        assert_eq!(
            wrong(json!({"command": "id", "tty": true, "detach": true})),
            ["/tty"]
        );
        assert_eq!(wrong(json!({"command": "a\u{0}b"})), ["/command"]);
    }
}
