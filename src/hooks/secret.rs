//! [`Secret`]: what an application and its git service share (pure).
//!
//! One that the server makes is a signing token as GitLab wants them (`whsec_` and the Base64 of 32 bytes). The other
//! services take any text, so one secret does for all.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a signing token begins with (Standard Webhooks).
const SIGNING: &str = "whsec_";

/// Bytes of randomness in a secret.
pub const STRENGTH: usize = 32;

/// Characters of one that a person chooses.
const SHORTEST: usize = 16;
const LONGEST: usize = 200;

/// What an application and its git service share.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {SHORTEST} to {LONGEST} visible ASCII characters without blanks")]
pub struct NoSecret;

impl Secret {
    #[must_use]
    pub fn of(random: [u8; STRENGTH]) -> Self {
        Self(format!("{SIGNING}{}", STANDARD.encode(random)))
    }

    /// # Errors
    /// It is too short, too long, or has characters that a service may change.
    pub fn parse(text: &str) -> Result<Self, NoSecret> {
        let is_good = (SHORTEST..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_good.then(|| Self(text.to_owned())).ok_or(NoSecret)
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `token` is this secret. The time that takes does not depend on where they differ.
    #[must_use]
    pub fn is(&self, token: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), token).is_ok()
    }

    /// Whether `tag` is the HMAC-SHA256 of `message`, in constant time. The key is the text.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], tag: &[u8]) -> bool {
        let key = Key::new(HMAC_SHA256, self.0.as_bytes());
        hmac::verify(&key, message, tag).is_ok()
    }

    /// As [`Self::has_signed`], where the key is what a signing token stands for, and the message comes in parts.
    #[must_use]
    pub fn has_signed_parts(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        let encoded = self.0.strip_prefix(SIGNING);
        let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        let key = decoded.as_deref().unwrap_or(self.0.as_bytes());
        let mut context = hmac::Context::with_key(&Key::new(HMAC_SHA256, key));
        for part in parts {
            context.update(part);
        }
        verify_slices_are_equal(context.sign().as_ref(), tag).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_no_blanks_and_is_in_no_log() {
        let made = Secret::of([7; STRENGTH]);
        assert_eq!(made.text().len(), 6 + 44);
        assert_eq!(Secret::parse(made.text()).as_ref(), Ok(&made));
        assert!(!format!("{made:?}").contains("whsec_"));
        for wrong in [
            "",
            "short",
            "with a blank in the middle",
            "ümlautümlautümlaut",
            &"a".repeat(201),
        ] {
            assert_eq!(Secret::parse(wrong), Err(NoSecret), "{wrong}");
        }
    }
}
