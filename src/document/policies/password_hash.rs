//! [`PasswordHash`]: the hash of a password in the field `auth` (pure).

use std::fmt;

use argon2::{Algorithm, Argon2, PasswordVerifier as _};

/// The most that each attempt may cost: rounds of bcrypt, as a power of two, and memory (KiB) and passes of argon2.
const BCRYPT_COST: u32 = 14;
const ARGON2_MEMORY: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 10;
const ARGON2_LANES: u32 = 16;

/// Bytes of a hash as it is written.
const LONGEST: usize = 256;

/// The hash of a password, known to be well formed and not to cost more than it may.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    Argon2,
}

impl fmt::Debug for PasswordHash {
    /// Without the hash: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Reads `$2b$…` (or `$2y$`, `$2a$`), as `htpasswd -B` writes it, or `$argon2id$…`.
    ///
    /// # Errors
    /// A sentence that says what is allowed, without what was given: that may be the password itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kind = match text.split('$').nth(1) {
            _ if text.len() > LONGEST => None,
            Some("2a" | "2b" | "2y") if text.starts_with('$') => {
                check_bcrypt(text)?;
                Some(Kind::Bcrypt)
            }
            Some("argon2id" | "argon2i") if text.starts_with('$') => {
                check_argon2(text)?;
                Some(Kind::Argon2)
            }
            _ => None,
        };
        let kind = kind.ok_or(
            "is no hash of a password: \"procserver hash\" makes one, or \"htpasswd -nB USER\"; bcrypt ($2b$…, $2y$…) and \
             argon2id are understood, and the password itself never belongs here",
        )?;
        Ok(Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// Makes the hash of a password with bcrypt, which takes a twentieth of a second or so. `salt` is random.
    ///
    /// # Errors
    /// A sentence: bcrypt looks at 72 bytes and at nothing behind a zero.
    pub fn of(password: &str, salt: [u8; 16]) -> Result<String, String> {
        const COST: u32 = 10;
        if password.len() > 72 || password.contains('\0') {
            return Err("a password has at most 72 bytes, none of them zero".to_owned());
        }
        let parts = bcrypt::hash_with_salt(password, COST, salt);
        let parts = parts.map_err(|error| error.to_string())?;
        Ok(parts.format_for_version(bcrypt::Version::TwoB))
    }

    /// Whether it is the hash of this password. Takes long: that is its purpose.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2 => argon2::PasswordHash::new(&self.text).is_ok_and(|hash| {
                let known = Argon2::default();
                known.verify_password(password, &hash).is_ok()
            }),
        }
    }

    /// What it is written as.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn check_bcrypt(text: &str) -> Result<(), String> {
    let broken = "is a broken hash of bcrypt: it is $2b$, two digits, $, and 53 characters";
    let parts = text.parse::<bcrypt::HashParts>();
    let cost = parts.map_err(|_| broken.to_owned())?.get_cost();
    let is_whole = text.len() == 60 && text.is_ascii();
    if !is_whole || cost < 4 {
        return Err(broken.to_owned());
    }
    if cost > BCRYPT_COST {
        return Err(format!(
            "is a hash of bcrypt with cost {cost}, which takes seconds for each attempt: at most {BCRYPT_COST} is allowed"
        ));
    }
    Ok(())
}

fn check_argon2(text: &str) -> Result<(), String> {
    let broken = |why: &dyn fmt::Display| format!("is a broken hash of argon2: {why}");
    let hash = argon2::PasswordHash::new(text).map_err(|error| broken(&error))?;
    let parameters = argon2::Params::try_from(&hash).map_err(|error| broken(&error))?;
    Algorithm::try_from(hash.algorithm).map_err(|error| broken(&error))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(broken(&"it has no salt or no hash"));
    }
    let costs = (
        parameters.m_cost(),
        parameters.t_cost(),
        parameters.p_cost(),
    );
    if costs.0 > ARGON2_MEMORY || costs.1 > ARGON2_PASSES || costs.2 > ARGON2_LANES {
        return Err(format!(
            "is a hash of argon2 with m={}, t={}, p={}: at most m={ARGON2_MEMORY} (KiB), t={ARGON2_PASSES}, \
             p={ARGON2_LANES} are allowed, since everybody may try",
            costs.0, costs.1, costs.2
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What crypt(3) and the reference implementation of argon2 make of "sesame".
    const OTHERS: [&str; 2] = [
        "$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC",
        "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHQ$YZoTpOEp7Jw2FteS5uDkeH1IeTRg40rUwrH8dcyu4fE",
    ];

    #[test]
    fn a_hash_is_of_one_password() {
        let made = PasswordHash::of("sesame", *b"0123456789abcdef").unwrap();
        let hash = PasswordHash::parse(&made).unwrap();
        assert!(hash.is_of(b"sesame"));
        assert!(!hash.is_of(b"Sesame") && !hash.is_of(b"") && !hash.is_of(&[b'a'; 5000]));
        assert!(!format!("{hash:?}").contains('$'));
        assert!(PasswordHash::of(&"a".repeat(73), [0; 16]).is_err());
    }

    #[test]
    fn hashes_of_others_are_understood() {
        for text in OTHERS {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.is_of(b"sesame") && !hash.is_of(b"sesam"), "{text}");
        }
    }

    #[test]
    fn what_costs_too_much_or_is_none_is_refused_without_being_shown() {
        let body = &OTHERS[0][7..];
        let argon2 = |costs: &str| {
            format!(
                "$argon2id$v=19${costs}$c2FsdHNhbHQ$YZoTpOEp7Jw2FteS5uDkeH1IeTRg40rUwrH8dcyu4fE"
            )
        };
        for (text, part) in [
            ("sesame".to_owned(), "procserver hash"),
            (String::new(), "procserver hash"),
            ("{SHA}abc".to_owned(), "procserver hash"),
            ("$apr1$abc$def".to_owned(), "procserver hash"),
            ("x$2b$10$abc".to_owned(), "procserver hash"),
            (format!("$2y$15${body}"), "cost 15"),
            (format!("$2y$31${body}"), "cost 31"),
            (format!("$2y$03${body}"), "broken"),
            (format!("$2y$10${}", &body[1..]), "broken"),
            ("$2y$".to_owned(), "broken"),
            (argon2("m=65537,t=1,p=1"), "m=65537"),
            (argon2("m=256,t=11,p=1"), "t=11"),
            (argon2("m=256,t=1"), "argon2"),
            (
                "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHQ".to_owned(),
                "broken",
            ),
        ] {
            match PasswordHash::parse(&text) {
                Err(error) => {
                    assert!(error.contains(part), "{text}: {error}");
                    assert!(text.is_empty() || !error.contains(&text), "{error}");
                }
                // Argon2 without a number of lanes has the default.
                Ok(_) => assert!(text.contains("m=256,t=1$"), "{text}"),
            }
        }
    }
}
