//! [`Secret`]: what the cookie of a browser holds, and what forms carry because of it.

use std::fmt;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::api::problem::Problem;
use crate::front::own_cookie::{self, HOST_PREFIX, OWN};
use crate::tokens::token::Digest;

/// Bytes of randomness.
const STRENGTH: usize = 32;

/// Characters of these in Base64.
const ENCODED: usize = 43;

/// 256 random bits that a browser was given.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub(super) fn new() -> Result<Self, Problem> {
        let mut bytes = [0; STRENGTH];
        let failed = |_| Problem::unavailable("The kernel gives no random bytes.");
        getrandom::fill(&mut bytes).map_err(failed)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The one that the browser sends. Of several with the name nobody can tell whose they are.
    pub(super) fn of(headers: &HeaderMap, is_secure: bool) -> Option<Self> {
        let name = cookie_name(is_secure);
        let fields = headers.get_all(header::COOKIE);
        let mut own = own_cookie::values(fields.map(HeaderValue::as_bytes), &name);
        let (Some(only), None) = (own.next(), own.next()) else {
            return None;
        };
        let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_one = only.len() == ENCODED && only.bytes().all(is_digit);
        is_one.then(|| Self(only.to_owned()))
    }

    /// What is kept of it.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// What the forms carry of a browser that has it. Nobody finds the secret for it.
    pub(super) fn form_key(&self) -> String {
        let digest = Sha256::new()
            .chain_update(b"procserver form ")
            .chain_update(self.0.as_bytes())
            .finalize();
        BASE64_URL_SAFE_NO_PAD.encode(digest)
    }

    /// The field that gives it to a browser, for this long.
    pub(super) fn set_cookie(&self, is_secure: bool, seconds: i64) -> String {
        cookie(&self.0, is_secure, seconds)
    }
}

/// The field that takes it from a browser.
pub(super) fn end_cookie(is_secure: bool) -> String {
    cookie("", is_secure, 0)
}

fn cookie(value: &str, is_secure: bool, seconds: i64) -> String {
    // A prefixed one must be for all paths; the other is sent where pages are and nowhere else.
    let (path, secure) = match is_secure {
        true => ("/", "; Secure"),
        false => ("/ui", ""),
    };
    let name = cookie_name(is_secure);
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn cookie_name(is_secure: bool) -> String {
    match is_secure {
        true => format!("{HOST_PREFIX}{OWN}"),
        false => OWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(cookies: &[&str], is_secure: bool) -> Option<Secret> {
        let mut request = TestRequest::default();
        for cookie in cookies {
            request = request.append_header(("cookie", *cookie));
        }
        Secret::of(request.to_http_request().headers(), is_secure)
    }

    #[test]
    fn a_secret_comes_back_as_it_was_given_and_nothing_else_is_one() {
        let secret = Secret::new().unwrap();
        for is_secure in [false, true] {
            let field = secret.set_cookie(is_secure, 60);
            assert!(field.contains("; HttpOnly; SameSite=Strict"), "{field}");
            assert_eq!(field.ends_with("; Secure"), is_secure);
            let pair = field.split(';').next().unwrap();
            assert_eq!(of(&["a=b", pair], is_secure).as_ref(), Some(&secret));
            assert_eq!(of(&[pair], !is_secure), None);
            // A neighbour domain has set another one.
            assert_eq!(of(&[&format!("{pair}; {pair}")], is_secure), None);
            assert_eq!(of(&[&pair[..pair.len() - 1]], is_secure), None);
            assert!(end_cookie(is_secure).contains("Max-Age=0"));
        }
        assert_ne!(secret.form_key(), secret.0);
        assert_ne!(secret.form_key(), Secret::new().unwrap().form_key());
        assert!(!format!("{secret:?}").contains(&secret.0));
    }
}
