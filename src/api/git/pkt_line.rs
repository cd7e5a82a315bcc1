//! The lines of git's protocol (gitprotocol-common(5)): four hexadecimal digits of length, then the line (pure).

/// The longest line with its length; bytes.
const LONGEST: usize = 65_520;

/// A line, or the end of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pkt {
    Line(Vec<u8>),
    Flush,
}

/// What is wrong with what should be a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no line of git's protocol")]
pub(super) struct BadPkt;

/// The length of the line that four digits announce; `None`: the end of a section.
pub(super) fn length(digits: [u8; 4]) -> Result<Option<usize>, BadPkt> {
    // from_str_radix would take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadPkt);
    }
    let text = std::str::from_utf8(&digits).map_err(|_| BadPkt)?;
    match usize::from_str_radix(text, 16).map_err(|_| BadPkt)? {
        0 => Ok(None),
        whole @ 4..=LONGEST => Ok(Some(whole - 4)),
        _ => Err(BadPkt),
    }
}

/// Writes a line.
pub(super) fn line(text: &str) -> Vec<u8> {
    let mut text = text.as_bytes();
    text = &text[..text.len().min(LONGEST - 4)];
    [format!("{:04x}", text.len() + 4).as_bytes(), text].concat()
}

/// The end of a section.
pub(super) const FLUSH: &[u8] = b"0000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(length(*b"0000"), Ok(None));
        assert_eq!(length(*b"0004"), Ok(Some(0)));
        assert_eq!(length(*b"fff0"), Ok(Some(65_516)));
        for bad in [
            b"0001",
            b"0003",
            b"fff1",
            b"+004",
            b"00 4",
            b"\xff\xff\xff\xff",
        ] {
            assert_eq!(length(*bad), Err(BadPkt));
        }
        assert_eq!(line("ok x"), b"0008ok x");
        assert_eq!(line(&"x".repeat(70_000)).len(), LONGEST);
    }
}
