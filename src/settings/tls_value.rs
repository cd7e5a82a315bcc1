//! The values of `[tls]` and `[acme]`, valid by construction.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::value::{ValueError, deserialize_from_text};
use crate::acme::settings::Method;
use crate::tls::files::Pair;
use crate::tls::server_config::MinVersion;

deserialize_from_text! {
    TlsVersion;
    Challenge;
    Email;
}

/// The oldest version of TLS that clients may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersion(pub MinVersion);

impl FromStr for TlsVersion {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "1.2" => Ok(Self(MinVersion::Tls12)),
            "1.3" => Ok(Self(MinVersion::Tls13)),
            _ => Err(ValueError(format!(
                "\"{text}\" is no version of TLS that is spoken here: write \"1.2\" or \"1.3\""
            ))),
        }
    }
}

/// How a certificate authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge(pub Method);

impl FromStr for Challenge {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let all = [Method::Http, Method::TlsAlpn, Method::Dns];
        match all.into_iter().find(|method| method.to_string() == text) {
            Some(method) => Ok(Self(method)),
            None => Err(ValueError(format!(
                "\"{text}\" is no challenge: write \"http-01\" (needs port 80), \"tls-alpn-01\" (needs port 443) or \
                 \"dns-01\" (needs dns_hook)"
            ))),
        }
    }
}

/// An account that a certificate authority keeps elsewhere. Only the file has it: a flag would show its key to all.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, as in { id = \"kid-1\", key = \"zWNDZM6eQGHWpSRTPal5...\" }"
)]
pub struct ExternalAccount {
    pub id: String,
    /// In base64url, as it is handed out.
    pub key: String,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The files of a chain and its key: a table in the file, `CERT,KEY` as a flag.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct CertificatePair(pub Pair);

impl FromStr for CertificatePair {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once(',') {
            Some((cert, key)) if !cert.is_empty() && !key.is_empty() => Ok(Self(Pair {
                cert: cert.into(),
                key: key.into(),
            })),
            _ => Err(ValueError(format!(
                "\"{text}\" names no two files: write the certificate's and the key's with a comma between them, as in \
                 /etc/ssl/a.pem,/etc/ssl/a.key"
            ))),
        }
    }
}

/// An address of electronic mail, as a certificate authority takes it: one, and nothing that would be more than that in
/// a `mailto:` URL (RFC 8555 §7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(pub String);

impl FromStr for Email {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let usual = |c: char| c.is_ascii_alphanumeric() || ".!$'*+-/=_~".contains(c);
        let is_label = |label: &str| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let is_address = text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && local.chars().all(usual) && domain.split('.').all(is_label)
        });
        match is_address && text.len() <= 254 {
            true => Ok(Self(text.to_owned())),
            false => Err(ValueError(format!(
                "{text:?} is no address of electronic mail: write one, as in \"ops@example.org\", or leave it out"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_one_address() {
        for good in ["ops@example.org", "a.b+tls@x-y.example", "root@localhost"] {
            assert_eq!(good.parse::<Email>().unwrap().0, good);
        }
        let long = format!("a@{}.org", "x".repeat(260));
        for bad in [
            "",
            "ops",
            "@example.org",
            "ops@",
            "a@b@c",
            "ops@example..org",
            "ops@example.org,b@example.org",
            "ops@example.org?subject=x",
            "Ops <ops@example.org>",
            "mailto:ops@example.org",
            "ops@example.org\n",
            &long,
        ] {
            let error = bad.parse::<Email>().unwrap_err().to_string();
            assert!(error.contains("ops@example.org"), "{bad}: {error}");
        }
    }
}
