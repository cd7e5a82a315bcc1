//! [`Accounts`]: up to which line of each stream a drain has come, and which are missing in between.
//!
//! The ids of a stream grow by one a line. So a gap between two of them is exactly what was dropped.

use crate::logs::record::Stream;

/// Up to which line, by stream; `None`: not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts([Option<u64>; Stream::ALL.len()]);

/// Lines that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub stream: Stream,
    /// How many.
    pub lines: u64,
}

impl Accounts {
    /// Up to which line of `stream`.
    #[must_use]
    pub fn last(&self, stream: Stream) -> Option<u64> {
        self.0[stream.index()]
    }

    /// Whether it is known for each of `streams`.
    #[must_use]
    pub fn know(&self, streams: &[Stream]) -> bool {
        streams.iter().all(|stream| self.last(*stream).is_some())
    }

    pub fn set(&mut self, stream: Stream, id: u64) {
        self.0[stream.index()] = Some(id);
    }

    /// The line `id` has come; answers what is missing before it. An id that does not grow is one of a log that was begun
    /// anew.
    pub fn come(&mut self, stream: Stream, id: u64) -> Option<Gap> {
        let before = self.last(stream);
        self.set(stream, id);
        let lines = id.checked_sub(before?)?.checked_sub(1)?;
        (lines > 0).then_some(Gap { stream, lines })
    }

    /// All up to `id` has been given; answers what was not.
    pub fn end(&mut self, stream: Stream, id: u64) -> Option<Gap> {
        let before = self.last(stream);
        self.set(stream, id);
        let lines = id.checked_sub(before?)?;
        (lines > 0).then_some(Gap { stream, lines })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_drain_that_begins_misses_nothing_of_what_was_before() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.come(Stream::Stdout, 100), None);
        assert_eq!(accounts.end(Stream::Stderr, 7), None);
        assert!(accounts.know(&[Stream::Stdout, Stream::Stderr]));
        assert!(!accounts.know(&Stream::ALL));
        // The log was deleted meanwhile.
        assert_eq!(accounts.come(Stream::Stdout, 1), None);
        assert_eq!(accounts.come(Stream::Stdout, 2), None);
    }

    proptest! {
        /// Whatever is rotated away, each line is either given or counted.
        #[test]
        fn what_comes_and_what_is_missing_are_all_lines(kept in proptest::collection::vec(any::<bool>(), 0..200), first in 1_u64..1000) {
            let mut accounts = Accounts::default();
            accounts.set(Stream::Stderr, first - 1);
            let (mut given, mut dropped) = (0, 0);
            let mut count = |gap: Option<Gap>| dropped += gap.map_or(0, |gap| gap.lines);
            for (id, _) in (first..).zip(&kept).filter(|(_, kept)| **kept) {
                given += 1;
                count(accounts.come(Stream::Stderr, id));
            }
            count(accounts.end(Stream::Stderr, first - 1 + kept.len() as u64));
            prop_assert_eq!(given + dropped, kept.len() as u64);
        }
    }
}
