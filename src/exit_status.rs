//! How an OS process ended (pure).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an OS process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// `exit(2)` with this code.
    Code(i32),
    Signal(i32),
    /// It ended while nobody could be told (it was adopted, or died between two daemons).
    Unknown,
}

/// One end of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    #[serde(flatten)]
    pub status: ExitStatus,
    /// When, RFC 3339 UTC.
    pub at: jiff::Timestamp,
    /// The kernel ended it because memory ran out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom: bool,
    /// What a person should know, e.g. `command not found: ./web`, `killed after 10s: ignored SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ExitStatus {
    /// Whether it did not end well, as far as is known.
    #[must_use]
    pub fn is_abnormal(self) -> bool {
        self != Self::Code(0)
    }

    /// What the two exit codes that POSIX reserves for the shell say of `command`.
    #[must_use]
    pub fn reason(self, command: &str) -> Option<String> {
        match self {
            Self::Code(127) => Some(format!("command not found: {command}")),
            Self::Code(126) => Some(format!(
                "not executable: {command} (is the file's mode right, chmod +x, and its #! line?)"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shells_own_codes_name_the_command() {
        let reason = |code| ExitStatus::Code(code).reason("./web -p 1");
        assert_eq!(
            reason(127).as_deref(),
            Some("command not found: ./web -p 1")
        );
        assert!(reason(126).is_some_and(|text| text.starts_with("not executable: ./web -p 1")));
        assert_eq!(reason(1), None);
        assert_eq!(ExitStatus::Signal(9).reason("x"), None);
    }

    #[test]
    fn a_record_reads_as_the_api_promises() {
        let record = |status| {
            let at = jiff::Timestamp::UNIX_EPOCH;
            let reason = None;
            serde_json::to_string(&ExitRecord {
                status,
                at,
                oom: status == ExitStatus::Signal(9),
                reason,
            })
            .expect("JSON")
        };
        assert_eq!(
            record(ExitStatus::Signal(9)),
            r#"{"signal":9,"at":"1970-01-01T00:00:00Z","oom":true}"#
        );
        assert_eq!(
            record(ExitStatus::Code(1)),
            r#"{"code":1,"at":"1970-01-01T00:00:00Z"}"#
        );
        let unknown = record(ExitStatus::Unknown);
        assert!(
            serde_json::from_str::<ExitRecord>(&unknown).is_ok(),
            "{unknown}"
        );
    }
}
