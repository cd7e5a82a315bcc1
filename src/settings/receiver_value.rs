//! Receivers and the mail server, as they are typed in the settings.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::value::ValueError;
use crate::notices::smtp::Encryption;

/// A receiver of logs. Only the file has it: a flag would show its credentials to all.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, as in { url = \"syslog+tls://logs.example.org:6514\" }"
)]
pub struct RawDrain {
    pub url: String,
    pub streams: Option<Vec<String>>,
    pub types: Option<Vec<String>>,
    /// A file of certificates, PEM.
    pub ca: Option<PathBuf>,
}

/// Who is told. As above.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, as in { url = \"mailto:ops@example.org\" }"
)]
pub struct RawNotify {
    pub url: String,
    pub events: Option<Vec<String>>,
}

/// How the way to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MailEncryption(pub Encryption);

impl FromStr for MailEncryption {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "starttls" => Ok(Self(Encryption::StartTls)),
            "tls" => Ok(Self(Encryption::Tls)),
            "none" => Ok(Self(Encryption::None)),
            _ => Err(ValueError(format!(
                "{text:?} is none of starttls, tls and none"
            ))),
        }
    }
}

impl TryFrom<String> for MailEncryption {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}
