//! [`Batcher`]: gathers lines until they are worth sending, and knows which they are.

use bytes::Bytes;

use super::accounts::{Accounts, Gap};
use super::json::{LokiEncoder, NdjsonEncoder};
use super::syslog::{Framing, SyslogEncoder};
use crate::document::drain::Protocol;
use crate::logs::merged::Positions;
use crate::logs::record::{Record, Stream};

/// Lines and bytes that are sent at once; a chunk of the log more may be in it.
const MOST_LINES: usize = 1000;
const MOST_BYTES: usize = 256 * 1024;

/// Under which the server itself tells something in a log.
const OURSELVES: &str = "procserver";

#[derive(Debug)]
enum Encoder {
    Syslog(SyslogEncoder),
    Ndjson(NdjsonEncoder),
    Loki(LokiEncoder),
}

/// Gathers lines.
#[derive(Debug)]
pub(super) struct Batcher {
    encoder: Encoder,
    types: Vec<String>,
    /// Whose log it is, and when the first line of the batch was written: a log that is begun anew counts from zero again.
    source: String,
    first: Option<String>,
    /// Up to where lines were gathered, and where the batch begins.
    accounts: Accounts,
    begin: Accounts,
    marks: Vec<(Stream, u64)>,
}

/// Lines that are sent together, again and again until they are taken.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    /// Where each message ends; of one whose messages go one by one, those that are over are in `done`.
    pub(super) ends: Vec<usize>,
    /// Messages that are out.
    pub(super) done: usize,
    marks: Vec<(Stream, u64)>,
    /// Up to where its receiver has the logs then.
    pub(super) accounts: Accounts,
    /// Of these lines alone, also when they are sent again.
    pub(super) id: String,
}

impl Batcher {
    pub(super) fn new(protocol: Protocol, types: &[String], host: &str, app: &str) -> Self {
        let encoder = match protocol {
            Protocol::SyslogTls | Protocol::SyslogTcp => {
                Encoder::Syslog(SyslogEncoder::new(Framing::Counted, host, app))
            }
            Protocol::SyslogUdp => {
                Encoder::Syslog(SyslogEncoder::new(Framing::Datagrams, host, app))
            }
            Protocol::Ndjson => Encoder::Ndjson(NdjsonEncoder::new(host, app)),
            Protocol::Loki => Encoder::Loki(LokiEncoder::new(host, app)),
        };
        Self {
            encoder,
            types: types.to_vec(),
            source: source(app, host),
            first: None,
            accounts: Accounts::default(),
            begin: Accounts::default(),
            marks: vec![],
        }
    }

    /// Begins after these lines.
    pub(super) fn begin_after(&mut self, accounts: &Accounts) {
        self.accounts = accounts.clone();
        self.begin = accounts.clone();
    }

    /// Up to where lines were gathered.
    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        let size = match &self.encoder {
            Encoder::Syslog(encoder) => encoder.len(),
            Encoder::Ndjson(encoder) => encoder.len(),
            Encoder::Loki(encoder) => encoder.len(),
        };
        self.marks.len() >= MOST_LINES || size >= MOST_BYTES
    }

    /// Takes lines in; answers how many are missing before them or between them.
    pub(super) fn take(&mut self, records: &[Record]) -> u64 {
        let mut dropped = 0;
        for record in records {
            if let Some(gap) = self.accounts.come(record.stream, record.id) {
                dropped += gap.lines;
                self.tell(gap, record.id - 1, record.time);
            }
            if self.wants(&record.process) {
                self.push(record);
            }
        }
        dropped
    }

    /// The log has been read up to these lines; answers how many are missing.
    pub(super) fn come_to(&mut self, ends: &Positions, now: jiff::Timestamp) -> u64 {
        let mut dropped = 0;
        for (stream, end) in ends {
            if let Some(gap) = self.accounts.end(*stream, *end) {
                dropped += gap.lines;
                self.tell(gap, *end, now);
            }
        }
        dropped
    }

    fn wants(&self, process: &str) -> bool {
        let kind = process.rsplit_once('.').map_or(process, |(kind, _)| kind);
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind)
    }

    /// Says to the receiver what it will not get.
    fn tell(&mut self, gap: Gap, last: u64, time: jiff::Timestamp) {
        let lines = match gap.lines {
            1 => "1 line is".to_owned(),
            lines => format!("{lines} lines are"),
        };
        let text = format!(
            "{lines} missing here in {}: the log has gone on over them before this drain had sent them",
            gap.stream.name()
        );
        self.push(&Record {
            id: last,
            time,
            process: OURSELVES.to_owned(),
            release: 0,
            stream: gap.stream,
            text: text.into_bytes(),
            partial: false,
        });
    }

    fn push(&mut self, record: &Record) {
        self.marks.push((record.stream, record.id));
        if self.first.is_none() {
            self.first = Some(record.time.to_string());
        }
        match &mut self.encoder {
            Encoder::Syslog(encoder) => encoder.push(record),
            Encoder::Ndjson(encoder) => encoder.push(record),
            Encoder::Loki(encoder) => encoder.push(record),
        }
    }

    /// What was gathered.
    pub(super) fn finish(&mut self) -> Batch {
        let payload = match &mut self.encoder {
            Encoder::Syslog(encoder) => encoder.finish(),
            Encoder::Ndjson(encoder) => encoder.finish(),
            Encoder::Loki(encoder) => encoder.finish(),
        };
        let begin = std::mem::replace(&mut self.begin, self.accounts.clone());
        Batch {
            id: format!(
                "{}-{}-{}-{}",
                self.source,
                self.first.take().unwrap_or_default(),
                places(&begin),
                places(&self.accounts)
            ),
            bytes: payload.bytes.into(),
            ends: payload.ends,
            done: 0,
            marks: std::mem::take(&mut self.marks),
            accounts: self.accounts.clone(),
        }
    }
}

impl Batch {
    pub(super) fn lines(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Where in its bytes those that are not out begin.
    pub(super) fn rest(&self) -> usize {
        self.done.checked_sub(1).map_or(0, |last| self.ends[last])
    }

    /// All messages that end within the first `bytes` bytes are out.
    pub(super) fn is_out_up_to(&mut self, bytes: usize) {
        self.done = self.ends.partition_point(|end| *end <= bytes);
    }

    /// Adds to `accounts` what is out of it.
    pub(super) fn settle(&self, accounts: &mut Accounts) {
        for (stream, id) in &self.marks[..self.done.min(self.marks.len())] {
            accounts.set(*stream, *id);
        }
    }
}

/// As a field of HTTP may have it.
fn source(app: &str, host: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    format!("{app}@{host}").replace(|c| !plain(c) && c != '@', "_")
}

fn places(accounts: &Accounts) -> String {
    let places = Stream::ALL.map(|stream| accounts.last(stream).unwrap_or(0).to_string());
    places.join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(id: u64, process: &str) -> Record {
        Record {
            id,
            time: jiff::Timestamp::UNIX_EPOCH,
            process: process.to_owned(),
            release: 1,
            stream: Stream::Stdout,
            text: format!("line {id}").into_bytes(),
            partial: false,
        }
    }

    #[test]
    fn what_is_missing_is_said_where_it_is_missing() {
        let mut batcher = Batcher::new(Protocol::SyslogTcp, &["web".to_owned()], "h", "a");
        let mut begin = Accounts::default();
        begin.set(Stream::Stdout, 5);
        batcher.begin_after(&begin);
        let lines = [
            record(6, "web.1"),
            record(10, "web.1"),
            record(11, "clock.1"),
        ];
        assert_eq!(batcher.take(&lines), 3);
        assert_eq!(
            batcher.come_to(&vec![(Stream::Stdout, 12)], jiff::Timestamp::UNIX_EPOCH),
            1
        );
        let batch = batcher.finish();
        let text = String::from_utf8_lossy(&batch.bytes).into_owned();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{text}"));
        assert!(at("line 6") < at("3 lines are missing here in stdout"));
        assert!(at("3 lines are") < at("line 10") && at("line 10") < at("1 line is missing"));
        assert!(!text.contains("line 11"));
        assert_eq!(
            (batch.lines(), batch.accounts.last(Stream::Stdout)),
            (4, Some(12))
        );
        assert!(batch.id.ends_with("-5.0.0.0-12.0.0.0"), "{}", batch.id);
        assert!(batch.id.starts_with("a@h-"), "{}", batch.id);
        assert!(batcher.is_empty());
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut batcher = Batcher::new(Protocol::Loki, &[], "h", "a");
        let lines: Vec<_> = (1..=MOST_LINES as u64)
            .map(|id| record(id, "web.1"))
            .collect();
        batcher.take(&lines[1..]);
        assert!(!batcher.is_full());
        batcher.take(&lines[..1]);
        assert!(batcher.is_full());
    }

    proptest! {
        /// Wherever a connection breaks, what is sent next begins with the first message that was not out whole.
        #[test]
        fn messages_are_out_or_sent_again(lines in 1_u64..50, cuts in proptest::collection::vec(0_usize..4000, 0..10)) {
            let mut batcher = Batcher::new(Protocol::SyslogTcp, &[], "h", "a");
            batcher.take(&(1..=lines).map(|id| record(id, "web.1")).collect::<Vec<_>>());
            let mut batch = batcher.finish();
            let mut whole = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let begin = batch.rest();
                let end = begin.saturating_add(cut).min(batch.bytes.len());
                batch.is_out_up_to(end);
                whole.extend_from_slice(&batch.bytes[begin..batch.rest()]);
                let mut accounts = Accounts::default();
                batch.settle(&mut accounts);
                prop_assert_eq!(accounts.last(Stream::Stdout).unwrap_or(0), batch.done as u64);
            }
            prop_assert_eq!(&whole[..], &batch.bytes[..]);
        }
    }
}
