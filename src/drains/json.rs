//! Lines as JSON: an object a line for any receiver of HTTP, and what Loki takes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::payload::Payload;
use crate::logs::record::{Record, Stream};

/// One line of `application/x-ndjson`.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    host: &'a str,
    app: &'a str,
    process: &'a str,
    stream: Stream,
    release: u64,
    /// With app and stream it is of this line alone, also where it is sent twice.
    id: u64,
    line: Cow<'a, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Debug)]
pub(super) struct NdjsonEncoder {
    host: String,
    app: String,
    payload: Payload,
}

impl NdjsonEncoder {
    pub(super) fn new(host: &str, app: &str) -> Self {
        Self {
            host: host.to_owned(),
            app: app.to_owned(),
            payload: Payload::default(),
        }
    }

    pub(super) fn push(&mut self, record: &Record) {
        let line = Line {
            time: format!("{:.6}", record.time),
            host: &self.host,
            app: &self.app,
            process: &record.process,
            stream: record.stream,
            release: record.release,
            id: record.id,
            line: String::from_utf8_lossy(&record.text),
            partial: record.partial,
        };
        // Writing strings and numbers to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.payload.bytes, &line);
        self.payload.bytes.push(b'\n');
        self.payload.ends.push(self.payload.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.payload.bytes.len()
    }

    pub(super) fn finish(&mut self) -> Payload {
        std::mem::take(&mut self.payload)
    }
}

/// What Loki knows a stream by. Few values each: it keeps files for every combination.
#[derive(Serialize)]
struct Labels<'a> {
    app: &'a str,
    process: &'a str,
    stream: Stream,
    host: &'a str,
}

/// `{"streams": [{"stream": {…}, "values": [["NANOSECONDS", "line"], …]}, …]}`.
#[derive(Debug)]
pub(super) struct LokiEncoder {
    host: String,
    app: String,
    /// The values of each process and stream, with commas between them.
    values: BTreeMap<(String, Stream), Vec<u8>>,
    size: usize,
}

impl LokiEncoder {
    pub(super) fn new(host: &str, app: &str) -> Self {
        Self {
            host: host.to_owned(),
            app: app.to_owned(),
            values: BTreeMap::new(),
            size: 0,
        }
    }

    pub(super) fn push(&mut self, record: &Record) {
        let key = (record.process.clone(), record.stream);
        let values = self.values.entry(key).or_default();
        let before = values.len();
        if before > 0 {
            values.push(b',');
        }
        // Lines that are read together have one time. Loki takes equal lines of equal times for one line sent twice, so
        // the id makes the time of each another one, and the same one when it is sent again.
        let time =
            record.time.as_microsecond() * 1000 + i64::try_from(record.id % 1000).unwrap_or(0);
        let text = String::from_utf8_lossy(&record.text);
        // Writing strings to memory cannot fail.
        let _ = serde_json::to_writer(&mut *values, &(time.to_string(), text));
        self.size += values.len() - before;
    }

    pub(super) fn len(&self) -> usize {
        self.size
    }

    pub(super) fn finish(&mut self) -> Payload {
        let mut bytes = b"{\"streams\":[".to_vec();
        for (place, ((process, stream), values)) in
            std::mem::take(&mut self.values).into_iter().enumerate()
        {
            let labels = Labels {
                app: &self.app,
                process: &process,
                stream,
                host: &self.host,
            };
            bytes.extend_from_slice(if place == 0 {
                b"{\"stream\":"
            } else {
                b",{\"stream\":"
            });
            // As above.
            let _ = serde_json::to_writer(&mut bytes, &labels);
            bytes.extend_from_slice(b",\"values\":[");
            bytes.extend_from_slice(&values);
            bytes.extend_from_slice(b"]}");
        }
        bytes.extend_from_slice(b"]}");
        self.size = 0;
        Payload {
            ends: vec![bytes.len()],
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(id: u64, process: &str, text: &[u8]) -> Record {
        Record {
            id,
            time: "2026-11-22T10:15:30.5Z".parse().unwrap(),
            process: process.to_owned(),
            release: 3,
            stream: Stream::Stdout,
            text: text.to_vec(),
            partial: false,
        }
    }

    #[test]
    fn an_object_a_line() {
        let mut encoder = NdjsonEncoder::new("h", "blog");
        encoder.push(&record(1, "web.1", b"a\"\xff"));
        encoder.push(&record(2, "web.1", b""));
        let text = String::from_utf8(encoder.finish().bytes).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(
            lines[0],
            json!({"time": "2026-11-22T10:15:30.500000Z", "host": "h", "app": "blog",
            "process": "web.1", "stream": "stdout", "release": 3, "id": 1, "line": "a\"\u{fffd}"})
        );
        assert_eq!((lines.len(), encoder.len()), (2, 0));
    }

    #[test]
    fn loki_gets_a_stream_for_each_process_and_no_two_lines_that_it_takes_for_one() {
        let mut encoder = LokiEncoder::new("h", "blog");
        for id in 1..=3 {
            encoder.push(&record(id, "web.1", b"."));
        }
        encoder.push(&record(4, "web.2", b"x"));
        let body: Value = serde_json::from_slice(&encoder.finish().bytes).unwrap();
        let first = json!({"stream": {"app": "blog", "process": "web.1", "stream": "stdout", "host": "h"},
            "values": [["1795342530500000001", "."], ["1795342530500000002", "."], ["1795342530500000003", "."]]});
        assert_eq!(body["streams"][0], first);
        assert_eq!(body["streams"][1]["values"][0][1], "x");
        assert_eq!(encoder.len(), 0);
    }
}
