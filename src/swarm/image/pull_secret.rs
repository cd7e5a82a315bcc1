//! [`PullSecret`]: the password with which nodes fetch the images of one application, and nothing else.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use crate::{durable, regular};

/// Bytes of randomness.
const STRENGTH: usize = 32;

/// Bytes of a file with one.
const LARGEST: u64 = 100;

/// The password of one application's images.
#[derive(Clone, PartialEq, Eq)]
pub struct PullSecret(String);

impl PullSecret {
    /// That of the file at `path`; `None`: there is none. Blocks.
    ///
    /// # Errors
    /// As [`regular::read_nofollow`].
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = regular::read_nofollow(path, LARGEST)?;
        let text = text.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        // A file that a full disk left empty opens nothing.
        Ok(text.filter(|text| text.len() >= STRENGTH).map(Self))
    }

    /// That of the file at `path`, which is made where there is none. Blocks.
    ///
    /// # Errors
    /// As [`durable::replace`]; the kernel has no random bytes.
    pub fn read_or_make(path: &Path) -> io::Result<Self> {
        if let Some(known) = Self::read(path)? {
            return Ok(known);
        }
        let mut random = [0; STRENGTH];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let made = Self(BASE64_URL_SAFE_NO_PAD.encode(random));
        durable::replace(path, made.0.as_bytes(), 0o600)?;
        Ok(made)
    }

    /// Whether it is `given`. The time that takes does not depend on where they differ.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), given).is_ok()
    }

    /// What the engine takes for `user` at the registry `host`: the value of `X-Registry-Auth`.
    #[must_use]
    pub fn for_engine(&self, user: &str, host: &str) -> String {
        let auth = json!({ "username": user, "password": self.0, "serveraddress": host });
        URL_SAFE.encode(auth.to_string())
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PullSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_for_the_server_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pull_secret");
        assert_eq!(PullSecret::read(&path).unwrap(), None);
        let made = PullSecret::read_or_make(&path).unwrap();
        assert_eq!(PullSecret::read_or_make(&path).unwrap(), made);
        assert_eq!(PullSecret::read(&path).unwrap(), Some(made.clone()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(made.is(made.0.as_bytes()) && !made.is(b"") && !made.is(b"other"));
        assert!(!format!("{made:?}").contains(&made.0));
        let other = PullSecret::read_or_make(&home.path().join("other")).unwrap();
        assert_ne!(other, made);
    }

    #[test]
    fn an_empty_file_opens_nothing_and_is_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pull_secret");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(PullSecret::read(&path).unwrap(), None);
        assert!(!PullSecret::read_or_make(&path).unwrap().is(b""));
    }

    #[test]
    fn engines_are_told_in_their_way() {
        let told = PullSecret("secret".into()).for_engine("shop", "host:5000");
        let told = URL_SAFE.decode(told).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let wanted =
            json!({"username": "shop", "password": "secret", "serveraddress": "host:5000"});
        assert_eq!(told, wanted);
    }
}
