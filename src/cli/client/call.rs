//! [`Call`]: what is asked of the API, with what is sent, and the [`Answer`].

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use awc::http::{Method, StatusCode};
use bytes::Bytes;
use futures::Stream;

/// What is sent at once of a file, in bytes.
const PIECE: usize = 256 << 10;

/// A request to the API.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    /// A document, JSON or JSON5.
    pub body: Option<String>,
    /// How long the answer may wait until the call is done (`Prefer: wait`).
    pub wait: Option<Duration>,
    /// The state of the document that it changes (`If-Match`): any other is left alone.
    pub if_match: Option<String>,
    /// The event after which a stream of events goes on.
    pub last_event_id: Option<String>,
    /// A file, in place of a document.
    pub upload: Option<Upload>,
}

/// A file that is sent.
#[derive(Clone, Debug)]
pub struct Upload {
    pub file: Arc<File>,
    pub size: u64,
    /// Whether a person sees on stderr how much is sent.
    pub is_shown: bool,
}

impl Upload {
    /// Its pieces. Reading one blocks, which nobody else is kept by.
    pub(super) fn pieces(&self) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let upload = self.clone();
        futures::stream::unfold((upload, 0), |(upload, at)| async move {
            upload.show(at);
            let mut piece = vec![0; PIECE];
            match upload.file.read_at(&mut piece, at) {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some((Ok(Bytes::from(piece)), (upload, at + read as u64)))
                }
                Err(error) => Some((Err(error), (upload, at))),
            }
        })
    }

    fn show(&self, sent: u64) {
        if !self.is_shown {
            return;
        }
        let text = match sent == self.size {
            true => String::new(),
            false => format!(
                "uploading {} of {} MiB",
                sent >> 20,
                self.size.div_ceil(1 << 20)
            ),
        };
        // Nothing is left to tell when stderr is closed.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

impl Call {
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            wait: None,
            if_match: None,
            last_event_id: None,
            upload: None,
        }
    }

    #[must_use]
    pub fn body(mut self, document: String) -> Self {
        self.body = Some(document);
        self
    }

    /// Asks for the answer when the call is done, or after this time.
    #[must_use]
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = Some(time);
        self
    }
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 201, 202 or 204.
    pub status: StatusCode,
    pub location: Option<String>,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` when it is empty or something else.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The pieces of a file. Reading one blocks, which nobody else is kept by.
pub(super) fn pieces_of(
    input: impl io::Read + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + 'static {
    futures::stream::unfold(input, |mut input| async move {
        let mut piece = vec![0; PIECE];
        match input.read(&mut piece) {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), input))
            }
            Err(error) => Some((Err(error), input)),
        }
    })
}
