//! [`BodyEnd`]: finds the end of a request body that is kept as it came (pure).

use crate::front::http::framing::{BadBody, Decoder, Framing, Piece};

/// Finds the end of a body that comes in pieces of any size.
#[derive(Debug)]
pub struct BodyEnd {
    decoder: Decoder,
    payload: u64,
}

impl BodyEnd {
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            decoder: Decoder::new(framing),
            payload: 0,
        }
    }

    /// Looks at the next bytes. Returns how many of them belong to the body.
    ///
    /// # Errors
    /// [`BadBody`] if it is malformed.
    pub fn look(&mut self, bytes: &[u8]) -> Result<usize, BadBody> {
        let mut at = 0;
        loop {
            match self.decoder.next(&bytes[at..])? {
                Piece::Framing(count) => at += count,
                Piece::Data(count) => {
                    self.payload += count as u64;
                    at += count;
                }
                Piece::More | Piece::End => return Ok(at),
            }
        }
    }

    /// Whether the whole body was looked at.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.decoder.is_done()
    }

    /// Returns the bytes of payload so far.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Returns the bytes of payload that the body has at least, by what its framing announced.
    #[must_use]
    pub fn at_least(&self) -> u64 {
        self.payload.saturating_add(self.decoder.announced())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_in_any_pieces() {
        let whole = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\nGET";
        for size in 1..whole.len() {
            let mut end = BodyEnd::new(Framing::Chunked);
            let found: usize = whole
                .chunks(size)
                .map(|piece| end.look(piece).unwrap())
                .sum();
            assert_eq!((found, end.payload()), (whole.len() - 3, 5), "{size}");
            assert!(end.is_found());
        }
        let mut end = BodyEnd::new(Framing::Length(4));
        assert_eq!(
            (end.look(b"ab"), end.at_least(), end.is_found()),
            (Ok(2), 4, false)
        );
        assert_eq!((end.look(b"cdef"), end.is_found()), (Ok(2), true));
        assert!(BodyEnd::new(Framing::Chunked).look(b"x\r\n").is_err());
    }
}
