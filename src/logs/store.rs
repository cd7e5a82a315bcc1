//! [`Store`]: stores new lines, then gives them to followers.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::follow::Followers;
use super::intent_note::IntentNote;
use super::merged::{Merged, Positions};
use super::query::{Chunk, Query};
use super::record::{Stream, WriteBatch};
use super::segment_writer::{Appended, SegmentWriter};
use super::settings::{LogSettings, Stored};

/// An application's logs, and those who follow them.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    segments: BTreeMap<Stream, SegmentWriter>,
    stored: Arc<Stored>,
    /// Who is given what is stored.
    pub followers: Followers,
}

impl Store {
    /// One below `settings.directory`; nothing is opened before it is needed.
    #[must_use]
    pub fn new(settings: &LogSettings) -> Self {
        let segments = Stream::ALL
            .into_iter()
            .map(|stream| (stream, SegmentWriter::new(settings.clone(), stream)));
        Self {
            directory: settings.directory.clone(),
            segments: segments.collect(),
            stored: Arc::clone(&settings.stored),
            followers: Followers::default(),
        }
    }

    /// Stores `batch` and publishes it.
    pub fn append(&mut self, batch: &WriteBatch<'_>) {
        if let Some(segments) = self.segments.get_mut(&batch.stream) {
            let Appended { first_id, stored } = segments.append(batch);
            let lines = batch.lines.iter().take(stored);
            let bytes: usize = lines.map(|line| line.text.len()).sum();
            self.stored.add(bytes as u64);
            let next = first_id + stored as u64;
            self.stored.is_at(batch.stream, next.saturating_sub(1));
            self.followers.publish(batch, first_id, stored);
        }
    }

    /// The id that the next line of `stream` will get.
    ///
    /// # Errors
    /// When its newest segment cannot be read.
    pub fn next_id(&mut self, stream: Stream) -> io::Result<u64> {
        match self.segments.get_mut(&stream) {
            Some(segments) => {
                let next = segments.next_id()?;
                self.stored.is_at(stream, next.saturating_sub(1));
                Ok(next)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The note for what is taken out of a FIFO of `process`; see [`IntentNote::open`].
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn note(&mut self, stream: Stream, process: &str) -> io::Result<(IntentNote, Option<u64>)> {
        // Makes the directory too.
        self.next_id(stream)?;
        IntentNote::open(&self.directory, stream, process)
    }

    /// The stored lines that `query` wants.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn stored(&mut self, query: &Query) -> io::Result<(Merged, Positions)> {
        let ends = self.ends(query)?;
        Ok((Merged::new(&self.directory, query, &ends)?, ends))
    }

    /// The ids that the next lines of the streams of `query` will get.
    ///
    /// # Errors
    /// When a newest segment cannot be read.
    pub fn ends(&mut self, query: &Query) -> io::Result<Positions> {
        let streams = query.streams.iter().map(|wanted| wanted.stream);
        streams
            .map(|stream| Ok((stream, self.next_id(stream)?)))
            .collect()
    }

    /// What `process` wrote, byte for byte, according to the lines from `first_id` on.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn written_by(
        &mut self,
        stream: Stream,
        process: &str,
        first_id: u64,
    ) -> io::Result<Vec<u8>> {
        let mut query = Query {
            process: Some(process.to_owned()),
            ..Query::all(&[stream])
        };
        query.go_on_after(stream, first_id.saturating_sub(1));
        let (mut stored, _) = self.stored(&query)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stored.next_chunk()? {
            let Chunk::Lines(lines) = chunk else { continue };
            for line in lines.iter() {
                bytes.extend_from_slice(&line.text);
                bytes.extend((!line.partial).then_some(b'\n'));
            }
        }
        Ok(bytes)
    }
}
