//! [`SshKey`]: a key by which somebody pushes over ssh.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::public_key::PublicKey;
use crate::document::name::AppName;

/// A key by which somebody pushes over ssh. It may deploy, and nothing that takes more.
#[derive(Debug)]
pub struct SshKey {
    /// Letters and digits.
    pub id: String,
    /// No other has it.
    pub name: String,
    /// The applications that it is for; `None`: all.
    pub apps: Option<Vec<AppName>>,
    pub public: PublicKey,
    pub created: Timestamp,
    /// Seconds since 1970; 0 when it was never used.
    last_used: AtomicI64,
}

impl SshKey {
    #[must_use]
    pub fn new(
        id: String,
        name: String,
        apps: Option<Vec<AppName>>,
        public: PublicKey,
        created: Timestamp,
        last_used: Option<Timestamp>,
    ) -> Self {
        Self {
            id,
            name,
            apps,
            public,
            created,
            last_used: AtomicI64::new(last_used.map_or(0, Timestamp::as_second)),
        }
    }

    /// Whether it is for this application.
    #[must_use]
    pub fn is_for(&self, app: &str) -> bool {
        let named = |apps: &Vec<AppName>| apps.iter().any(|name| name.as_str() == app);
        self.apps.as_ref().is_none_or(named)
    }

    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_second(seconds).ok())?
    }

    /// Notes a use, and returns how many seconds have passed since the one before.
    pub(super) fn note_use(&self, now: Timestamp) -> i64 {
        let now = now.as_second();
        (now - self.last_used.swap(now, Ordering::Relaxed)).abs()
    }
}

/// What the API shows of it.
impl Serialize for SshKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            id: &'a str,
            name: &'a str,
            /// `null`: all.
            apps: &'a Option<Vec<AppName>>,
            kind: &'a str,
            fingerprint: String,
            comment: &'a str,
            created: Timestamp,
            last_used: Option<Timestamp>,
        }
        let shown = Shown {
            id: &self.id,
            name: &self.name,
            apps: &self.apps,
            kind: self.public.kind(),
            fingerprint: self.public.fingerprint(),
            comment: &self.public.comment,
            created: self.created,
            last_used: self.last_used(),
        };
        shown.serialize(to)
    }
}
