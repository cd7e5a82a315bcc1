//! Splits the output of commands into bounded lines and removes secrets (pure).

use std::collections::VecDeque;

/// A longer line is split into several.
pub const MAX_LINE: usize = 16 * 1024;

/// How many last lines a [`Tail`] keeps.
pub const TAIL_LINES: usize = 20;

/// How many bytes of a line a [`Tail`] keeps: records and answers of the API have it.
const TAIL_WIDTH: usize = 500;

/// Cuts a stream of bytes into lines of at most [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// Takes `bytes` and returns the lines that are complete now, without their newlines.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, complete) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.extend(text, &mut lines);
            if complete {
                lines.push(shown(std::mem::take(&mut self.rest)));
            }
        }
        lines
    }

    /// The rest of a stream that ended without a newline.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.rest.is_empty()).then(|| shown(std::mem::take(&mut self.rest)))
    }

    /// What a progress bar shows now, on a line that is not over.
    #[must_use]
    pub fn bar(&self) -> Option<&[u8]> {
        let bar = self.rest.strip_suffix(b"\r")?;
        (!bar.is_empty()).then_some(bar)
    }

    fn extend(&mut self, mut text: &[u8], lines: &mut Vec<Vec<u8>>) {
        // What is painted over is not kept: a bar repaints itself for hours.
        let painted = text
            .iter()
            .rposition(|byte| *byte != b'\r')
            .map(|last| &text[..last]);
        if let Some(painted) = painted {
            if let Some(at) = painted.iter().rposition(|byte| *byte == b'\r') {
                text = &text[at + 1..];
                self.rest.clear();
            } else if self.rest.last() == Some(&b'\r') {
                self.rest.clear();
            }
        }
        while self.rest.len() + text.len() > MAX_LINE {
            let (now, later) = text.split_at(MAX_LINE - self.rest.len());
            self.rest.extend_from_slice(now);
            lines.push(std::mem::take(&mut self.rest));
            text = later;
        }
        self.rest.extend_from_slice(text);
    }
}

/// What a terminal would show of a line. A progress bar repaints itself after each `\r`: only its last state remains.
fn shown(mut line: Vec<u8>) -> Vec<u8> {
    while line.last() == Some(&b'\r') {
        line.pop();
    }
    match line.iter().rposition(|b| *b == b'\r') {
        Some(at) => line.split_off(at + 1),
        None => line,
    }
}

/// The last lines of an output, for people.
#[derive(Debug, Default)]
pub struct Tail(VecDeque<String>);

impl Tail {
    pub fn push(&mut self, line: &[u8]) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        let mut text = String::from_utf8_lossy(&line[..line.len().min(TAIL_WIDTH)]).into_owned();
        if line.len() > TAIL_WIDTH {
            text.push('…');
        }
        self.0.push_back(text);
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

/// Removes secrets from lines: passwords in URLs, and words known to be secret.
#[derive(Clone, Debug, Default)]
pub struct Mask(Vec<Vec<u8>>);

/// What replaces a secret.
const STARS: &[u8] = b"***";

impl Mask {
    /// Hides `secrets` and passwords in URLs. Words of one or two letters stay: without them the log would be
    /// unreadable.
    pub fn new<S: Into<Vec<u8>>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut secrets: Vec<Vec<u8>> = secrets.into_iter().map(Into::into).collect();
        secrets.retain(|s| s.len() > 2);
        // A longer one may contain a shorter one.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        Self(secrets)
    }

    /// The same mask, which hides `secrets` too.
    #[must_use]
    pub fn and<S: Into<Vec<u8>>>(&self, secrets: impl IntoIterator<Item = S>) -> Self {
        let own = self.0.iter().cloned();
        Self::new(own.chain(secrets.into_iter().map(Into::into)))
    }

    /// `line` without secrets.
    #[must_use]
    pub fn apply(&self, line: Vec<u8>) -> Vec<u8> {
        let line = self
            .0
            .iter()
            .fold(line, |line, secret| replace(&line, secret));
        without_passwords(&line)
    }

    /// As [`Self::apply`], for text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.apply(text.into())).into_owned()
    }
}

fn replace(line: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(line.len());
    let mut copied = 0;
    for at in memchr::memmem::find_iter(line, secret) {
        result.extend_from_slice(&line[copied..at]);
        result.extend_from_slice(STARS);
        copied = at + secret.len();
    }
    result.extend_from_slice(&line[copied..]);
    result
}

/// `https://user:password@host` becomes `https://***@host`; a user alone is kept.
fn without_passwords(line: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"://";
    let mut result = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.windows(MARK.len()).position(|w| w == MARK) {
        let (head, tail) = rest.split_at(at + MARK.len());
        result.extend_from_slice(head);
        let authority = tail
            .iter()
            .position(|b| b"/?#'\"<> \t".contains(b))
            .unwrap_or(tail.len());
        rest = match tail[..authority].iter().rposition(|b| *b == b'@') {
            Some(end) if tail[..end].contains(&b':') => {
                result.extend_from_slice(STARS);
                &tail[end..]
            }
            _ => tail,
        };
    }
    result.extend_from_slice(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_cut_wherever_the_stream_is() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"one\ntw"), [b"one"]);
        assert_eq!(splitter.push(b"o\r\n\nthr"), [b"two".to_vec(), vec![]]);
        assert_eq!(splitter.finish(), Some(b"thr".to_vec()));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_progress_bar_is_its_last_state() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"10%\r50%\r100%\n"), [b"100%"]);
        assert_eq!(splitter.push(b"done\n1%\r"), [b"done"]);
        assert_eq!(splitter.bar(), Some(b"1%".as_slice()));
        // However long it repaints itself, it is one line.
        for percent in 0..10_000 {
            assert!(splitter.push(format!("{percent}%\r").as_bytes()).is_empty());
        }
        assert_eq!(splitter.bar(), Some(b"9999%".as_slice()));
        assert!(splitter.push(&b"50%\r".repeat(MAX_LINE)).is_empty());
        assert!(splitter.push(b"7").is_empty());
        assert_eq!(splitter.bar(), None);
        assert_eq!(splitter.push(b"0%\r\n"), [b"70%"]);
    }

    #[test]
    fn an_endless_line_is_split() {
        let mut splitter = Splitter::default();
        let lines = splitter.push(&vec![b'x'; 3 * MAX_LINE + 5]);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|l| l.len() == MAX_LINE));
        assert_eq!(splitter.finish().map(|l| l.len()), Some(5));
    }

    #[test]
    fn the_tail_is_the_last_lines_cut_to_a_width() {
        let mut tail = Tail::default();
        for n in 0..100 {
            tail.push(format!("line {n}").as_bytes());
        }
        tail.push(&vec![b'y'; 2 * TAIL_WIDTH]);
        let lines = tail.into_lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[TAIL_LINES - 2], "line 99");
        assert_eq!(lines[TAIL_LINES - 1].chars().count(), TAIL_WIDTH + 1);
    }

    #[test]
    fn passwords_are_masked() {
        let mask = Mask::new(["s3cret", "it"]);
        for (line, shown) in [
            (
                "https://ann:pw@h/x and http://b:p%40@h",
                "https://***@h/x and http://***@h",
            ),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("https://h/a:b@c", "https://h/a:b@c"),
            ("denied: s3cret. it is", "denied: ***. it is"),
            ("'https://x:y@h/': no", "'https://***@h/': no"),
        ] {
            assert_eq!(mask.text(line), shown);
        }
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing_and_bounds_lines(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'b')], 0..200),
            cut in 0usize..200,
        ) {
            let (head, tail) = text.split_at(cut.min(text.len()));
            let mut splitter = Splitter::default();
            let mut lines = splitter.push(head);
            lines.extend(splitter.push(tail));
            lines.extend(splitter.finish());
            let mut expected: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
            if expected.last() == Some(&&b""[..]) {
                expected.pop();
            }
            prop_assert_eq!(lines, expected);
        }
    }
}
