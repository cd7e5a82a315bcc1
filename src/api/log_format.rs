//! The three forms of a log: text, NDJSON, server-sent events.

use crate::logs::log::Chunk;
use crate::logs::merged::Positions;
use crate::logs::record::{Record, Stream};

/// A form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// `text/plain`, one line each.
    Text,
    /// `application/x-ndjson`, one object per line.
    Ndjson,
    /// `text/event-stream`, with ids for `Last-Event-ID`.
    Events,
}

impl LogFormat {
    /// In order of preference where the caller has none.
    const ALL: [Self; 3] = [Self::Text, Self::Ndjson, Self::Events];

    /// Returns the form that an Accept field (RFC 9110 §12.5.1) prefers, `None` when it accepts none of them.
    pub(super) fn choose(accept: Option<&str>) -> Option<Self> {
        let Some(accept) = accept.filter(|field| !field.trim().is_empty()) else {
            return Some(Self::Text);
        };
        let mut chosen = None;
        let mut best = 0.0;
        for format in Self::ALL {
            let quality = quality(accept, format.essence());
            if quality > best {
                (chosen, best) = (Some(format), quality);
            }
        }
        chosen
    }

    /// The media type without parameters.
    fn essence(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Ndjson => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            other => other.essence(),
        }
    }

    /// Renders `chunk`. `positions` says up to which line each of several streams was given; it is empty for a single
    /// one.
    pub(super) fn render(self, chunk: &Chunk, positions: &mut Positions) -> Vec<u8> {
        let mut out = Vec::new();
        match chunk {
            Chunk::Lines(records) => {
                for record in records.iter() {
                    let mut known = positions.iter_mut();
                    if let Some((_, id)) = known.find(|(stream, _)| *stream == record.stream) {
                        *id = record.id;
                    }
                    self.render_record(record, positions, &mut out);
                }
            }
            Chunk::Begins(begins) => positions.clone_from(begins),
            Chunk::Current(ends) => {
                positions.clone_from(ends);
                if self == Self::Events {
                    let event = format!("id: {}\nevent: current\ndata: {{}}\n\n", ids(positions));
                    out.extend_from_slice(event.as_bytes());
                }
            }
            Chunk::Lost(count) => out.extend_from_slice(self.lost(*count).as_bytes()),
        }
        out
    }

    fn render_record(self, record: &Record, positions: &Positions, out: &mut Vec<u8>) {
        match self {
            Self::Text => record.to_text(out),
            Self::Ndjson => {
                out.extend_from_slice(record.to_json().as_bytes());
                out.push(b'\n');
            }
            Self::Events => {
                let id = match positions.as_slice() {
                    [] => record.id.to_string(),
                    several => ids(several),
                };
                let event = format!("id: {id}\ndata: {}\n\n", record.to_json());
                out.extend_from_slice(event.as_bytes());
            }
        }
    }

    fn lost(self, count: u64) -> String {
        match self {
            Self::Text => format!("-- {count} lines left out: the reader was too slow --\n"),
            Self::Ndjson => format!("{{\"lost\":{count}}}\n"),
            Self::Events => format!("event: lost\ndata: {{\"lost\":{count}}}\n\n"),
        }
    }

    /// Returns bytes that mean nothing and keep a quiet connection open, if the form has such.
    pub(super) fn keep_alive(self) -> Option<&'static str> {
        (self == Self::Events).then_some(": still here\n\n")
    }
}

/// The id of an event: one for each stream, so that none repeats a line.
fn ids(positions: &[(Stream, u64)]) -> String {
    let ids: Vec<_> = positions.iter().map(|(_, id)| id.to_string()).collect();
    ids.join("-")
}

/// Returns the quality of `essence`, which is that of the most specific range that matches.
fn quality(accept: &str, essence: &str) -> f32 {
    let kind = essence.split('/').next().unwrap_or_default();
    let mut found = (0, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match media.as_str() {
            "*/*" => 1,
            wild if wild.strip_suffix("/*") == Some(kind) => 2,
            exact if exact == essence => 3,
            _ => continue,
        };
        let q = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("q"))
            .map_or(1.0, |(_, q)| q.parse().unwrap_or(0.0));
        if specificity > found.0 {
            found = (specificity, q);
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_chooses_the_form() {
        for (accept, wanted) in [
            (None, Some(LogFormat::Text)),
            (Some("*/*"), Some(LogFormat::Text)),
            (Some(""), Some(LogFormat::Text)),
            (
                Some("text/html,application/xhtml+xml,*/*;q=0.8"),
                Some(LogFormat::Text),
            ),
            (Some("application/x-ndjson"), Some(LogFormat::Ndjson)),
            (Some("Text/Event-Stream"), Some(LogFormat::Events)),
            (
                Some("text/*;q=0.1, application/x-ndjson;q=0.5"),
                Some(LogFormat::Ndjson),
            ),
            (Some("text/plain;q=0, */*"), Some(LogFormat::Ndjson)),
            (Some("application/json"), None),
            (Some("*/*;q=0"), None),
        ] {
            assert_eq!(LogFormat::choose(accept), wanted, "{accept:?}");
        }
    }

    #[test]
    fn each_form_tells_lines_and_losses() {
        let record = Record {
            id: 42,
            time: "2026-11-22T10:15:30.123456Z".parse().unwrap(),
            process: "web.1".into(),
            release: 3,
            stream: Stream::Stdout,
            text: b"data: x\r evil".to_vec(),
            partial: false,
        };
        let rendered = |format: LogFormat, chunk| {
            String::from_utf8(format.render(&chunk, &mut Positions::new())).unwrap()
        };
        let lines = || Chunk::Lines(vec![record.clone()].into());
        let text = rendered(LogFormat::Text, lines());
        assert_eq!(text, "2026-11-22T10:15:30.123456Z web.1 | data: x\r evil\n");
        let event = rendered(LogFormat::Events, lines());
        assert!(event.starts_with("id: 42\ndata: {\"id\":42,") && event.ends_with("}\n\n"));
        assert!(
            !event.contains('\r'),
            "a carriage return would end the field"
        );
        let ndjson = rendered(LogFormat::Ndjson, Chunk::Lost(5));
        assert_eq!(ndjson, "{\"lost\":5}\n");
        let current = || Chunk::Current(vec![(Stream::Stdout, 7), (Stream::Stderr, 0)]);
        let event = rendered(LogFormat::Events, current());
        assert_eq!(event, "id: 7-0\nevent: current\ndata: {}\n\n");
        assert_eq!(rendered(LogFormat::Text, current()), "");
    }
}
