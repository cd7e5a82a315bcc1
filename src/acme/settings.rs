//! [`Settings`]: which CA is asked, and how it is shown that names lead here.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;

/// Let's Encrypt.
pub const USUAL_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How it is shown that a name leads here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Method {
    /// RFC 8555 §8.3: the CA fetches a file from port 80.
    #[default]
    #[serde(rename = "http-01")]
    Http,
    /// RFC 8737: the CA shakes hands at port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    /// RFC 8555 §8.4: the CA looks for a TXT record, which the hook makes. The only one for wildcards.
    #[serde(rename = "dns-01")]
    Dns,
}

/// Whose terms the operator has agreed to, and what is asked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub email: Option<String>,
    /// URL of the CA's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// For names that are no wildcards.
    pub method: Method,
    /// Which of its kinds of certificates the CA makes.
    pub profile: Option<String>,
    pub external_account: Option<ExternalAccount>,
    /// Called with `present|cleanup NAME VALUE`. `present` returns when the record can be seen.
    pub dns_hook: Option<PathBuf>,
    /// PEM file of the only root that the CA's own server is trusted by; a private CA has one.
    pub root_ca: Option<PathBuf>,
    /// Before an order, whether the name leads here is looked at from here. Not everybody can reach themselves by their
    /// public address.
    pub check_first: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            email: None,
            directory: USUAL_DIRECTORY.to_owned(),
            method: Method::default(),
            profile: None,
            external_account: None,
            dns_hook: None,
            root_ca: None,
            check_first: true,
        }
    }
}

impl Settings {
    /// How it is shown that this name leads here.
    #[must_use]
    pub fn method_for(&self, name: &str) -> Method {
        match name.starts_with("*.") {
            true => Method::Dns,
            false => self.method,
        }
    }
}

/// An account that the CA keeps elsewhere (RFC 8555 §7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    pub id: String,
    pub key: Vec<u8>,
}

impl ExternalAccount {
    /// One with a key as CAs show them: in base64url, with or without padding.
    ///
    /// # Errors
    /// The key is something else.
    pub fn new(id: String, key: &str) -> Result<Self, base64::DecodeError> {
        let key = URL_SAFE_NO_PAD.decode(key.trim_end_matches('='))?;
        Ok(Self { id, key })
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
            Self::Dns => "dns-01",
        })
    }
}
