//! Finds the end of a head in the bytes that came so far, by RFC 9112 §2 (pure).

use std::sync::LazyLock;

use memchr::memmem;

use super::head::{MAX_LINE, Refusal};
use super::parse::check_request_line;
use super::token::is_token;

/// Looks for the blank line that ends a head. `seen` bytes were looked at before. Returns the length of the head with
/// its blank line, if that is there.
///
/// # Errors
/// A text when the bytes can be no head: a CR or LF that is not part of a CRLF, or a NUL.
pub fn find_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, &'static str> {
    // Three bytes of the blank line may have come before.
    let seen = seen.min(bytes.len());
    let from = seen.saturating_sub(BLANK.len() - 1);
    let end = BLANK_LINE
        .find(&bytes[from..])
        .map(|at| from + at + BLANK.len());
    // The last byte of either part may be a CR whose LF comes later.
    let from = seen - usize::from(bytes[..seen].ends_with(b"\r"));
    let until = end.unwrap_or(bytes.len() - usize::from(bytes.ends_with(b"\r")));
    match bytes.get(from..until).is_none_or(has_whole_lines) {
        true => Ok(end),
        false => Err(first_fault(bytes)),
    }
}

/// Looks for the end of a request head as [`find_end`] does, and refuses early what can be none.
///
/// # Errors
/// [`Refusal`] of bytes that begin no request, or a head of more than `limit` bytes.
pub fn find_request_end(bytes: &[u8], seen: usize, limit: usize) -> Result<Option<usize>, Refusal> {
    // The first byte tells what is not HTTP at all, such as TLS. A lone CR may be half of an empty line.
    if bytes.first().is_some_and(|b| !is_token(*b)) && bytes != b"\r" {
        return Err(Refusal::Malformed("it does not begin with a method"));
    }
    let end = find_end(bytes, seen).map_err(Refusal::Malformed)?;
    if let Some(end) = end {
        return if end <= limit {
            Ok(Some(end))
        } else {
            Err(Refusal::TooLarge)
        };
    }
    // A bad request line is refused before fields come. HTTP/0.9 has none to wait for.
    let line = bytes.iter().position(|b| *b == b'\r');
    if let Some(line) = line.filter(|line| *line > 0 && *line >= seen) {
        check_request_line(&bytes[..line])?;
    }
    let too_long = bytes.len() >= limit.min(MAX_LINE);
    if too_long && line.is_none() {
        return Err(Refusal::Target);
    }
    if bytes.len() >= limit {
        Err(Refusal::TooLarge)
    } else {
        Ok(None)
    }
}

/// Looks for the end of a response head: applications that end their lines with LF alone are read as they mean it (RFC
/// 9112 §2.2). It is written anew, so nobody else sees them.
///
/// # Errors
/// A text when the bytes can be no head: a CR that is not part of a CRLF, or a NUL.
pub fn find_response_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, &'static str> {
    // Two bytes of the blank line may have come before.
    let from = seen.min(bytes.len()).saturating_sub(2);
    let blank = |at: usize| {
        let line = &bytes[from + at + 1..];
        let length = match line {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        Some(from + at + 1 + length)
    };
    let end = memchr::memchr_iter(b'\n', &bytes[from..]).find_map(blank);
    let until = end.unwrap_or(bytes.len());
    let wrong = |(b, next): (&u8, &u8)| ((*b == b'\r') & (*next != b'\n')) | (*b == 0);
    let looked = &bytes[from..until];
    let pairs = looked.iter().zip(looked.get(1..).unwrap_or_default());
    let found = pairs.fold(false, |found, pair| found | wrong(pair));
    match found || looked.last() == Some(&0) {
        true => Err("a NUL byte, or a carriage return without LF"),
        false => Ok(end),
    }
}

const BLANK: &[u8] = b"\r\n\r\n";

static BLANK_LINE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(BLANK));

/// Whether each CR comes before an LF, each LF after a CR, and there is no NUL. Without an early end, so that the
/// compiler looks at many bytes at once.
fn has_whole_lines(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return true;
    };
    let wrong = |(b, next): (&u8, &u8)| ((*b == b'\r') != (*next == b'\n')) | (*b == 0);
    let pairs = bytes.iter().zip(&bytes[1..]);
    let found = pairs.fold(false, |found, pair| found | wrong(pair));
    !found && *first != b'\n' && !matches!(last, b'\r' | 0)
}

/// Returns the first fault, so that the answer does not depend on the pieces in which the bytes came.
fn first_fault(bytes: &[u8]) -> &'static str {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            0 => return "a NUL byte",
            b'\n' if !bytes[..at].ends_with(b"\r") => return "a line feed without CR",
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => break,
            _ => {}
        }
    }
    "a carriage return without LF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_head_is_told_early() {
        let tls = find_request_end(b"\x16\x03\x01", 0, 1 << 16);
        assert!(matches!(tls, Err(Refusal::Malformed(_))));
        assert_eq!(find_request_end(b"\r", 0, 1 << 16), Ok(None));
        let old = find_request_end(b"GET /\r\n", 0, 1 << 16);
        assert!(matches!(old, Err(Refusal::Malformed(_))));
        assert_eq!(find_request_end(b"GET / HTTP/1.1\r", 0, 1 << 16), Ok(None));
        assert_eq!(
            find_request_end(&[b'a'; 17_000], 0, 1 << 16),
            Err(Refusal::Target)
        );
        // In one piece or not.
        let long = [&[b'a'; 17_000], &b" / HTTP/1.1\r\n"[..]].concat();
        assert_eq!(find_request_end(&long, 0, 1 << 16), Err(Refusal::Target));
        assert_eq!(
            find_request_end(b"GET / HTTP/1.1\r\n\r\n", 0, 17),
            Err(Refusal::TooLarge)
        );
    }
}
