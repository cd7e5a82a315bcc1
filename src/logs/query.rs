//! Which lines a reader wants, and what it is given.

use std::sync::Arc;

use super::record::{Line, Record, Stream, WriteBatch};
use crate::document::mask::Mask;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which logs, each once: of several the lines come in the order of their times.
    pub streams: Vec<Wanted>,
    /// At most so many of the last matching ones; `None`: all.
    pub tail: Option<usize>,
    /// Only of this process or process type.
    pub process: Option<String>,
    /// Only of this release (deployment, for the install log).
    pub release: Option<u64>,
    /// Only from this time on.
    pub since: Option<jiff::Timestamp>,
    /// Only with this text in them.
    pub grep: Option<String>,
    /// What the reader may not see: `grep` does not find it either.
    pub mask: Mask,
    pub follow: bool,
    /// The server itself reads: it does not count among those who look on, and none of them takes its place.
    pub is_of_server: bool,
}

/// A log that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub stream: Stream,
    /// Only lines with a larger id.
    pub after: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Lines, in order. All who follow the same log share them while they wait to be read.
    Lines(Arc<Vec<Record>>),
    /// Where each of several streams begins: after the line of this id. It is told first, and once.
    Begins(Vec<(Stream, u64)>),
    /// All that was stored has been given, up to the line of this id in each stream; what comes now is new. Told to
    /// those who follow.
    Current(Vec<(Stream, u64)>),
    /// So many lines were left out here: the reader was too slow, or the disk was full.
    Lost(u64),
}

impl Query {
    /// All lines of `streams`.
    #[must_use]
    pub fn all(streams: &[Stream]) -> Self {
        let wanted = streams.iter().map(|stream| Wanted {
            stream: *stream,
            after: None,
        });
        Self {
            streams: wanted.collect(),
            tail: None,
            process: None,
            release: None,
            since: None,
            grep: None,
            mask: Mask::default(),
            follow: false,
            is_of_server: false,
        }
    }

    /// The part of it that is about one stream.
    #[must_use]
    pub fn of(&self, stream: Stream) -> Self {
        let mut part = self.clone();
        part.streams.retain(|wanted| wanted.stream == stream);
        part
    }

    /// The first of its streams.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.streams.first().map_or(Stream::Stdout, |w| w.stream)
    }

    /// The id after which the lines of a stream are wanted.
    #[must_use]
    pub fn after(&self, stream: Stream) -> Option<u64> {
        let wanted = self.streams.iter().find(|wanted| wanted.stream == stream);
        wanted.and_then(|wanted| wanted.after)
    }

    /// From now on only lines of `stream` after this id are wanted.
    pub fn go_on_after(&mut self, stream: Stream, after: u64) {
        for wanted in self.streams.iter_mut().filter(|w| w.stream == stream) {
            wanted.after = Some(after);
        }
    }

    /// Whether the new lines of a source are wanted.
    #[must_use]
    pub fn wants_batch(&self, batch: &WriteBatch<'_>) -> bool {
        let mut streams = self.streams.iter();
        streams.any(|wanted| wanted.stream == batch.stream)
            && self.wants_source(batch.process, batch.release)
    }

    /// Whether a line has the text that is wanted.
    #[must_use]
    pub fn wants_text(&self, text: &[u8]) -> bool {
        let wanted = self.grep.as_deref().map(str::as_bytes);
        let has = |wanted| memchr::memmem::find(&self.mask.bytes(text), wanted).is_some();
        wanted.is_none_or(has)
    }

    /// Whether a stored line of its only stream is wanted; its time is only read where that matters.
    #[must_use]
    pub fn wants_line(&self, line: &Line<'_>) -> bool {
        self.after(self.stream())
            .is_none_or(|after| line.id > after)
            && self.wants_text(line.text)
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
