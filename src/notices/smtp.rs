//! [`Smtp`]: the mail server by which notices are sent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The mail server of the settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub credentials: Option<(String, String)>,
    /// Who writes.
    pub from: String,
}

impl Smtp {
    /// The password, as it is and as AUTH sends it (RFC 4616; LOGIN).
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let Some((user, password)) = &self.credentials else {
            return vec![];
        };
        let plain = format!("\0{user}\0{password}");
        vec![
            STANDARD.encode(plain),
            STANDARD.encode(password),
            password.clone(),
        ]
    }
}

impl fmt::Debug for Smtp {
    /// Without the password: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// How the way to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// By STARTTLS, or nothing is sent.
    #[default]
    StartTls,
    /// From the first byte on.
    Tls,
    None,
}
