//! Numbers of bytes as people write them, `512M` (pure).

use std::ops::RangeInclusive;

const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// The number of bytes that `text` says, if it is one of `range`: `65536`, `64K`, `10M`, `1G` (powers of 1024).
///
/// # Errors
/// A sentence that says what is allowed.
pub fn parse(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.trim_end_matches("IB").trim_end_matches('B');
    let with_unit = UNITS
        .iter()
        .find_map(|(letter, unit)| Some((digits.strip_suffix(*letter)?, *unit)));
    let (digits, unit) = with_unit.unwrap_or((digits, 1));
    let number = digits.trim().parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| {
            format!(
                "\"{text}\" is no size that is allowed here: write a number, with K, M or G if you like (\"512M\"), \
                 from {} to {}",
                shown(*range.start()),
                shown(*range.end())
            )
        })
}

/// Bytes as a person would write them, where that is a whole number of a unit.
#[must_use]
pub fn shown(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((letter, unit)) => format!("{}{letter}", bytes / unit),
        None => bytes.to_string(),
    }
}
