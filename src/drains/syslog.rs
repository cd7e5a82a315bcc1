//! Messages of RFC 5424, and their frames: by octet counting where they are a stream (RFC 6587 §3.4.1, RFC 5425
//! §4.3), one a datagram else (RFC 5426).

use std::fmt::Write as _;

use super::payload::Payload;
use crate::logs::record::{Record, Stream};

/// local0.
const FACILITY: u8 = 16;

/// RFC 5424 §6.2.5 and §6.2.6.
const LONGEST_APP: usize = 48;
const LONGEST_PROCESS: usize = 128;
const LONGEST_HOST: usize = 255;

/// What all receivers of datagrams should take (RFC 5426 §3.2).
const LONGEST_DATAGRAM: usize = 2048;

/// The largest number of a message (RFC 5424 §7.3.1).
const LARGEST_NUMBER: u64 = 2_147_483_647;

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Counted,
    Datagrams,
}

/// Makes messages of lines.
#[derive(Debug)]
pub(super) struct SyslogEncoder {
    framing: Framing,
    /// What is between the time and the name of the process.
    middle: String,
    /// The time of the last line, and what it is written as: lines that were read together have the same.
    time: Option<(jiff::Timestamp, String)>,
    message: Vec<u8>,
    payload: Payload,
}

impl SyslogEncoder {
    pub(super) fn new(framing: Framing, host: &str, app: &str) -> Self {
        let (host, app) = (word(host, LONGEST_HOST), word(app, LONGEST_APP));
        Self {
            framing,
            middle: format!(" {host} {app} "),
            time: None,
            message: Vec::new(),
            payload: Payload::default(),
        }
    }

    pub(super) fn push(&mut self, record: &Record) {
        self.message.clear();
        let time = match &self.time {
            Some((time, written)) if *time == record.time => written,
            _ => {
                &self
                    .time
                    .insert((record.time, format!("{:.6}", record.time)))
                    .1
            }
        };
        let number = record.id.saturating_sub(1) % LARGEST_NUMBER + 1;
        let priority = FACILITY * 8 + severity(record.stream);
        let mut head = String::with_capacity(128);
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            "<{priority}>1 {time}{}{} {} [meta sequenceId=\"{number}\"] ",
            self.middle,
            word(&record.process, LONGEST_PROCESS),
            record.stream.name(),
        );
        self.message.extend_from_slice(head.as_bytes());
        match std::str::from_utf8(&record.text) {
            Ok(_) => self.message.extend_from_slice(&record.text),
            Err(_) => {
                let text = String::from_utf8_lossy(&record.text);
                self.message.extend_from_slice(text.as_bytes());
            }
        }
        match self.framing {
            Framing::Counted => {
                let mut digits = itoa::Buffer::new();
                let length = digits.format(self.message.len());
                self.payload.bytes.extend_from_slice(length.as_bytes());
                self.payload.bytes.push(b' ');
                self.payload.bytes.extend_from_slice(&self.message);
            }
            Framing::Datagrams => {
                let end = whole_characters(&self.message, LONGEST_DATAGRAM);
                self.payload.bytes.extend_from_slice(&self.message[..end]);
            }
        }
        self.payload.ends.push(self.payload.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.payload.bytes.len()
    }

    /// What was pushed.
    pub(super) fn finish(&mut self) -> Payload {
        std::mem::take(&mut self.payload)
    }
}

/// Programs write to stderr what they like: it is not called an error.
fn severity(stream: Stream) -> u8 {
    match stream {
        Stream::Stderr => 5,
        Stream::Stdout | Stream::Install | Stream::Access => 6,
    }
}

/// PRINTUSASCII without blanks, at most so long; `-` where nothing is left.
fn word(text: &str, longest: usize) -> String {
    let graphic = text
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '_' });
    let word: String = graphic.take(longest).collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

/// The end of the last whole character within `longest` bytes.
fn whole_characters(text: &[u8], longest: usize) -> usize {
    if text.len() <= longest {
        return text.len();
    }
    let is_inside = |at: &usize| text[*at] & 0b1100_0000 == 0b1000_0000;
    (0..=longest)
        .rev()
        .find(|at| !is_inside(at))
        .unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(process: &str, text: &[u8]) -> Record {
        Record {
            id: 42,
            time: "2026-11-22T10:15:30Z".parse().unwrap(),
            process: process.to_owned(),
            release: 3,
            stream: Stream::Stderr,
            text: text.to_vec(),
            partial: false,
        }
    }

    fn encoded(framing: Framing, record: &Record) -> Vec<u8> {
        let mut encoder = SyslogEncoder::new(framing, "h", "blog");
        encoder.push(record);
        encoder.finish().bytes
    }

    #[test]
    fn a_message_has_the_fields_of_the_rfc() {
        let message = "<133>1 2026-11-22T10:15:30.000000Z h blog web.1 stderr [meta sequenceId=\"42\"] a \u{fffd} b";
        let sent = encoded(Framing::Counted, &record("web.1", b"a \xff b"));
        let expected = format!("{} {message}", message.len());
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
        let sent = encoded(Framing::Datagrams, &record("web.1", b"a \xff b"));
        assert_eq!(sent, message.as_bytes());
    }

    proptest! {
        #[test]
        fn frames_are_found_again_whatever_is_in_them(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..8),
            process in "\\PC{0,200}",
        ) {
            let mut counted = SyslogEncoder::new(Framing::Counted, "", &process);
            let mut datagrams = SyslogEncoder::new(Framing::Datagrams, "ü", &process);
            for line in &lines {
                counted.push(&record(&process, line));
                datagrams.push(&record(&process, line));
            }
            let (counted, datagrams) = (counted.finish(), datagrams.finish());
            prop_assert_eq!(counted.ends.len(), lines.len());
            let mut rest = &counted.bytes[..];
            for line in &lines {
                let blank = rest.iter().position(|b| *b == b' ').unwrap();
                let length: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
                let message = std::str::from_utf8(&rest[blank + 1..][..length]).unwrap();
                prop_assert!(message.ends_with(&*String::from_utf8_lossy(line)));
                prop_assert_eq!(message.splitn(8, ' ').count(), 8);
                rest = &rest[blank + 1 + length..];
            }
            prop_assert!(rest.is_empty());
            let mut begin = 0;
            for end in datagrams.ends {
                prop_assert!(end - begin <= LONGEST_DATAGRAM);
                prop_assert!(std::str::from_utf8(&datagrams.bytes[begin..end]).is_ok());
                begin = end;
            }
        }
    }
}
