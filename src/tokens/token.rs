//! [`Token`]: what is known of a token, which is everything but the token itself (pure). [`Digest`] stands for it.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::scope::Scope;
use crate::document::name::AppName;

/// What every token but the first begins with, so that scanners of leaked secrets and people know it by its looks.
pub const PREFIX: &str = "ps_";

/// Bytes of randomness in a token.
pub const STRENGTH: usize = 32;

/// Characters of [`STRENGTH`] bytes in Base64 without padding (RFC 4648 §5).
const ENCODED: usize = 43;

/// The id and the name of the token that is in the file `token`.
pub const FIRST: &str = "first";

/// The last use is told to the minute.
const COARSE: i64 = 60;

/// What is kept of a token: its SHA-256. A token has 256 random bits, so nobody finds one for a digest, and the time
/// that a look-up by digest takes tells nothing of use.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let is_hex = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        for (at, byte) in bytes.iter_mut().enumerate().filter(|_| is_hex) {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        is_hex.then_some(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let hex = self.0.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        to.serialize_str(&hex)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(from)?;
        let wanted = || serde::de::Error::custom("a digest must be 64 hexadecimal digits");
        Self::parse(&hex).ok_or_else(wanted)
    }
}

/// Whether `text` is written as the tokens are that this program makes.
#[must_use]
pub fn looks_like_one(text: &[u8]) -> bool {
    let is_digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let rest = text.strip_prefix(PREFIX.as_bytes());
    rest.is_some_and(|rest| rest.len() == ENCODED && rest.iter().all(is_digit))
}

/// What is known of a token.
#[derive(Debug)]
pub struct Token {
    pub id: String,
    /// No other has it.
    pub name: String,
    pub scope: Scope,
    /// The applications that it is for; `None`: all, and the server itself.
    pub apps: Option<Vec<AppName>>,
    /// `None` for the first one, whose file may be anybody's.
    pub created: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub digest: Digest,
    /// Seconds since 1970; 0 when it was never used.
    last_used: AtomicI64,
}

impl Token {
    #[must_use]
    pub fn new(id: String, name: String, scope: Scope, digest: Digest) -> Self {
        Self {
            id,
            name,
            scope,
            apps: None,
            created: None,
            expires: None,
            digest,
            last_used: AtomicI64::new(0),
        }
    }

    /// The one that is in the file `token`.
    #[must_use]
    pub fn first(token: &str) -> Self {
        let digest = Digest::of(token.as_bytes());
        Self::new(FIRST.to_owned(), FIRST.to_owned(), Scope::Admin, digest)
    }

    #[must_use]
    pub fn is_first(&self) -> bool {
        self.id == FIRST
    }

    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it is for this application.
    #[must_use]
    pub fn is_for(&self, app: &str) -> bool {
        let named = |apps: &Vec<AppName>| apps.iter().any(|name| name.as_str() == app);
        self.apps.as_ref().is_none_or(named)
    }

    /// When it was used last, to the minute.
    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_second(seconds).ok())?
    }

    /// Takes over when it was used last.
    pub(super) fn remember_use(&self, at: Option<Timestamp>) {
        self.last_used
            .store(at.map_or(0, Timestamp::as_second), Ordering::Relaxed);
    }

    /// Notes a use. Returns whether that is news, which it is once a minute.
    pub(super) fn note_use(&self, now: Timestamp) -> bool {
        let minute = now.as_second() / COARSE * COARSE;
        self.last_used.swap(minute, Ordering::Relaxed) != minute
    }
}

/// What the API shows of it.
impl Serialize for Token {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            id: &'a str,
            name: &'a str,
            scope: Scope,
            /// `null`: all.
            apps: &'a Option<Vec<AppName>>,
            created: Option<Timestamp>,
            expires: Option<Timestamp>,
            last_used: Option<Timestamp>,
        }
        let shown = Shown {
            id: &self.id,
            name: &self.name,
            scope: self.scope,
            apps: &self.apps,
            created: self.created,
            expires: self.expires,
            last_used: self.last_used(),
        };
        shown.serialize(to)
    }
}

/// A set that grows by one: `Arc`s of the old one are shared.
pub(super) type All = Vec<Arc<Token>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_looks() {
        let token = format!("ps_{}", "aZ0-_".repeat(9).split_at(43).0);
        assert!(looks_like_one(token.as_bytes()), "{token}");
        for other in ["", "ps_", "ps_abc", &token[1..], &format!("{token}a")] {
            assert!(!looks_like_one(other.as_bytes()), "{other}");
        }
        assert!(!looks_like_one(token.replace('-', "+").as_bytes()));
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let token = Token::first("0123456789abcdef");
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(token.last_used(), None);
        assert!(token.note_use(at(999_999_979)));
        assert!(!token.note_use(at(1_000_000_019)));
        assert_eq!(token.last_used(), Some(at(999_999_960)));
        assert!(token.note_use(at(1_000_000_020)));
    }

    #[test]
    fn a_digest_is_kept_as_hexadecimal_digits() {
        let digest = Digest::of(b"a");
        let text = serde_json::to_string(&digest).unwrap();
        assert!(text.starts_with("\"ca978112ca1bbdcafac231b39a23dc4da786eff8"));
        assert!(serde_json::from_str::<Digest>(&text).unwrap() == digest);
        assert!(serde_json::from_str::<Digest>("\"ca97\"").is_err());
    }
}
