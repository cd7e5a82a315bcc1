//! [`Table`]: the sessions at one moment (pure). There is a bound for all, and one for each token, so that nobody logs
//! the others out by logging in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tokens::token::Digest;

const MOST: usize = 1000;
const MOST_OF_TOKEN: usize = 20;

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Of what the browser has.
    pub(super) sha256: Digest,
    /// Of the token.
    pub(super) token: Digest,
    pub(super) expires: Timestamp,
}

/// The sessions at one moment, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Vec<Session>);

impl Table {
    pub(super) fn new(mut sessions: Vec<Session>, now: Timestamp) -> Self {
        sessions.retain(|session| session.expires > now);
        // The oldest go, as where one begins.
        sessions.drain(..sessions.len().saturating_sub(MOST));
        Self(sessions)
    }

    pub(super) fn all(&self) -> &[Session] {
        &self.0
    }

    /// A session that is not over.
    pub(super) fn find(&self, secret: &Digest, now: Timestamp) -> Option<&Session> {
        let is_it = |session: &&Session| session.sha256 == *secret && session.expires > now;
        self.0.iter().find(is_it)
    }

    /// Adds one. The oldest of the same token makes room for it, or the oldest of all.
    pub(super) fn begin(&mut self, session: Session, now: Timestamp) {
        self.0.retain(|other| other.expires > now);
        let of_token = |other: &Session| other.token == session.token;
        if self.0.iter().filter(|other| of_token(other)).count() >= MOST_OF_TOKEN {
            let oldest = self.0.iter().position(of_token);
            oldest.map(|at| self.0.remove(at));
        } else if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(session);
    }

    pub(super) fn end(&mut self, secret: &Digest) {
        self.0.retain(|session| session.sha256 != *secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: usize, token: usize) -> Session {
        Session {
            sha256: Digest::of(&number.to_le_bytes()),
            token: Digest::of(&token.to_be_bytes()),
            expires: Timestamp::from_second(1000).unwrap(),
        }
    }

    #[test]
    fn who_logs_in_again_and_again_ends_the_own_sessions_alone() {
        let now = Timestamp::from_second(1).unwrap();
        let mut table = Table::default();
        table.begin(session(0, 0), now);
        (1..500).for_each(|number| table.begin(session(number, 1), now));
        assert_eq!(table.all().len(), 1 + MOST_OF_TOKEN);
        assert!(table.find(&session(0, 0).sha256, now).is_some());
        assert!(table.find(&session(499, 1).sha256, now).is_some());
        assert!(table.find(&session(400, 1).sha256, now).is_none());
        (1..2 * MOST).for_each(|number| table.begin(session(1000 + number, number), now));
        assert_eq!(table.all().len(), MOST);
        // As a file may have them.
        let more = [session(0, 0)]
            .into_iter()
            .chain(table.all().iter().cloned());
        assert_eq!(Table::new(more.collect(), now).all(), table.all());
        let later = Timestamp::from_second(1000).unwrap();
        assert!(Table::new(table.all().to_vec(), later).all().is_empty());
    }
}
