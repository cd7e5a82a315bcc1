//! Cuts bytes into lines (pure, and without a memory of its own: what is no whole line yet stays in the pipe).

/// The longest text of one record, in bytes; a longer line is cut and marked partial.
pub const LONGEST: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut<'a> {
    /// Without its newline.
    pub text: &'a [u8],
    /// Whether the line goes on in the next one.
    pub partial: bool,
}

/// The lines at the start of `bytes` that are whole, or too long to wait for the rest of; see [`Cuts::consumed`].
#[must_use]
pub fn cut(bytes: &[u8]) -> Cuts<'_> {
    Cuts { bytes, consumed: 0 }
}

/// The iterator of [`cut`].
#[derive(Debug)]
pub struct Cuts<'a> {
    bytes: &'a [u8],
    consumed: usize,
}

impl<'a> Cuts<'a> {
    /// How many bytes the lines so far were made of, their newlines included.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// The bytes after the last line.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.consumed..]
    }
}

impl<'a> Iterator for Cuts<'a> {
    type Item = Cut<'a>;

    fn next(&mut self) -> Option<Cut<'a>> {
        let rest = self.rest();
        let window = &rest[..rest.len().min(LONGEST + 1)];
        if let Some(end) = memchr::memchr(b'\n', window) {
            self.consumed += end + 1;
            return Some(Cut {
                text: &rest[..end],
                partial: false,
            });
        }
        if window.len() <= LONGEST {
            return None;
        }
        let end = before_character(window);
        self.consumed += end;
        Some(Cut {
            text: &rest[..end],
            partial: true,
        })
    }
}

/// The largest end within [`LONGEST`] that does not cut a UTF-8 character; [`LONGEST`] where it is not UTF-8.
fn before_character(window: &[u8]) -> usize {
    const LONGEST_CHARACTER: usize = 4;
    (LONGEST + 1 - LONGEST_CHARACTER..=LONGEST)
        .rev()
        .find(|end| window[*end] & 0b1100_0000 != 0b1000_0000)
        .unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All lines of `pieces` when each is added to what the ones before left over.
    fn lines(pieces: &[&[u8]]) -> (Vec<(Vec<u8>, bool)>, Vec<u8>) {
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let mut cuts = cut(&held);
            out.extend(cuts.by_ref().map(|line| (line.text.to_vec(), line.partial)));
            let consumed = cuts.consumed();
            held.drain(..consumed);
            assert!(held.len() <= LONGEST, "what is left over is bounded");
        }
        (out, held)
    }

    #[test]
    fn a_line_of_just_the_limit_is_whole() {
        let mut bytes = vec![b'x'; LONGEST];
        bytes.extend_from_slice(b"\ny\nz");
        let (lines, rest) = lines(&[&bytes]);
        assert_eq!(lines[0], (vec![b'x'; LONGEST], false));
        assert_eq!(lines[1], (b"y".to_vec(), false));
        assert_eq!(rest, b"z");
    }

    #[test]
    fn a_line_one_longer_is_cut_and_marked() {
        let mut bytes = vec![b'x'; LONGEST + 1];
        bytes.push(b'\n');
        let (lines, rest) = lines(&[&bytes]);
        assert_eq!(lines[0], (vec![b'x'; LONGEST], true));
        assert_eq!(lines[1], (b"x".to_vec(), false));
        assert_eq!(rest, b"");
    }

    #[test]
    fn a_cut_does_not_go_through_a_character() {
        let bytes = format!("{}€€\n", "x".repeat(LONGEST - 1));
        let (lines, _) = lines(&[bytes.as_bytes()]);
        assert_eq!(lines[0].0.len(), LONGEST - 1);
        assert_eq!(lines[1], ("€€".as_bytes().to_vec(), false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn however_the_input_is_split_the_lines_are_the_same(
            runs in proptest::collection::vec((prop_oneof![Just(b'\n'), Just(b'x'), Just(0x80), Just(0xe2)], 1usize..20_000), 0..8),
            at in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let bytes: Vec<u8> = runs
                .into_iter()
                .flat_map(|(byte, count)| std::iter::repeat_n(byte, if byte == b'\n' { count % 3 } else { count }))
                .collect();
            let mut ends: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
            ends.sort_unstable();
            ends.push(bytes.len());
            let mut start = 0;
            let pieces: Vec<&[u8]> = ends
                .into_iter()
                .map(|end| {
                    let piece = &bytes[start..end];
                    start = end;
                    piece
                })
                .collect();
            prop_assert_eq!(lines(&pieces), lines(&[&bytes]));
            let (all, rest) = lines(&[&bytes]);
            let mut joined = Vec::new();
            for (text, partial) in all {
                joined.extend(text);
                joined.extend((!partial).then_some(b'\n'));
            }
            joined.extend(rest);
            prop_assert_eq!(joined, bytes);
        }
    }
}
