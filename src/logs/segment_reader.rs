//! [`SegmentReader`]: reads stored lines while more are appended: forward in bounded chunks, and backward to find where
//! a tail begins. Everything here blocks, on files of up to `log_size × log_files` bytes: it belongs on a blocking
//! thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::backward::Backward;
use super::lines::LONGEST;
use super::query::{Chunk, Query};
use super::record::{Line, Record};
use super::segment_files::segments;

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
        Ok((!records.is_empty()).then(|| Chunk::Lines(records.into())))
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
    /// SegmentWriter that were not looked at yet.
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

#[cfg(test)]
mod tests;
