//! How an OS process ended (pure).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an OS process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// `exit(2)` with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// It ended while nobody could be told (it was adopted, or died between two daemons).
    Unknown,
}

/// One end of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// How.
    #[serde(flatten)]
    pub status: ExitStatus,
    /// When, RFC 3339 UTC.
    pub at: jiff::Timestamp,
    /// What a person should know, e.g. `command not found: ./web`, `killed after 10s: ignored SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
