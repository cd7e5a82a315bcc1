//! What the file of tokens holds (pure): digests, never a token.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::token::{All, Digest, Token};
use crate::document::name::AppName;

/// The version of the file that is written.
pub(super) const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) version: u64,
    #[serde(default)]
    first_last_used: Option<Timestamp>,
    tokens: Vec<StoredToken>,
    #[serde(default)]
    pub(super) revoked: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    id: String,
    name: String,
    scope: Scope,
    apps: Option<Vec<String>>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    last_used: Option<Timestamp>,
    sha256: Digest,
}

/// Just enough to tell which version a file has.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub(super) version: u64,
}

impl Stored {
    pub(super) fn of(all: &[Arc<Token>], revoked: Vec<Digest>) -> Self {
        let first = all.iter().find(|token| token.is_first());
        let others = all.iter().filter(|token| !token.is_first());
        let tokens = others.map(|token| StoredToken {
            id: token.id.clone(),
            name: token.name.clone(),
            scope: token.scope,
            apps: token
                .apps
                .as_ref()
                .map(|apps| apps.iter().map(ToString::to_string).collect()),
            created: token.created,
            expires: token.expires,
            last_used: token.last_used(),
            sha256: token.digest,
        });
        Self {
            version: VERSION,
            first_last_used: first.and_then(|token| token.last_used()),
            tokens: tokens.collect(),
            revoked,
        }
    }

    /// The tokens, behind the `first` one. A name that cannot be an application's is nobody's.
    pub(super) fn into_tokens(self, first: Token) -> All {
        first.remember_use(self.first_last_used);
        let others = self.tokens.into_iter().map(|stored| {
            let mut token = Token::new(stored.id, stored.name, stored.scope, stored.sha256);
            let known = |apps: Vec<String>| {
                let names = apps.iter().filter_map(|name| AppName::parse(name).ok());
                names.collect()
            };
            token.apps = stored.apps.map(known);
            token.created = stored.created;
            token.expires = stored.expires;
            token.remember_use(stored.last_used);
            token
        });
        std::iter::once(first).chain(others).map(Arc::new).collect()
    }
}
