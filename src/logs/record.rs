//! One line of a log (pure).

use serde::Serialize;

/// Which log of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Normal output of the processes.
    Stdout,
    /// Errors of the processes.
    Stderr,
    /// Everything that installations print.
    Install,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Install];

    /// Its name in paths and URLs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Install => "install",
        }
    }

    /// The stream called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Grows by one per line of a stream, also over restarts of the daemon.
    pub id: u64,
    /// When it was read.
    pub time: jiff::Timestamp,
    /// `web.1`; for the install log the step, e.g. `fetch`.
    pub process: String,
    /// The release; for the install log the deployment.
    pub release: u64,
    /// Which log.
    pub stream: Stream,
    /// The line without its newline, as written: any bytes.
    pub text: Vec<u8>,
    /// Whether the line goes on in the next record (longer than 16 KiB, or the process ended without a newline).
    pub partial: bool,
}
