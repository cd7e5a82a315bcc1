//! [`RequestId`]: identifies a request in the logs, to the app and to the client.

use std::fmt;
use std::ops::Deref;

/// Hexadecimal digits of an id of our own.
const DIGITS: usize = 32;

/// Identifies a request by the client's own id, if that is sane, or else by one of ours, which allocates nothing.
#[derive(Clone)]
pub struct RequestId(Text);

#[derive(Clone)]
enum Text {
    Own([u8; DIGITS]),
    Theirs(Box<str>),
}

impl RequestId {
    /// Makes an id of a number that is given once.
    #[must_use]
    pub fn of(number: u128) -> Self {
        // By hand, since every request needs one and `format!` takes ten times as long.
        let mut digits = [0; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            let hex = |digit: u8| digit + if digit < 10 { b'0' } else { b'a' - 10 };
            pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 0xf)]);
        }
        Self(Text::Own(digits))
    }
}

impl RequestId {
    /// Returns its text, which is plain ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Own(digits) => digits,
            Text::Theirs(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        Self(Text::Theirs(text.into()))
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_our_own_is_the_number_in_hexadecimal() {
        for number in [0, 0xabc, u128::MAX, 0x0123_4567_89ab_cdef << 64 | 9] {
            assert_eq!(RequestId::of(number).to_string(), format!("{number:032x}"));
        }
        assert_eq!(&*RequestId::from("theirs-1"), "theirs-1");
    }
}
