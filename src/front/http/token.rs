//! Bytes of tokens, and numbers, as fields have them, by RFC 9110 §5.6 (pure).

/// Whether a byte may be in a token (RFC 9110 §5.6.2).
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// One look for each byte of a head.
const TOKEN: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");

/// A table of the bytes that are a letter, a digit or one of `others`.
pub(super) const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Reads digits only: no sign, no overflow.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        let number = number.checked_mul(10)?.checked_add(digit)?;
        (digit < 10).then_some(number)
    })
}
