//! Which lines a reader wants, and what it is given (pure).

use super::record::{Batch, Line, Record, Stream};

/// Which lines of a stream are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which log.
    pub stream: Stream,
    /// At most so many of the last matching ones; `None`: all.
    pub tail: Option<usize>,
    /// Only of this process or process type.
    pub process: Option<String>,
    /// Only of this release (deployment, for the install log).
    pub release: Option<u64>,
    /// Only from this time on.
    pub since: Option<jiff::Timestamp>,
    /// Only with a larger id.
    pub after: Option<u64>,
    /// Stay for what comes.
    pub follow: bool,
}

/// What a reader receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Lines, in order.
    Lines(Vec<Record>),
    /// So many lines were left out here: the reader was too slow, or the disk was full.
    Lost(u64),
}

impl Query {
    /// Whether the new lines of a source are wanted.
    #[must_use]
    pub fn wants_batch(&self, batch: &Batch<'_>) -> bool {
        self.stream == batch.stream && self.wants_source(batch.process, batch.release)
    }

    /// Whether a stored line is wanted; its time is only read where that matters.
    #[must_use]
    pub fn wants_line(&self, line: &Line<'_>) -> bool {
        self.after.is_none_or(|after| line.id > after)
            && self.wants_source(line.process, line.release)
            && self
                .since
                .is_none_or(|since| line.time().is_some_and(|time| time >= since))
    }

    fn wants_source(&self, process: &str, release: u64) -> bool {
        self.release.is_none_or(|wanted| wanted == release)
            && self
                .process
                .as_deref()
                .is_none_or(|wanted| is_of(process, wanted))
    }
}

/// Whether `process` (`web.1`) is `wanted`, a process or a process type.
fn is_of(process: &str, wanted: &str) -> bool {
    process == wanted
        || process
            .rsplit_once('.')
            .is_some_and(|(kind, _)| kind == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_all_its_processes_and_a_process_only_itself() {
        assert!(is_of("web.1", "web"));
        assert!(is_of("web.1", "web.1"));
        assert!(!is_of("web.10", "web.1"));
        assert!(!is_of("web-api.1", "web"));
        assert!(is_of("fetch", "fetch"));
    }
}
