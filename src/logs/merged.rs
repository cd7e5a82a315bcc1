//! [`Merged`]: reads the stored lines of several streams as one, in the order of their times, in bounded memory.
//! Everything here blocks.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::query::{Chunk, Query};
use super::record::{Record, Stream};
use super::segment_reader::{CHUNK_LINES, SegmentReader, begin_tail};

/// Where each stream of a reader ends, or begins: the id of a line of it.
pub type Positions = Vec<(Stream, u64)>;

/// The stored lines that a query wants of all its streams.
#[derive(Debug)]
pub struct Merged {
    parts: Vec<Part>,
    tail: Option<usize>,
    begun: bool,
}

#[derive(Debug)]
struct Part {
    stream: Stream,
    stored: SegmentReader,
    /// Lines that were read and not given: at most a chunk.
    next: VecDeque<Record>,
    is_over: bool,
}

impl Merged {
    /// The lines below `directory` that `query` wants and whose ids are less than those of `ends`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn new(directory: &Path, query: &Query, ends: &Positions) -> io::Result<Self> {
        let parts = ends.iter().map(|(stream, end)| {
            Ok(Part {
                stream: *stream,
                stored: SegmentReader::new(directory, query.of(*stream), *end)?,
                next: VecDeque::new(),
                is_over: false,
            })
        });
        Ok(Self {
            parts: parts.collect::<io::Result<_>>()?,
            tail: query.tail,
            begun: false,
        })
    }

    /// The next lines; `None` after the last. Where there are several streams, the first chunk says after which ids
    /// they begin.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        if let [only] = self.parts.as_mut_slice() {
            return only.stored.next_chunk();
        }
        if !std::mem::replace(&mut self.begun, true) {
            if let Some(tail) = self.tail {
                let mut parts: Vec<_> = self.parts.iter_mut().map(|p| &mut p.stored).collect();
                begin_tail(&mut parts, tail)?;
            }
            let begins = self
                .parts
                .iter()
                .map(|p| (p.stream, p.stored.begins_after()));
            return Ok(Some(Chunk::Begins(begins.collect())));
        }
        let mut lines = Vec::new();
        while lines.len() < CHUNK_LINES {
            for part in &mut self.parts {
                if let Some(lost) = part.fill(lines.is_empty())? {
                    return Ok(Some(lost));
                }
            }
            let open = |part: &&Part| part.next.is_empty() && !part.is_over;
            if self.parts.iter().any(|part| open(&part)) {
                break;
            }
            let heads = self.parts.iter_mut().filter(|p| !p.next.is_empty());
            // Of equal times the first stream's: `min_by_key` takes the first of equals.
            let first = heads.min_by_key(|part| part.next.front().map(|record| record.time));
            match first.and_then(|part| part.next.pop_front()) {
                Some(record) => lines.push(record),
                None => break,
            }
        }
        Ok((!lines.is_empty()).then(|| Chunk::Lines(lines.into())))
    }
}

impl Part {
    /// Reads on where nothing is left, if `may_read`; answers how many lines are lost.
    fn fill(&mut self, may_read: bool) -> io::Result<Option<Chunk>> {
        if !self.next.is_empty() || self.is_over || !may_read {
            return Ok(None);
        }
        match self.stored.next_chunk()? {
            Some(Chunk::Lines(lines)) => self.next = Arc::unwrap_or_clone(lines).into(),
            Some(lost) => return Ok(Some(lost)),
            None => self.is_over = true,
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Cut;
    use super::super::record::WriteBatch;
    use super::super::settings::LogSettings;
    use super::*;
    use crate::logs::segment_writer::SegmentWriter;

    /// 400 lines, of which every third is on stderr; the time of each is its number.
    fn directory() -> (tempfile::TempDir, Positions) {
        let directory = tempfile::tempdir().unwrap();
        let settings = LogSettings {
            directory: directory.path().to_owned(),
            segment_size: 4000,
            segments: 100,
            stored: Default::default(),
        };
        let mut out = SegmentWriter::new(settings.clone(), Stream::Stdout);
        let mut err = SegmentWriter::new(settings, Stream::Stderr);
        for number in 0..400 {
            let (segments, stream) = match number % 3 {
                0 => (&mut err, Stream::Stderr),
                _ => (&mut out, Stream::Stdout),
            };
            segments.append(&WriteBatch {
                stream,
                time: jiff::Timestamp::from_second(number).unwrap(),
                process: "web.1",
                release: 1,
                lines: vec![Cut {
                    text: format!("line {number}").as_bytes(),
                    partial: false,
                }],
            });
        }
        let ends = vec![
            (Stream::Stdout, out.next_id().unwrap()),
            (Stream::Stderr, err.next_id().unwrap()),
        ];
        (directory, ends)
    }

    fn numbers(merged: &mut Merged) -> (Positions, Vec<i64>) {
        let (mut begins, mut numbers) = (vec![], vec![]);
        while let Some(chunk) = merged.next_chunk().unwrap() {
            match chunk {
                Chunk::Begins(positions) => begins = positions,
                Chunk::Lines(lines) => numbers.extend(lines.iter().map(|l| l.time.as_second())),
                other => panic!("{other:?}"),
            }
        }
        (begins, numbers)
    }

    fn query(tail: Option<usize>) -> Query {
        Query {
            tail,
            ..Query::all(&[Stream::Stdout, Stream::Stderr])
        }
    }

    #[test]
    fn two_streams_come_in_the_order_of_their_times() {
        let (directory, ends) = directory();
        let mut merged = Merged::new(directory.path(), &query(None), &ends).unwrap();
        let (_, all) = numbers(&mut merged);
        assert_eq!(all, (0..400).collect::<Vec<i64>>());
    }

    #[test]
    fn a_tail_is_one_of_both_and_can_be_gone_on_with() {
        let (directory, ends) = directory();
        for tail in [0, 1, 2, 5, 200, 399, 400, 1000] {
            let query = query(Some(tail));
            let mut merged = Merged::new(directory.path(), &query, &ends).unwrap();
            let (begins, last) = numbers(&mut merged);
            let first = 400_i64.saturating_sub(i64::try_from(tail).unwrap()).max(0);
            assert_eq!(last, (first..400).collect::<Vec<_>>(), "{tail}");
            let mut again = Query {
                tail: None,
                ..query.clone()
            };
            for (stream, after) in begins {
                again.go_on_after(stream, after);
            }
            let mut again = Merged::new(directory.path(), &again, &ends).unwrap();
            assert_eq!(numbers(&mut again).1, last, "{tail}");
        }
    }

    #[test]
    fn only_lines_with_the_text_are_given() {
        let (directory, ends) = directory();
        let grep = Some("line 39".to_owned());
        let query = Query {
            grep,
            ..query(Some(3))
        };
        let mut merged = Merged::new(directory.path(), &query, &ends).unwrap();
        assert_eq!(numbers(&mut merged).1, [397, 398, 399]);
    }
}
