//! [`OwnToken`]: the server's own tokens, which no app is sent (pure).
//!
//! Whoever has one may do things here. A client that sends it to an app does so by mistake: a wrong host, a command
//! copied with another URL.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use crate::tokens::token::looks_like_one;

/// Says of a text that looks like a token whether it is one of this server.
pub type IsOwn = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// The server's own tokens. By default there is none. Cheap to clone.
#[derive(Clone, Default)]
pub struct OwnToken {
    /// The first one, which may look like anything.
    first: Option<Arc<str>>,
    /// The others, also those that open nothing any more.
    others: Option<IsOwn>,
}

impl fmt::Debug for OwnToken {
    /// Leaves the token out: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnToken")
    }
}

impl OwnToken {
    /// Withholds the first token.
    #[must_use]
    pub fn new(first: Arc<str>) -> Self {
        Self {
            first: (!first.is_empty()).then_some(first),
            others: None,
        }
    }

    /// Withholds these too. They are asked about what looks like a token alone: nothing else costs anything.
    #[must_use]
    pub fn and_those(self, others: IsOwn) -> Self {
        Self {
            others: Some(others),
            ..self
        }
    }

    /// Whether a value of `Authorization` carries one: as a whole, behind a scheme, as a parameter, or encoded as user
    /// or password (Basic, RFC 7617).
    #[must_use]
    pub fn is_in(&self, value: &[u8]) -> bool {
        if self.first.is_none() && self.others.is_none() {
            return false;
        }
        // Looks at every part, so that the time tells nothing.
        let plain = parts(value).fold(false, |found, part| found | self.is(part));
        let encoded = words(value).filter_map(base64);
        encoded.fold(plain, |found, decoded| {
            let (user, password) = split(&decoded);
            found | self.is(&decoded) | self.is(user) | self.is(password)
        })
    }

    fn is(&self, text: &[u8]) -> bool {
        let first = self.first.as_deref().map(str::as_bytes);
        let is_first = first.is_some_and(|first| same(text, first));
        let is_other = |others: &IsOwn| looks_like_one(text) && others(text);
        is_first | self.others.as_ref().is_some_and(is_other)
    }
}

/// Returns the whole value, the rest behind each run of blanks, and each word.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let value = value.trim_ascii();
    let pairs = value.windows(2).enumerate();
    let behind = pairs.filter(|(_, pair)| is_blank(pair[0]) && !is_blank(pair[1]));
    let behind = behind.map(|(at, _)| &value[at + 1..]);
    std::iter::once(value).chain(behind).chain(words(value))
}

/// Splits at blanks, commas, semicolons, equals signs and quotes, and once more at blanks and commas alone, for tokens
/// that have such signs themselves.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let coarse = value.split(|b| is_blank(*b) || *b == b',');
    let fine = value.split(|b| is_blank(*b) || b",;=\"'".contains(b));
    coarse.chain(fine).filter(|word| !word.is_empty())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Splits at the first colon.
fn split(decoded: &[u8]) -> (&[u8], &[u8]) {
    let colon = decoded.iter().position(|b| *b == b':');
    let (user, rest) = decoded.split_at(colon.unwrap_or(decoded.len()));
    (user, rest.get(1..).unwrap_or_default())
}

/// Decodes Base64 in either alphabet (RFC 4648 §4 and §5), padded or not. Returns `None` for anything else.
fn base64(word: &[u8]) -> Option<Vec<u8>> {
    let padding = word.iter().rev().take_while(|b| **b == b'=').count();
    let word = &word[..word.len() - padding];
    let mut decoded = Vec::with_capacity(word.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in word {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(decoded)
}

/// Compares all bytes, so that the time does not tell where they differ. The length is no secret.
fn same(given: &[u8], token: &[u8]) -> bool {
    let pairs = given.iter().zip(token);
    given.len() == token.len() && black_box(pairs.fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn is_in(value: &str) -> bool {
        OwnToken::new(TOKEN.into()).is_in(value.as_bytes())
    }

    #[test]
    fn it_is_found_in_whatever_form_it_is_sent() {
        for value in [
            "Bearer 0123456789abcdef",
            "bEARER  \t 0123456789abcdef ",
            "0123456789abcdef",
            "Token token=\"0123456789abcdef\", x=y",
            "Bearer x, Bearer 0123456789abcdef",
            // me:TOKEN, TOKEN:, TOKEN without a colon, without padding.
            "Basic bWU6MDEyMzQ1Njc4OWFiY2RlZg==",
            "basic MDEyMzQ1Njc4OWFiY2RlZjo=",
            "Basic MDEyMzQ1Njc4OWFiY2RlZg==",
            "Basic bWU6MDEyMzQ1Njc4OWFiY2RlZg",
        ] {
            assert!(is_in(value), "{value}");
        }
    }

    #[test]
    fn nothing_else_is_it() {
        for value in [
            "",
            "Bearer",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789ABCDEF",
            "Basic bWU6c2VjcmV0",
            "Basic !",
        ] {
            assert!(!is_in(value), "{value}");
        }
        assert!(!OwnToken::default().is_in(b"Bearer "));
        assert!(!OwnToken::new("".into()).is_in(b""));
    }

    #[test]
    fn a_token_with_odd_signs_is_found_too() {
        let token = OwnToken::new("a=b;c\"d,e'f:g/h+i".into());
        assert!(token.is_in(b"Bearer a=b;c\"d,e'f:g/h+i"));
        assert!(!format!("{token:?}").contains("a=b"));
    }

    #[test]
    fn other_tokens_are_found_where_they_look_like_one_and_nobody_is_asked_about_the_rest() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let token = format!("ps_{}", "Az0-_aB".repeat(7).split_at(43).0);
        let asked = Arc::new(AtomicUsize::new(0));
        let (known, count) = (token.clone(), Arc::clone(&asked));
        let own = OwnToken::new(TOKEN.into()).and_those(Arc::new(move |text| {
            count.fetch_add(1, Ordering::Relaxed);
            text == known.as_bytes()
        }));
        for value in [
            "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
            "Basic bWU6c2VjcmV0",
            "ps_x",
        ] {
            assert!(!own.is_in(value.as_bytes()), "{value}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert!(own.is_in(format!("Bearer {token}").as_bytes()));
        assert!(!own.is_in(format!("Bearer {}", token.replace('B', "C")).as_bytes()));
        assert!(own.is_in(format!("Bearer {TOKEN}").as_bytes()));
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("git:{token}"));
        assert!(own.is_in(format!("Basic {basic}").as_bytes()));
    }

    proptest! {
        #[test]
        fn what_is_said_in_basic_is_found(user in "[ -9;-~]{0,9}", token in "[!-~]{16,40}", url in any::<bool>()) {
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let text = format!("{user}:{token}");
            let encoded: String = text.as_bytes().chunks(3).flat_map(|three| {
                let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
                let bits = at(0) << 16 | at(1) << 8 | at(2);
                let digits = (0..=three.len()).map(move |n| DIGITS[(bits >> (18 - 6 * n) & 63) as usize] as char);
                digits.collect::<Vec<_>>()
            }).collect();
            let encoded = if url { encoded.replace('+', "-").replace('/', "_") } else { encoded };
            let own = OwnToken::new(token.as_str().into());
            let basic = format!("Basic {encoded}");
            prop_assert!(own.is_in(basic.as_bytes()));
        }
    }
}
