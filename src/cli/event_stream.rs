//! [`EventStream`]: takes server-sent events out of a stream that comes in pieces (pure).

/// The largest event, in bytes: a line of a log is 16 KiB at most, and each byte six in JSON.
const LARGEST: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    /// `None` for one without a name, which is a `message`.
    pub name: Option<String>,
    pub data: String,
}

/// Pieces that have come, up to the end of an event that is not whole yet.
#[derive(Debug, Default)]
pub struct EventStream {
    unread: Vec<u8>,
    /// Where the next event begins.
    begin: usize,
    /// Up to here no event ends.
    seen: usize,
}

impl EventStream {
    /// Takes the next piece. It may begin and end anywhere.
    pub fn push(&mut self, piece: &[u8]) {
        self.unread.drain(..self.begin);
        self.seen -= self.begin;
        self.begin = 0;
        self.unread.extend_from_slice(piece);
    }

    /// Whether an event is there as a whole.
    #[must_use]
    pub fn has_event(&mut self) -> bool {
        self.end().is_some()
    }

    /// The next event; `None` until more has come. Comments are passed over.
    ///
    /// # Errors
    /// An event that does not end.
    pub fn event(&mut self) -> Result<Option<Event>, &'static str> {
        while let Some(end) = self.end() {
            let block = String::from_utf8_lossy(&self.unread[self.begin..end]);
            let event = read(&block);
            self.begin = end + 2;
            self.seen = self.begin;
            if event != Event::default() {
                return Ok(Some(event));
            }
        }
        match self.unread.len() - self.begin > LARGEST {
            true => Err("an event of more than a mebibyte"),
            false => Ok(None),
        }
    }

    fn end(&mut self) -> Option<usize> {
        let found = memchr::memmem::find(&self.unread[self.seen..], b"\n\n");
        match found {
            Some(at) => {
                self.seen += at;
                Some(self.seen)
            }
            None => {
                // The last byte may be the first half.
                self.seen = self.unread.len().saturating_sub(1).max(self.begin);
                None
            }
        }
    }
}

fn read(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => event.name = Some(value.to_owned()),
            "data" => event.data.push_str(value),
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_the_stream_is_cut() {
        let text = b": still here\n\nid: 4-1\ndata: {\"a\":1}\n\nevent: lost\ndata: {}\n\nid: 5\n\ndata: cut";
        let event = |id: Option<&str>, name: Option<&str>, data: &str| Event {
            id: id.map(str::to_owned),
            name: name.map(str::to_owned),
            data: data.to_owned(),
        };
        let expected = [
            event(Some("4-1"), None, "{\"a\":1}"),
            event(None, Some("lost"), "{}"),
            event(Some("5"), None, ""),
        ];
        for size in 1..text.len() {
            let (mut stream, mut events) = (EventStream::default(), Vec::new());
            for piece in text.chunks(size) {
                stream.push(piece);
                while let Some(event) = stream.event().unwrap() {
                    events.push(event);
                }
            }
            assert_eq!(events, expected, "{size}");
            assert!(!stream.has_event());
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut stream = EventStream::default();
        let refused = (0..40).find(|_| {
            stream.push(&[b'x'; 64 << 10]);
            stream.event().is_err()
        });
        assert_eq!(refused, Some(16));
    }
}
