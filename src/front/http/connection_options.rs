//! The options that Connection lists, by RFC 9110 §7.6.1 (pure).

use super::field::Name;
use super::fields::Fields;

/// Options that Connection may list. Each field is compared with each of them, so more would cost.
const MAX_OPTIONS: usize = 64;

/// Whether Connection lists more than [`MAX_OPTIONS`].
pub(super) fn has_many_options(fields: &Fields<'_>) -> bool {
    let lines = fields.named(Name::Connection);
    let options = lines.flat_map(|f| f.value.split(|b| *b == b','));
    options.take(MAX_OPTIONS + 1).count() > MAX_OPTIONS
}

/// Whether the sender keeps the connection (RFC 9112 §9.3).
pub(super) fn keeps_alive(fields: &Fields<'_>, minor: u8) -> bool {
    !lists(fields, "close") && (minor == 1 || lists(fields, "keep-alive"))
}

pub(super) fn lists(fields: &Fields<'_>, option: &str) -> bool {
    let mut listed = fields.tokens(Name::Connection);
    listed.any(|token| token.eq_ignore_ascii_case(option.as_bytes()))
}
