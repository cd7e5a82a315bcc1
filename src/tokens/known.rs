//! [`Known`]: the tokens of this server at one moment (pure). It never changes: a new one takes its place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::token::{All, Digest, Token};

/// The tokens of this server at one moment.
#[derive(Debug, Default)]
pub struct Known {
    /// The first one before all others, those in the order in which they were made.
    all: All,
    by_digest: HashMap<Digest, Arc<Token>>,
    /// Tokens that were: no app is sent one.
    revoked: HashSet<Digest>,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    Expired(Timestamp),
}

impl Known {
    #[must_use]
    pub(super) fn new(all: All, revoked: impl IntoIterator<Item = Digest>) -> Self {
        let by_digest = all.iter().map(|token| (token.digest, Arc::clone(token)));
        Self {
            by_digest: by_digest.collect(),
            revoked: revoked.into_iter().collect(),
            all,
        }
    }

    /// All of them, also those that have expired.
    #[must_use]
    pub fn all(&self) -> &[Arc<Token>] {
        &self.all
    }

    /// The one that was `given`, unless its time is over.
    ///
    /// # Errors
    /// Why it opens nothing.
    pub fn find(&self, given: &[u8], now: Timestamp) -> Result<&Arc<Token>, Refusal> {
        let found = self.by_digest.get(&Digest::of(given));
        match found.ok_or(Refusal::Unknown)? {
            token if token.has_expired(now) => Err(Refusal::Expired(token.expires.unwrap_or(now))),
            token => Ok(token),
        }
    }

    /// The one with this digest, unless its time is over.
    #[must_use]
    pub fn of_digest(&self, digest: &Digest, now: Timestamp) -> Option<&Arc<Token>> {
        let found = self.by_digest.get(digest);
        found.filter(|token| !token.has_expired(now))
    }

    /// Whether this very token still opens something.
    #[must_use]
    pub fn is_good(&self, token: &Token, now: Timestamp) -> bool {
        self.by_digest.contains_key(&token.digest) && !token.has_expired(now)
    }

    /// Whether `text` is, or was, a token of this server, whatever it may do.
    #[must_use]
    pub fn is_own(&self, text: &[u8]) -> bool {
        let digest = Digest::of(text);
        self.by_digest.contains_key(&digest) || self.revoked.contains(&digest)
    }
}
