//! [`BodyLength`]: what Content-Length and Transfer-Encoding say together, by RFC 9112 §6 (pure).

use super::field::Name;
use super::fields::Fields;
use super::token::decimal;

/// What Content-Length and Transfer-Encoding say together.
pub(super) struct BodyLength {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
}

impl BodyLength {
    /// Reads both. Content-Length may be repeated with the same number, Transfer-Encoding is one `chunked`, and never
    /// are both there (RFC 9112 §6.1, §6.3).
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, &'static str> {
        let mut length = None;
        let mut chunked = false;
        for field in fields.named(Name::ContentLength) {
            let number = decimal(field.value).ok_or("Content-Length is not a number")?;
            if length.is_some_and(|before| before != number) {
                return Err("two different Content-Lengths");
            }
            length = Some(number);
        }
        for field in fields.named(Name::TransferEncoding) {
            if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding is not exactly \"chunked\"");
            }
            chunked = true;
        }
        if chunked && length.is_some() {
            return Err("both Content-Length and Transfer-Encoding");
        }
        Ok(Self { length, chunked })
    }
}
