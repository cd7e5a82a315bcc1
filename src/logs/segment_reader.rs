//! Stored lines, read while more are appended: forward in bounded chunks, and backward to find where a tail begins.
//! Everything here blocks, on files of up to `log_size × log_files` bytes: it belongs on a blocking thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::lines::LONGEST;
use super::query::{Chunk, Query};
use super::record::{Line, Record};
use super::segment_writer::segments;

/// Bytes read at once, and text given in one chunk.
const BLOCK: usize = 64 * 1024;

/// Lines given in one chunk.
pub(super) const CHUNK_LINES: usize = 512;

/// Longer than any line on disk: the longest text and its head.
const LONGEST_ON_DISK: u64 = LONGEST as u64 + 1024;

/// The stored lines that a query wants, up to an id; a cursor that can be carried from one blocking call to the next.
#[derive(Debug)]
pub struct SegmentReader {
    query: Query,
    end: u64,
    segments: VecDeque<(u64, PathBuf)>,
    open: Option<BufReader<File>>,
    lost: u64,
    begun: bool,
    /// The id of the first line, where a tail begins.
    first: Option<u64>,
}

impl SegmentReader {
    /// The lines below `directory` that `query` wants and whose id is less than `end`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn new(directory: &Path, query: Query, end: u64) -> io::Result<Self> {
        let segments = segments(directory, query.stream())?;
        Ok(Self {
            query,
            end,
            segments: segments.into(),
            open: None,
            lost: 0,
            begun: false,
            first: None,
        })
    }

    /// The next lines; `None` after the last.
    ///
    /// # Errors
    /// When a segment cannot be read. One that was rotated away meanwhile is no error but [`Chunk::Lost`].
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        if !self.begun {
            self.begun = true;
            self.begin()?;
        }
        let (mut records, mut size) = (Vec::new(), 0);
        while records.len() < CHUNK_LINES && size < BLOCK {
            if self.lost > 0 {
                if !records.is_empty() {
                    break;
                }
                return Ok(Some(Chunk::Lost(std::mem::take(&mut self.lost))));
            }
            let Some(reader) = &mut self.open else {
                if self.open_next()? {
                    continue;
                }
                break;
            };
            match next_wanted(reader, &self.query, self.end)? {
                Some(record) => {
                    size += record.text.len();
                    records.push(record);
                }
                None => self.open = None,
            }
        }
        Ok((!records.is_empty()).then_some(Chunk::Lines(records)))
    }

    /// Skips what is before the first wanted line, by the names of the segments or from the end.
    fn begin(&mut self) -> io::Result<()> {
        if let Some(tail) = self.query.tail {
            return begin_tail(&mut [self], tail);
        }
        self.skip();
        Ok(())
    }

    /// Passes over the segments before the first wanted line.
    fn skip(&mut self) {
        let Some(after) = self.query.after(self.query.stream()) else {
            return;
        };
        // The last segment that begins at or before the wanted line has it.
        let wanted = after.saturating_add(1);
        let earlier = self
            .segments
            .iter()
            .take_while(|(first, _)| *first <= wanted);
        match earlier.count().checked_sub(1) {
            Some(index) => drop(self.segments.drain(..index)),
            None => {
                let oldest = self.segments.front().map_or(0, |(first, _)| *first);
                self.lost = oldest.saturating_sub(wanted);
            }
        }
    }

    /// The id after which its lines begin, once it is known where.
    pub(super) fn begins_after(&self) -> u64 {
        let wanted = self.query.after(self.query.stream());
        let oldest = self.segments.front().map_or(self.end, |(first, _)| *first);
        self.first
            .or(wanted.map(|after| after + 1))
            .unwrap_or(oldest)
            .saturating_sub(1)
    }

    /// Begins at a line, by its segment and offset.
    fn begin_at(&mut self, first: &Place) -> io::Result<()> {
        self.first = Some(first.id);
        if let Some(mut file) = open_unless_gone(&self.segments[first.segment].1)? {
            file.seek(SeekFrom::Start(first.offset))?;
            self.open = Some(BufReader::with_capacity(BLOCK, file));
        }
        self.segments.drain(..=first.segment);
        Ok(())
    }

    /// Opens the next segment; false when there is none.
    fn open_next(&mut self) -> io::Result<bool> {
        let Some((first, path)) = self.segments.pop_front() else {
            return Ok(false);
        };
        match open_unless_gone(&path)? {
            Some(file) => self.open = Some(BufReader::with_capacity(BLOCK, file)),
            None => {
                let following = self.segments.front();
                let next = following.map_or(self.end, |(next, _)| *next);
                self.lost += next.saturating_sub(first);
            }
        }
        Ok(true)
    }
}

/// Where a stored line is.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: usize,
    offset: u64,
    id: u64,
    time: Option<jiff::Timestamp>,
}

/// The wanted lines of a stream from the last one on, back.
struct FromEnd<'a> {
    stored: &'a SegmentReader,
    /// Segments that were not looked at yet.
    left: usize,
    lines: Option<Backward>,
}

impl FromEnd<'_> {
    fn previous(&mut self) -> io::Result<Option<Place>> {
        loop {
            let Some(lines) = &mut self.lines else {
                let Some(segment) = self.left.checked_sub(1) else {
                    return Ok(None);
                };
                self.left = segment;
                match open_unless_gone(&self.stored.segments[segment].1)? {
                    Some(file) => self.lines = Some(Backward::new(file)?),
                    // So are those before it.
                    None => self.left = 0,
                }
                continue;
            };
            while let Some((offset, line)) = lines.previous()? {
                let line = Line::parse(line);
                let wanted = line.filter(|line| wants(&self.stored.query, self.stored.end, line));
                if let Some(line) = wanted {
                    return Ok(Some(Place {
                        segment: self.left,
                        offset,
                        id: line.id,
                        time: line.time(),
                    }));
                }
            }
            self.lines = None;
        }
    }
}

/// Lets `parts` begin where the last `tail` lines of all of them do, by their times.
pub(super) fn begin_tail(parts: &mut [&mut SegmentReader], tail: usize) -> io::Result<()> {
    let mut firsts: Vec<Option<Place>> = vec![None; parts.len()];
    {
        let mut ways: Vec<FromEnd<'_>> = Vec::new();
        for stored in parts.iter() {
            ways.push(FromEnd {
                stored,
                left: stored.segments.len(),
                lines: None,
            });
        }
        let mut heads = Vec::new();
        for way in &mut ways {
            heads.push(if tail == 0 { None } else { way.previous()? });
        }
        for _ in 0..tail {
            // Of equal times the last stream's: it is given after the others.
            let newest = (0..heads.len()).filter(|i| heads[*i].is_some());
            let Some(newest) = newest.max_by_key(|i| heads[*i].and_then(|head| head.time)) else {
                break;
            };
            firsts[newest] = heads[newest];
            heads[newest] = ways[newest].previous()?;
        }
    }
    for (part, first) in parts.iter_mut().zip(firsts) {
        part.begun = true;
        match first {
            Some(first) => part.begin_at(&first)?,
            None => {
                part.first = Some(part.end);
                part.segments.clear();
            }
        }
    }
    Ok(())
}

fn wants(query: &Query, end: u64, line: &Line<'_>) -> bool {
    line.id < end && query.wants_line(line)
}

/// The next wanted line of a segment. Lines that are not ours are passed over.
fn next_wanted(
    reader: &mut BufReader<File>,
    query: &Query,
    end: u64,
) -> io::Result<Option<Record>> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut limited = reader.by_ref().take(LONGEST_ON_DISK);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let Some(line) = bytes.strip_suffix(b"\n").and_then(Line::parse) else {
            continue;
        };
        if line.id >= end {
            return Ok(None);
        }
        if query.wants_line(&line)
            && let Some(record) = line.record(query.stream())
        {
            return Ok(Some(record));
        }
    }
}

fn open_unless_gone(path: &Path) -> io::Result<Option<File>> {
    match crate::regular::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The lines of a file from its end.
#[derive(Debug)]
pub(super) struct Backward {
    file: File,
    /// Where `held` begins in the file.
    start: u64,
    held: Vec<u8>,
    /// How much of `held` has not been given; zero or just after a newline.
    left: usize,
}

impl Backward {
    /// Begins after the last newline: what follows it is no whole line.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let start = file.metadata()?.len();
        let mut backward = Self {
            file,
            start,
            held: Vec::new(),
            left: 0,
        };
        while backward.read_block()? {
            let newline = backward.held.iter().rposition(|byte| *byte == b'\n');
            if let Some(newline) = newline {
                backward.left = newline + 1;
                break;
            }
            backward.left = 0;
        }
        Ok(backward)
    }

    /// The offset after the last line that has not been given; before the first call the end of the last whole line.
    pub(super) fn offset(&self) -> u64 {
        self.start + self.left as u64
    }

    /// The line before, without its newline, and its offset.
    pub(super) fn previous(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let begin = loop {
            let body = &self.held[..self.left.saturating_sub(1)];
            if let Some(newline) = body.iter().rposition(|byte| *byte == b'\n') {
                break newline + 1;
            }
            if !self.read_block()? {
                break 0;
            }
        };
        if self.left == 0 {
            return Ok(None);
        }
        let end = std::mem::replace(&mut self.left, begin) - 1;
        Ok(Some((self.offset(), &self.held[begin..end])))
    }

    /// Puts the block before `start` in front of what is left; false at the start of the file.
    fn read_block(&mut self) -> io::Result<bool> {
        let length = self.start.min(BLOCK as u64);
        if length == 0 {
            return Ok(false);
        }
        let mut block = vec![0; BLOCK.min(length as usize)];
        self.file.read_exact_at(&mut block, self.start - length)?;
        self.start -= length;
        block.extend_from_slice(&self.held[..self.left]);
        self.left += length as usize;
        self.held = block;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::lines::Cut;
    use crate::logs::log::LogSettings;
    use crate::logs::record::{Batch, Stream};
    use crate::logs::segment_writer::SegmentWriter;

    /// 500 lines in many small segments; line N is at N seconds, of `web.1` and `worker.1` by turns, of release N / 100.
    fn written(directory: &Path) -> SegmentWriter {
        let settings = LogSettings {
            directory: directory.to_owned(),
            segment_size: 1500,
            segments: 1000,
        };
        let mut segments = SegmentWriter::new(settings, Stream::Stdout);
        for id in 1..=500 {
            segments.append(&Batch {
                stream: Stream::Stdout,
                time: jiff::Timestamp::from_second(id).unwrap(),
                process: if id % 2 == 0 { "web.1" } else { "worker.1" },
                release: id as u64 / 100,
                lines: vec![Cut {
                    text: b"text",
                    partial: false,
                }],
            });
        }
        segments
    }

    fn all() -> Query {
        Query::all(&[Stream::Stdout])
    }

    fn after(id: u64) -> Query {
        let mut query = all();
        query.go_on_after(Stream::Stdout, id);
        query
    }

    /// The ids given, and how many lines are told to be lost.
    fn read(mut stored: SegmentReader) -> (Vec<u64>, u64) {
        let (mut ids, mut lost) = (Vec::new(), 0);
        while let Some(chunk) = stored.next_chunk().unwrap() {
            match chunk {
                Chunk::Lines(lines) => ids.extend(lines.iter().map(|line| line.id)),
                Chunk::Lost(count) => lost += count,
                Chunk::Begins(_) => {}
            }
        }
        (ids, lost)
    }

    fn ids(directory: &Path, query: Query) -> Vec<u64> {
        let (ids, lost) = read(SegmentReader::new(directory, query, 501).unwrap());
        assert_eq!(lost, 0);
        ids
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        written(path);
        assert_eq!(ids(path, all()), Vec::from_iter(1..=500));
        let tail = Some(3);
        assert_eq!(ids(path, Query { tail, ..all() }), [498, 499, 500]);
        let process = Some("web".to_owned());
        let of_web = Query { process, ..all() };
        assert_eq!(ids(path, of_web.clone()).len(), 250);
        assert_eq!(ids(path, Query { tail, ..of_web }), [496, 498, 500]);
        assert_eq!(ids(path, after(497)), [498, 499, 500]);
        let since = Some(jiff::Timestamp::from_second(499).unwrap());
        assert_eq!(ids(path, Query { since, ..all() }), [499, 500]);
        let release = Some(5);
        assert_eq!(ids(path, Query { release, ..all() }), [500]);
    }

    #[test]
    fn a_tail_may_be_nothing_everything_or_more() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        for (tail, count) in [(0, 0), (1, 1), (499, 499), (500, 500), (usize::MAX, 500)] {
            let tail = Some(tail);
            assert_eq!(ids(directory.path(), Query { tail, ..all() }).len(), count);
        }
    }

    #[test]
    fn lines_from_the_end_on_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        let (ids, _) = read(SegmentReader::new(directory.path(), all(), 11).unwrap());
        assert_eq!(ids, Vec::from_iter(1..=10));
        let tail = Some(2);
        let query = Query { tail, ..all() };
        let (ids, _) = read(SegmentReader::new(directory.path(), query, 11).unwrap());
        assert_eq!(ids, [9, 10]);
    }

    #[test]
    fn what_was_rotated_away_is_told() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        let stored = SegmentReader::new(directory.path(), all(), 501).unwrap();
        let found = segments(directory.path(), Stream::Stdout).unwrap();
        std::fs::remove_file(&found[0].1).unwrap();
        let gone = found[1].0 - 1;
        assert_eq!(read(stored), (Vec::from_iter(gone + 1..=500), gone));
        let resumed = SegmentReader::new(directory.path(), after(0), 501).unwrap();
        assert_eq!(read(resumed), (Vec::from_iter(gone + 1..=500), gone));
    }

    #[test]
    fn lines_that_are_not_ours_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        drop(written(directory.path()));
        let found = segments(directory.path(), Stream::Stdout).unwrap();
        let mut garbage = vec![b'x'; 200_000];
        garbage.extend_from_slice(b"\n\nmore\n \xff\n");
        let kept = std::fs::read(&found[1].1).unwrap();
        garbage.extend_from_slice(&kept);
        std::fs::write(&found[1].1, garbage).unwrap();
        assert_eq!(ids(directory.path(), all()).len(), 500);
        let tail = Some(500);
        assert_eq!(ids(directory.path(), Query { tail, ..all() }).len(), 500);
    }

    #[test]
    fn backward_gives_what_forward_gives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for text in ["", "\n", "a", "a\n", "a\n\nb\n", "a\nb", "\n\n"] {
            std::fs::write(&path, text).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            let mut backward = Backward::new(File::open(&path).unwrap()).unwrap();
            assert_eq!(backward.offset(), whole.len() as u64, "{text:?}");
            let mut lines = Vec::new();
            while let Some((offset, line)) = backward.previous().unwrap() {
                let line = String::from_utf8(line.to_vec()).unwrap();
                assert!(text[offset as usize..].starts_with(&line), "{text:?}");
                lines.insert(0, line);
            }
            assert_eq!(lines, Vec::from_iter(whole.lines()), "{text:?}");
        }
    }
}
