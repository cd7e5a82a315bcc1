//! [`TargetUrl`]: the URL of a receiver, of logs or of notices (pure). It may hold a secret: as a password, in its query,
//! and, as Slack has it, in its path.

use std::fmt;

use sha2::{Digest, Sha256};

use super::repository_url::{Parts, split_port};
use super::secrets::DOTS;

/// Longer ones are no honest receiver.
const MAX_LENGTH: usize = 2048;

/// The URL of a receiver, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl {
    pub scheme: String,
    /// A user and a password, or a token alone; decoded.
    pub credentials: Option<Credentials>,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: Option<u16>,
    /// Path and query, from the first `/`; may be empty.
    pub path: String,
}

/// How a receiver knows the server.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password(String, String),
    Token(String),
}

impl TargetUrl {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not repeat it: it may hold a secret.
    pub fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let allowed = || format!("use {}", schemes.join(", "));
        if text.len() > MAX_LENGTH {
            return Err(format!("is longer than {MAX_LENGTH} bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "has a character in it that no URL has: write it as %XX, and a name in its ASCII form"
                    .to_owned(),
            );
        }
        let Some(Parts::Url {
            scheme,
            user_info,
            host_port,
            path,
        }) = Parts::of(text)
        else {
            return Err(format!("is no URL of a receiver: {}", allowed()));
        };
        let scheme = scheme.to_ascii_lowercase();
        if !schemes.contains(&&*scheme) {
            let known: String = scheme.chars().take(20).collect();
            return Err(format!("has the scheme \"{known}\": {}", allowed()));
        }
        let (host, port) = split_port(host_port);
        let port = port
            .map(|port| port.parse().ok().filter(|port| *port > 0))
            .map(|port: Option<u16>| {
                port.ok_or("has a port that is no number from 1 to 65535".to_owned())
            })
            .transpose()?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(address) => address
                .parse::<std::net::Ipv6Addr>()
                .map(|address| address.to_string())
                .map_err(|_| "has no valid IPv6 address in its brackets".to_owned())?,
            None => host_name(host)?,
        };
        if path.contains('#') {
            return Err("has a fragment (\"#…\"), which is never sent: leave it out".to_owned());
        }
        let path = match path.strip_prefix('?') {
            Some(query) => format!("/?{query}"),
            None => path.to_owned(),
        };
        Ok(Self {
            scheme,
            credentials: user_info.map(Credentials::of).filter(Credentials::is_some),
            host,
            port,
            path,
        })
    }

    /// Names it in paths and metrics, whatever credentials it has: a changed password makes no other receiver of it.
    #[must_use]
    pub fn key(&self) -> String {
        let Self {
            scheme,
            host,
            port,
            path,
            ..
        } = self;
        let digest = Sha256::digest(format!("{scheme}://{host}:{port:?}{path}"));
        digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    /// What is secret in it: credentials, as they are and as they are sent, and path and query.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        use base64::Engine as _;
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        let mut secrets = match &self.credentials {
            Some(Credentials::Password(user, password)) => {
                vec![password.clone(), base64(format!("{user}:{password}"))]
            }
            Some(Credentials::Token(token)) => vec![token.clone()],
            None => vec![],
        };
        secrets.push(self.path.trim_start_matches('/').to_owned());
        secrets
    }

    /// Host and port, as in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        self.port
            .map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }

    /// As it may be shown to anybody: without credentials, path and query.
    #[must_use]
    pub fn shown(&self) -> String {
        let rest = match self.path.len() {
            0 | 1 => String::new(),
            _ => format!("/{DOTS}"),
        };
        format!("{}://{}{rest}", self.scheme, self.authority())
    }
}

impl fmt::Debug for TargetUrl {
    /// Without the secrets: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Credentials {
    fn of(user_info: &str) -> Self {
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        match user_info.split_once(':') {
            Some((user, password)) => Self::Password(decoded(user), decoded(password)),
            None => Self::Token(decoded(user_info)),
        }
    }

    fn is_some(&self) -> bool {
        !matches!(self, Self::Token(token) if token.is_empty())
    }
}

fn host_name(host: &str) -> Result<String, String> {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    match !host.is_empty() && host.len() <= 253 && host.bytes().all(usual) {
        true => Ok(host.to_ascii_lowercase()),
        false => Err("has no valid name of a host".to_owned()),
    }
}

/// What is secret in the URL of a receiver: credentials, path and query.
pub(super) fn secrets_of(url: &str) -> Vec<String> {
    let Some(Parts::Url {
        user_info, path, ..
    }) = Parts::of(url)
    else {
        return vec![];
    };
    let password =
        user_info.map(|user| user.split_once(':').map_or(user, |(_, password)| password));
    let path = path.trim_start_matches('/');
    let found = password.into_iter().chain([path]);
    found
        .filter(|secret| !secret.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The URL of a receiver with dots where it may hold a secret; one that cannot be read is all dots.
pub(super) fn masked(url: &str) -> String {
    let Some(Parts::Url {
        scheme,
        host_port,
        path,
        user_info,
    }) = Parts::of(url)
    else {
        return DOTS.to_owned();
    };
    let user = user_info.map_or(String::new(), |_| format!("{DOTS}@"));
    let path = match path.len() {
        0 | 1 => path.to_owned(),
        _ => format!("/{DOTS}"),
    };
    format!("{scheme}://{user}{host_port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [&str; 2] = ["https", "syslog+tls"];

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_secrets() {
        let url = TargetUrl::parse("https://me:s%40same@H.example:8443/in/KEY?a=b", &SCHEMES);
        let url = url.unwrap();
        assert_eq!((&*url.host, url.port), ("h.example", Some(8443)));
        assert_eq!(url.path, "/in/KEY?a=b");
        assert!(
            matches!(&url.credentials, Some(Credentials::Password(u, p)) if u == "me" && p == "s@same")
        );
        assert_eq!(url.shown(), "https://h.example:8443/••••");
        assert!(!format!("{url:?}").contains("KEY"));
        // Also as it is sent: "me:s@same".
        assert_eq!(url.secrets(), ["s@same", "bWU6c0BzYW1l", "in/KEY?a=b"]);
        let same = TargetUrl::parse("https://you@h.example:8443/in/KEY?a=b", &SCHEMES).unwrap();
        assert_eq!(same.key(), url.key());
        let v6 = TargetUrl::parse("syslog+tls://[::1]:6514", &SCHEMES).unwrap();
        assert_eq!(
            (v6.shown().as_str(), &*v6.path),
            ("syslog+tls://[::1]:6514", "")
        );
    }

    #[test]
    fn what_is_no_receiver_is_refused_in_words_that_do_not_repeat_it() {
        for wrong in [
            "",
            "secret",
            "ftp://secret@h",
            "https://",
            "https://h:0",
            "https://h:70000",
            "https://h:secret",
            "https://[secret]/",
            "https://h/#secret",
            "https://h /secret",
            "https://höst/secret",
            "https://h\n/secret",
        ] {
            let error = TargetUrl::parse(wrong, &SCHEMES).unwrap_err();
            assert!(!error.contains("secret"), "{wrong}: {error}");
        }
    }

    #[test]
    fn for_others_no_part_is_left_that_may_be_secret() {
        assert_eq!(
            masked("https://hooks.slack.com/services/T0/B0/xyz"),
            "https://hooks.slack.com/••••"
        );
        assert_eq!(masked("https://tok@h/"), "https://••••@h/");
        assert_eq!(masked("mailto:ops@example.org"), DOTS);
        let secrets = secrets_of("https://me:sesame@h/services/T0?x");
        assert_eq!(secrets, ["sesame", "services/T0?x"]);
    }
}
