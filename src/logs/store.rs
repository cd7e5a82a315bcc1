//! What becomes of new lines: they are stored, then given to those who follow.

use std::collections::BTreeMap;
use std::io;

use super::follow::Followers;
use super::log::LogSettings;
use super::record::{Batch, Stream};
use super::segment::{Appended, Segments};

/// An application's logs, and those who follow them.
#[derive(Debug)]
pub struct Store {
    segments: BTreeMap<Stream, Segments>,
    /// Who is given what is stored.
    pub followers: Followers,
}

impl Store {
    /// One below `settings.directory`; nothing is opened before it is needed.
    #[must_use]
    pub fn new(settings: &LogSettings) -> Self {
        let segments = Stream::ALL
            .into_iter()
            .map(|stream| (stream, Segments::new(settings.clone(), stream)));
        Self {
            segments: segments.collect(),
            followers: Followers::default(),
        }
    }

    /// Stores `batch` and publishes it.
    pub fn append(&mut self, batch: &Batch<'_>) {
        if let Some(segments) = self.segments.get_mut(&batch.stream) {
            let Appended { first_id, stored } = segments.append(batch);
            self.followers.publish(batch, first_id, stored);
        }
    }

    /// The id that the next line of `stream` will get.
    ///
    /// # Errors
    /// When its newest segment cannot be read.
    pub fn next_id(&mut self, stream: Stream) -> io::Result<u64> {
        match self.segments.get_mut(&stream) {
            Some(segments) => segments.next_id(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
