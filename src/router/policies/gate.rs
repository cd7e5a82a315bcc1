//! [`Gate`]: who is let in by a user's name and password, and who has failed.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::limiter::Limiter;
use crate::document::policies::BasicAuth;
use crate::document::policies::rate::Rate;

/// Credentials that are remembered as right. Only right ones are, so there are seldom more than users.
const KNOWN: usize = 1024;

/// Wrong passwords of an address, which is what the API allows, too.
const FAILURES: Rate = Rate {
    requests: 10,
    per: Duration::from_mins(1),
    burst: 10,
};

/// What a client says it is. Never shown.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: Vec<u8>,
}

/// Tells credentials apart, for one gate.
pub type Fingerprint = [u8; 32];

/// Lets users in by their passwords. All workers remember in it whose password was right, since a hash takes long.
pub struct Gate {
    auth: BasicAuth,
    /// Makes fingerprints useless to who reads memory that is not this.
    salt: [u8; 32],
    known: Mutex<HashSet<Fingerprint>>,
    failures: Limiter,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    #[must_use]
    pub fn new(auth: BasicAuth) -> Self {
        let mut salt = [0; 32];
        // Without chance no fingerprint leaves this process either.
        let _ = getrandom::fill(&mut salt);
        Self {
            auth,
            salt,
            known: Mutex::default(),
            failures: Limiter::new(FAILURES),
        }
    }

    /// What a browser says that the password is for.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.auth.realm
    }

    /// Whether these were found to be right before.
    #[must_use]
    pub fn knows(&self, credentials: &Credentials) -> bool {
        let fingerprint = self.fingerprint(credentials);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&fingerprint)
    }

    /// Whether these are right, which is remembered. Takes as long as a hash does, also where there is no such user.
    #[must_use]
    pub fn lets_in(&self, credentials: &Credentials) -> bool {
        let users = &self.auth.users;
        let hash = users.get(&credentials.user);
        let is_right = match hash {
            Some(hash) => hash.is_of(&credentials.password),
            None => {
                // As much work as for a user that is there; it is the same one each time.
                let at =
                    usize::from(self.fingerprint_of_name(&credentials.user)) % users.len().max(1);
                let other = users.values().nth(at);
                let _ = other.map(|hash| std::hint::black_box(hash.is_of(&credentials.password)));
                false
            }
        };
        if is_right {
            let fingerprint = self.fingerprint(credentials);
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(fingerprint);
        }
        is_right
    }

    /// Whether this address may try.
    ///
    /// # Errors
    /// It was wrong too often, and may try again after this time.
    pub fn may_try(&self, client: IpAddr) -> Result<(), Duration> {
        self.failures.look(client)
    }

    /// Counts an attempt of this address as wrong, before it is looked at.
    ///
    /// # Errors
    /// As [`Self::may_try`].
    pub fn counts(&self, client: IpAddr) -> Result<(), Duration> {
        self.failures.take(client)
    }

    /// Takes that back, since it was right.
    pub fn takes_back(&self, client: IpAddr) {
        self.failures.give_back(client);
    }

    #[must_use]
    pub fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        let digest = Sha256::new()
            .chain_update(self.salt)
            .chain_update((credentials.user.len() as u64).to_be_bytes())
            .chain_update(&credentials.user)
            .chain_update(&credentials.password);
        digest.finalize().into()
    }

    fn fingerprint_of_name(&self, name: &str) -> u16 {
        let digest = Sha256::new().chain_update(self.salt).chain_update(name);
        let digest = digest.finalize();
        u16::from_be_bytes([digest[0], digest[1]])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::policies::password_hash::PasswordHash;

    fn gate() -> Gate {
        let hash = "$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC";
        let hash = PasswordHash::parse(hash).unwrap();
        Gate::new(BasicAuth {
            realm: "a".into(),
            users: BTreeMap::from([("ann".to_owned(), hash)]),
        })
    }

    fn said(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.into(),
            password: password.into(),
        }
    }

    #[test]
    fn right_credentials_are_remembered_and_wrong_ones_are_not() {
        let gate = gate();
        let right = said("ann", "sesame");
        assert!(!gate.knows(&right));
        assert!(gate.lets_in(&right) && gate.knows(&right));
        for wrong in [
            said("ann", "sesam"),
            said("bob", "sesame"),
            said("", ""),
            said("anns", "esame"),
        ] {
            assert!(!gate.lets_in(&wrong) && !gate.knows(&wrong));
        }
        assert!(!format!("{gate:?}").contains("ann"));
    }

    #[test]
    fn who_is_wrong_ten_times_waits() {
        let (gate, client) = (gate(), [192, 0, 2, 1].into());
        for _ in 0..10 {
            assert!(gate.may_try(client).is_ok());
            assert!(gate.counts(client).is_ok());
        }
        assert!(gate.may_try(client).is_err() && gate.counts(client).is_err());
        assert!(gate.may_try([192, 0, 2, 2].into()).is_ok());
    }

    #[test]
    fn who_is_right_waits_for_nothing_however_often_he_asks() {
        let (gate, client) = (gate(), [192, 0, 2, 1].into());
        for _ in 0..9 {
            assert!(gate.counts(client).is_ok());
        }
        for _ in 0..50 {
            assert!(gate.counts(client).is_ok());
            gate.takes_back(client);
        }
        // The wrong ones before are not forgotten.
        assert!(gate.counts(client).is_ok() && gate.counts(client).is_err());
    }
}
