//! [`Decoder`]: takes message bodies apart, by Content-Length, chunked, or until close (pure).
//!
//! It never looks back and keeps only numbers and trailers. The bytes stay in the caller's buffer, and the decoder says
//! how many of them are framing and how many are payload.

/// Bytes that chunk extensions and the trailer section of a message may have together.
const OVERHEAD_LIMIT: usize = 16 * 1024;

/// How a body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// This many bytes, at least one.
    Length(u64),
    Chunked,
    /// Everything until the sender closes. Only responses have it.
    UntilClose,
}

impl Framing {
    /// Makes it of a Content-Length. No bytes are no body.
    #[must_use]
    pub fn length(bytes: u64) -> Self {
        if bytes == 0 {
            Self::Empty
        } else {
            Self::Length(bytes)
        }
    }
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed body: {0}")]
pub struct BadBody(pub &'static str);

/// What is at the front of the input, and what the caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This many bytes of framing: drop them and ask again.
    Framing(usize),
    /// This many bytes of payload: use them, drop them and ask again.
    Data(usize),
    /// Nothing yet: ask again with more input.
    More,
    /// The body is complete; what follows is not part of it.
    End,
}

/// Takes a body apart that comes in pieces of any size.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Blanks may come behind a chunk size.
    blanks: bool,
    /// Bytes of extensions and trailers so far.
    overhead: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    /// In the digits of a chunk size: their value and count.
    Size(u64, u8),
    Extension(u64),
    Blanks(u64),
    SizeLf(u64),
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// In the trailer section, up to its blank line.
    Trailers,
    End,
}

impl Decoder {
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::End,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            blanks: false,
            overhead: 0,
            trailers: Vec::new(),
        }
    }

    /// Takes the body of a response apart. Some applications pad chunk sizes with blanks, which is safe to allow where
    /// nobody but us reads them.
    #[must_use]
    pub fn of_response(framing: Framing) -> Self {
        Self {
            blanks: true,
            ..Self::new(framing)
        }
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// Whether the body says at its beginning how long it is.
    #[must_use]
    pub fn knows_length(&self) -> bool {
        matches!(self.state, State::Length(_))
    }

    /// Whether the body is complete when the sender closes now.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::End | State::UntilClose)
    }

    /// Returns the bytes of payload that must still come: of the body, or of the chunk of a chunked one.
    #[must_use]
    pub fn announced(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Chunk(left) => left,
            State::Size(..) | State::Extension(_) | State::Blanks(_) | State::SizeLf(_) => 0,
            State::ChunkCr | State::ChunkLf | State::Trailers => 0,
            State::UntilClose | State::End => 0,
        }
    }

    /// Returns the trailer section with its blank line, once the body is complete. It is empty if there was none.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        if self.trailers.len() > 2 {
            &self.trailers
        } else {
            &[]
        }
    }

    /// Says what is at the front of `input`. The caller drops as many bytes as the answer says before it asks again.
    ///
    /// # Errors
    /// [`BadBody`] for chunks that are not exactly as RFC 9112 §7.1 has them.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, BadBody> {
        match self.state {
            State::End => Ok(Piece::End),
            _ if input.is_empty() => Ok(Piece::More),
            State::UntilClose => Ok(Piece::Data(input.len())),
            State::Length(left) => Ok(self.payload(left, input, State::End, State::Length)),
            State::Chunk(left) => Ok(self.payload(left, input, State::ChunkCr, State::Chunk)),
            _ => {
                let mut used = 0;
                while used < input.len() && !matches!(self.state, State::Chunk(_) | State::End) {
                    self.framing_byte(input[used])?;
                    used += 1;
                }
                Ok(Piece::Framing(used))
            }
        }
    }

    fn payload(
        &mut self,
        left: u64,
        input: &[u8],
        after: State,
        within: fn(u64) -> State,
    ) -> Piece {
        let take = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let left = left - take as u64;
        self.state = if left == 0 { after } else { within(left) };
        Piece::Data(take)
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), BadBody> {
        self.state = match (self.state, byte) {
            (State::Size(_, 16), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return Err(BadBody("a chunk size is too large"));
            }
            (State::Size(size, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                State::Size((size << 4) | u64::from(digit), digits + 1)
            }
            (State::Size(size, 1..), b'\r') | (State::Extension(size), b'\r') => {
                State::SizeLf(size)
            }
            (State::Size(size, 1..) | State::Blanks(size), b' ' | b'\t') if self.blanks => {
                self.count_overhead()?;
                State::Blanks(size)
            }
            (State::Blanks(size), b'\r') => State::SizeLf(size),
            (State::Size(size, 1..) | State::Blanks(size), b';') => State::Extension(size),
            (State::Size(..) | State::Blanks(_), _) => {
                return Err(BadBody("a chunk size is not a hexadecimal number"));
            }
            (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_overhead()?;
                State::Extension(size)
            }
            (State::Extension(_), _) => return Err(BadBody("a chunk extension is invalid")),
            (State::SizeLf(0), b'\n') => State::Trailers,
            (State::SizeLf(size), b'\n') => State::Chunk(size),
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::Size(0, 0),
            (State::Trailers, _) => self.trailer_byte(byte)?,
            _ => return Err(BadBody("a chunk is longer or shorter than it says")),
        };
        Ok(())
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, BadBody> {
        self.count_overhead()?;
        let before = self.trailers.last().copied();
        if (byte == b'\n') != (before == Some(b'\r')) {
            return Err(BadBody(
                "a line of the trailer section does not end with CRLF",
            ));
        }
        self.trailers.push(byte);
        let ended = self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n");
        Ok(if ended { State::End } else { State::Trailers })
    }

    fn count_overhead(&mut self) -> Result<(), BadBody> {
        self.overhead += 1;
        let within = self.overhead <= OVERHEAD_LIMIT;
        within
            .then_some(())
            .ok_or(BadBody("too many chunk extensions or trailers"))
    }
}

/// Writes the line before a chunk of `payload` bytes.
pub fn chunk_head(out: &mut Vec<u8>, payload: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - payload.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(DIGITS[(payload >> (4 * digit)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Payload and unread rest, with the input given in pieces of these sizes (then byte by byte).
    fn decode(
        framing: Framing,
        input: &[u8],
        sizes: &[usize],
    ) -> Result<(Vec<u8>, usize, bool), BadBody> {
        let mut decoder = Decoder::new(framing);
        let mut sizes = sizes.iter();
        let (mut payload, mut at, mut end) = (Vec::new(), 0, 0);
        loop {
            match decoder.next(&input[at..end])? {
                Piece::Framing(n) => at += n,
                Piece::Data(n) => {
                    payload.extend_from_slice(&input[at..at + n]);
                    at += n;
                }
                Piece::End => return Ok((payload, at, true)),
                Piece::More if end == input.len() => return Ok((payload, at, decoder.may_end())),
                Piece::More => end = (end + sizes.next().unwrap_or(&1).max(&1)).min(input.len()),
            }
        }
    }

    fn chunked(input: &str) -> Result<(Vec<u8>, usize, bool), BadBody> {
        decode(Framing::Chunked, input.as_bytes(), &[input.len()])
    }

    #[test]
    fn chunks_become_payload() {
        assert_eq!(
            chunked("3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\n\r\nGET"),
            Ok((b"abc0123456789".to_vec(), 35, true))
        );
        assert_eq!(chunked("3\r\nab").map(|r| r.2), Ok(false));
        let mut decoder = Decoder::new(Framing::Chunked);
        assert_eq!(decoder.next(b"0\r\nA: b\r\n\r\n"), Ok(Piece::Framing(11)));
        assert_eq!(decoder.trailers(), b"A: b\r\n\r\n");
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "+3\r\nabc",
            "-3\r\nabc",
            "0x3\r\nabc",
            " 3\r\nabc",
            "3 \r\nabc",
            "3\nabc",
            "\r\n",
            "g\r\n",
            ";x\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "11111111111111111\r\n",
            "3;\u{1}\r\n",
            "3;\nabc",
            "3\rabc",
            "3\r\nabc0\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\n\n",
            "3 ;x\r\nabc",
        ] {
            assert!(chunked(bad).is_err(), "{bad:?}");
        }
        let endless = format!("3;{}", "x".repeat(OVERHEAD_LIMIT + 1));
        assert!(chunked(&endless).is_err());
    }

    #[test]
    fn blanks_behind_a_chunk_size_are_an_applications_only() {
        for text in ["3 \r\nabc\r\n0 \t \r\n\r\n", "3 ;x\r\nabc\r\n0\r\n\r\n"] {
            let mut decoder = Decoder::of_response(Framing::Chunked);
            let (mut at, mut payload) = (0, Vec::new());
            loop {
                match decoder.next(&text.as_bytes()[at..]).unwrap() {
                    Piece::Framing(n) => at += n,
                    Piece::Data(n) => {
                        payload.extend_from_slice(&text.as_bytes()[at..at + n]);
                        at += n;
                    }
                    Piece::More => panic!("{text:?} is whole"),
                    Piece::End => break,
                }
            }
            assert_eq!((payload.as_slice(), at), (&b"abc"[..], text.len()));
        }
        for bad in [" 3\r\nabc", "3 4\r\nabc", "3 \nabc"] {
            let mut decoder = Decoder::of_response(Framing::Chunked);
            assert!(decoder.next(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lengths_and_until_close() {
        assert_eq!(
            decode(Framing::Length(3), b"abcd", &[4]),
            Ok((b"abc".to_vec(), 3, true))
        );
        assert_eq!(
            decode(Framing::Length(3), b"ab", &[2]),
            Ok((b"ab".to_vec(), 2, false))
        );
        assert_eq!(
            decode(Framing::UntilClose, b"ab", &[1]),
            Ok((b"ab".to_vec(), 2, true))
        );
        assert_eq!(
            decode(Framing::Empty, b"ab", &[1]),
            Ok((Vec::new(), 0, true))
        );
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(text in "([0-3]{1,2}|;a|\r\n|abc|\n|0\r\n\r\n){0,12}", sizes in proptest::collection::vec(1usize..9, 0..20)) {
            let whole = decode(Framing::Chunked, text.as_bytes(), &[text.len()]);
            prop_assert_eq!(decode(Framing::Chunked, text.as_bytes(), &sizes), whole);
        }

        #[test]
        fn what_is_framed_is_decoded_again(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6), sizes in proptest::collection::vec(1usize..99, 0..20)) {
            let mut framed = Vec::new();
            for piece in &pieces {
                chunk_head(&mut framed, piece.len());
                framed.extend_from_slice(piece);
                framed.extend_from_slice(b"\r\n");
            }
            framed.extend_from_slice(b"0\r\n\r\n");
            let length = framed.len();
            framed.extend_from_slice(b"next");
            prop_assert_eq!(decode(Framing::Chunked, &framed, &sizes), Ok((pieces.concat(), length, true)));
        }
    }
}
