//! [`Target`]: where the server is.

use std::path::{Path, PathBuf};

use super::error::ClientError;
use crate::settings::Settings;
use crate::settings::environment::Environment;
use crate::settings::raw::RawSettings;

/// Where root's server listens.
const SYSTEM_SOCKET: &str = "/run/procserver/procserver.sock";

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Socket(PathBuf),
    /// `http://HOST:PORT` or `https://HOST`, without a slash at the end.
    Url(String),
}

impl Target {
    /// Reads what `--server` says.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let refuse = |why| Err(ClientError::Target(text.to_owned(), why));
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let url: Option<awc::http::Uri> = text.parse().ok();
        let host = url.as_ref().and_then(awc::http::Uri::host);
        let scheme = url.as_ref().and_then(awc::http::Uri::scheme_str);
        match (scheme, host) {
            // awc takes no such host for a certificate's.
            (Some("https"), Some(host)) if host.starts_with('[') => {
                refuse("https:// needs a name, or an IPv4 address")
            }
            (Some("http" | "https"), Some(_)) => {
                Ok(Self::Url(text.trim_end_matches('/').to_owned()))
            }
            _ => refuse("write https://HOST, http://HOST:PORT or unix:/path/of/procserver.sock"),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// The socket of one's own server if there is one, else the system's, which members of the group procserver may use.
pub(super) fn usual_socket() -> PathBuf {
    let nothing = RawSettings::default;
    let own =
        Settings::resolve(nothing(), nothing(), &Environment::detect()).map(|own| own.socket());
    match own {
        Ok(own) if own.exists() || !Path::new(SYSTEM_SOCKET).exists() => own,
        _ => SYSTEM_SOCKET.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_or_a_socket() {
        assert_eq!(
            Target::parse("http://a:80/").unwrap(),
            Target::Url("http://a:80".into())
        );
        assert_eq!(
            Target::parse("unix:/x.sock").unwrap(),
            Target::Socket("/x.sock".into())
        );
        assert_eq!(
            Target::parse("unix:///x.sock").unwrap(),
            Target::Socket("/x.sock".into())
        );
        for bad in ["", "a:80", "ftp://a", "http://"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Target::parse("https://a/").unwrap(),
            Target::Url("https://a".into())
        );
        let address = Target::parse("https://[::1]").unwrap_err().to_string();
        assert!(address.contains("needs a name"), "{address}");
    }
}
