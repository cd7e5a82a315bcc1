//! One line of a log: what it holds, how it stands on disk, how it is shown.
//!
//! On disk a record is one line that a person can grep:
//! `42 2026-11-22T10:15:30.123456Z web.1 3 - | text`: id, time, process, release, flags (`p` for partial, else `-`), and
//! after the bar the bytes of the line as they were written, whatever they are.

use serde::Serialize;

use super::lines::Cut;

/// Which log of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Normal output of the processes.
    Stdout,
    Stderr,
    Install,
    /// A JSON object for each request.
    Access,
}

impl Stream {
    pub const ALL: [Self; 4] = [Self::Stdout, Self::Stderr, Self::Install, Self::Access];

    /// Its name in paths and URLs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Install => "install",
            Self::Access => "access",
        }
    }

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stream called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Grows by one per line of a stream, also over restarts of the daemon.
    pub id: u64,
    pub time: jiff::Timestamp,
    /// `web.1`; for the install log the step, e.g. `fetch`.
    pub process: String,
    /// The release; for the install log the deployment.
    pub release: u64,
    pub stream: Stream,
    /// The line without its newline, as written: any bytes.
    pub text: Vec<u8>,
    /// Whether the line goes on in the next record (longer than 16 KiB, or the process ended without a newline).
    pub partial: bool,
}

/// A record as the API shows it.
#[derive(Serialize)]
struct Shown<'a> {
    id: u64,
    time: String,
    process: &'a str,
    release: u64,
    stream: Stream,
    text: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

impl Record {
    /// Appends `2026-11-22T10:15:30.123456Z web.1 | text` and a newline. Bytes of the text that are not UTF-8 become
    /// U+FFFD: that is what the answer says it is in.
    pub fn to_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(written(self.time).as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.process.as_bytes());
        out.extend_from_slice(b" | ");
        out.extend_from_slice(String::from_utf8_lossy(&self.text).as_bytes());
        out.push(b'\n');
    }

    /// One JSON object, without a newline: `{id, time, process, release, stream, text, partial?}`. Bytes of the text
    /// that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn to_json(&self) -> String {
        let shown = Shown {
            id: self.id,
            time: written(self.time),
            process: &self.process,
            release: self.release,
            stream: self.stream,
            text: String::from_utf8_lossy(&self.text),
            partial: self.partial,
        };
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

/// Lines of one source that are written at once; they get ids when they are stored.
#[derive(Clone, Debug)]
pub struct WriteBatch<'a> {
    pub stream: Stream,
    /// One time for all of them.
    pub time: jiff::Timestamp,
    /// As in [`Record`].
    pub process: &'a str,
    /// As in [`Record`].
    pub release: u64,
    /// In order.
    pub lines: Vec<Cut<'a>>,
}

impl WriteBatch<'_> {
    /// What stands between the id and the flags of each line on disk; written once per batch, since formatting a time
    /// costs more than all the rest of a line.
    #[must_use]
    pub fn head(&self) -> String {
        let (time, process) = (written(self.time), one_word(self.process));
        format!(" {time} {process} {} ", self.release)
    }

    /// The records of the first `count` lines, when the first of them got the id `first_id`.
    #[must_use]
    pub fn records(&self, first_id: u64, count: usize) -> Vec<Record> {
        let lines = self.lines.iter().take(count);
        lines
            .zip(first_id..)
            .map(|(line, id)| Record {
                id,
                time: self.time,
                process: self.process.to_owned(),
                release: self.release,
                stream: self.stream,
                text: line.text.to_vec(),
                partial: line.partial,
            })
            .collect()
    }
}

/// Appends the line that stands on disk, with its newline; `head` is [`WriteBatch::head`], `line` has no newline.
pub fn encode(out: &mut Vec<u8>, id: u64, head: &str, line: &Cut<'_>) {
    out.extend_from_slice(id.to_string().as_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(if line.partial { b"p | " } else { b"- | " });
    out.extend_from_slice(line.text);
    out.push(b'\n');
}

/// No log gets as far: a larger id is damage, after which ids could not go on.
pub const LARGEST_ID: u64 = u64::MAX / 2;

/// The head of a line on disk, so far only looked at: cheap enough to pass over millions of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As in [`Record`].
    pub id: u64,
    time: &'a str,
    /// As in [`Record`].
    pub process: &'a str,
    /// As in [`Record`].
    pub release: u64,
    partial: bool,
    /// As in [`Record`].
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line on disk (without its newline) apart; `None` when it is not one of ours, whatever it is.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let bar = line.windows(3).position(|window| window == b" | ")?;
        let head = std::str::from_utf8(&line[..bar]).ok()?;
        let mut fields = head.split(' ');
        let id = fields.next()?.parse().ok();
        let parsed = Self {
            id: id.filter(|id| *id <= LARGEST_ID)?,
            time: fields.next()?,
            process: fields.next()?,
            release: fields.next()?.parse().ok()?,
            partial: match fields.next()? {
                "p" => true,
                "-" => false,
                _ => return None,
            },
            text: &line[bar + 3..],
        };
        fields.next().is_none().then_some(parsed)
    }

    /// When it was read; `None` when that is not a time.
    #[must_use]
    pub fn time(&self) -> Option<jiff::Timestamp> {
        self.time.parse().ok()
    }

    /// The whole record; `None` when its time is not a time.
    #[must_use]
    pub fn record(&self, stream: Stream) -> Option<Record> {
        Some(Record {
            id: self.id,
            time: self.time()?,
            process: self.process.to_owned(),
            release: self.release,
            stream,
            text: self.text.to_vec(),
            partial: self.partial,
        })
    }
}

/// The present time, in the microseconds that stand on disk.
#[must_use]
pub fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// RFC 3339 with six digits of fraction.
fn written(time: jiff::Timestamp) -> String {
    format!("{time:.6}")
}

/// Characters of a process' name that are kept on disk.
const LONGEST_PROCESS: usize = 128;

/// A process or step as one word without blanks or bars, so that the fields on disk stay apart.
fn one_word(process: &str) -> String {
    if process.is_empty() {
        return "-".to_owned();
    }
    process
        .chars()
        .take(LONGEST_PROCESS)
        .map(|c| {
            if c.is_whitespace() || c.is_control() || c == '|' {
                '_'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(text: &[u8]) -> Record {
        Record {
            id: 42,
            time: "2026-11-22T10:15:30.123456Z".parse().unwrap(),
            process: "web.1".into(),
            release: 3,
            stream: Stream::Stdout,
            text: text.to_vec(),
            partial: false,
        }
    }

    #[test]
    fn the_text_form_is_that_of_the_api() {
        let mut out = Vec::new();
        record(b"a \xff b").to_text(&mut out);
        let text = "2026-11-22T10:15:30.123456Z web.1 | a \u{fffd} b\n";
        assert_eq!(out, text.as_bytes());
    }

    #[test]
    fn the_time_always_has_six_digits() {
        let mut out = Vec::new();
        let time = "2026-11-22T10:15:30Z".parse().unwrap();
        Record {
            time,
            ..record(b"x")
        }
        .to_text(&mut out);
        assert_eq!(out, b"2026-11-22T10:15:30.000000Z web.1 | x\n");
    }

    #[test]
    fn the_json_form_names_partial_only_when_it_is() {
        assert_eq!(
            record(b"a\xff\"").to_json(),
            r#"{"id":42,"time":"2026-11-22T10:15:30.123456Z","process":"web.1","release":3,"stream":"stdout","text":"a�\""}"#
        );
        let partial = Record {
            partial: true,
            ..record(b"")
        };
        assert!(partial.to_json().ends_with(r#""text":"","partial":true}"#));
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let line = Cut {
            text: &record.text,
            partial: record.partial,
        };
        let batch = WriteBatch {
            stream: record.stream,
            time: record.time,
            process: &record.process,
            release: record.release,
            lines: vec![line],
        };
        assert_eq!(batch.records(record.id, 1), std::slice::from_ref(record));
        let mut out = Vec::new();
        encode(&mut out, record.id, &batch.head(), &line);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn a_bar_in_the_text_stays_there() {
        let line = encoded(&record(b" | x | "));
        assert_eq!(line, b"42 2026-11-22T10:15:30.123456Z web.1 3 - |  | x | ");
        let read = Line::parse(&line).unwrap().record(Stream::Stdout).unwrap();
        assert_eq!(read, record(b" | x | "));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            text in proptest::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..200),
            id in 0..=LARGEST_ID,
            release: u64,
            partial: bool,
            micros in 0i64..4_000_000_000_000_000,
        ) {
            let time = jiff::Timestamp::from_microsecond(micros).unwrap();
            let record = Record { id, release, partial, time, ..record(&text) };
            prop_assert_eq!(Line::parse(&encoded(&record)).unwrap().record(Stream::Stdout).unwrap(), record);
        }

        #[test]
        fn any_bytes_are_a_line_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Line::parse(&bytes).map(|line| line.record(Stream::Stdout));
        }

        #[test]
        fn no_process_name_breaks_the_line(process in "\\PC{0,20}|[ \n|]{0,5}") {
            let line = encoded(&Record { process, ..record(b"text") });
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(Line::parse(&line).unwrap().text, b"text");
        }
    }
}
