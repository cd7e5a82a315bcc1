//! [`Remote`]: a repository URL, split into what git gets and what must stay secret (pure).

use percent_encoding::percent_decode_str;

use crate::document::config::Origin;
use crate::document::repository_url::{Parts, split_port};

/// Stands in place of a URL where the code is pushed to this server. No document's URL is like it.
const PUSHED: &str = "pushed";

#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    credentials: Option<Credentials>,
}

/// User and password of an `http(s)` URL. git gets them through a credential helper in its environment, so they are in
/// no argument list, no configuration file, and no message of git's.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The server that they are for: `https://host:port`.
    pub scope: String,
    pub user: String,
    /// Decoded; a token may stand in place of the user, with no password.
    pub password: String,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.shown())
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// Where the code of a document comes from.
    #[must_use]
    pub fn of(origin: &Origin) -> Self {
        Self::parse(origin.url().unwrap_or(PUSHED))
    }

    /// Whether nothing is fetched: the code is pushed here.
    #[must_use]
    pub fn is_pushed(&self) -> bool {
        self.url == PUSHED
    }

    /// Splits the URL of a document, which was checked there.
    #[must_use]
    pub fn parse(url: &str) -> Self {
        let plain = Self {
            url: url.to_owned(),
            credentials: None,
        };
        let Some(Parts::Url {
            scheme,
            user_info: Some(user_info),
            host_port,
            path,
        }) = Parts::of(url)
        else {
            return plain;
        };
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            // ssh does not use a password in a URL.
            return Self {
                url: format!("{scheme}://{user}@{host_port}{path}"),
                credentials: None,
            };
        }
        Self {
            url: format!("{scheme}://{host_port}{path}"),
            credentials: Some(Credentials {
                scope: format!("{scheme}://{host_port}"),
                user: decoded(user),
                password: decoded(password),
            }),
        }
    }

    /// The URL without a password, which git gets.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL for people, without its query, which may hold a token.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// What git sends when the server asks.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Takes the credentials of `parent` if this remote has none and is on the same server (scheme, host and port): a
    /// submodule beside its repository.
    #[must_use]
    pub fn inheriting(mut self, parent: &Self) -> Self {
        let Some(credentials) = &parent.credentials else {
            return self;
        };
        let scope = self
            .authority()
            .map(|(scheme, host)| format!("{scheme}://{host}"));
        let same = scope.is_some_and(|scope| scope.eq_ignore_ascii_case(&credentials.scope));
        if self.credentials.is_none() && same {
            self.credentials = Some(credentials.clone());
        }
        self
    }

    /// Scheme, and host with port, of a URL that has them.
    fn authority(&self) -> Option<(&str, &str)> {
        match Parts::of(&self.url)? {
            Parts::Url {
                scheme, host_port, ..
            } => Some((scheme, host_port)),
            Parts::Path(_) | Parts::ScpLike { .. } => None,
        }
    }

    /// Whether it is reached by HTTP.
    #[must_use]
    pub fn is_http(&self) -> bool {
        let scheme = self
            .authority()
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme.as_str()))
    }

    /// Whether it is reached by ssh.
    #[must_use]
    pub fn is_ssh(&self) -> bool {
        self.ssh_host().is_some()
    }

    /// The host as known_hosts names it: `host`, or `[host]:port` with another port than ssh's own.
    #[must_use]
    pub fn ssh_host(&self) -> Option<String> {
        let plain = |host: &str| host.trim_matches(['[', ']']).to_owned();
        match Parts::of(&self.url)? {
            Parts::ScpLike { host, .. } => Some(plain(host)),
            Parts::Url {
                scheme, host_port, ..
            } if scheme.eq_ignore_ascii_case("ssh") => {
                let (host, port) = split_port(host_port);
                Some(match port.filter(|port| *port != "22") {
                    Some(port) => format!("[{}]:{port}", plain(host)),
                    None => plain(host),
                })
            }
            Parts::Path(_) | Parts::Url { .. } => None,
        }
    }

    /// What no log may contain.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        if let Some(Credentials { user, password, .. }) = &self.credentials {
            secrets.push(if password.is_empty() { user } else { password }.clone());
        }
        if let Some((_, query)) = self.url.split_once('?') {
            secrets.push(query.to_owned());
        }
        secrets
    }

    /// The directory of a repository on this machine.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        if self.url.starts_with('/') {
            return Some(self.url.clone());
        }
        let scheme = self.url.get(..7)?;
        scheme
            .eq_ignore_ascii_case("file://")
            .then(|| decoded(&self.url[7..]))
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_http_urls() {
        let remote = Remote::parse("https://ann:p%40ss@example.org:8443/x.git");
        assert_eq!(remote.url(), "https://example.org:8443/x.git");
        let credentials = remote.credentials().unwrap();
        assert_eq!(credentials.scope, "https://example.org:8443");
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("ann", "p@ss")
        );
        assert_eq!(remote.secrets(), ["p@ss"]);
        assert!(!format!("{remote:?}").contains("p@ss"));
    }

    #[test]
    fn a_token_in_place_of_the_user_or_in_the_query_is_a_secret() {
        assert_eq!(Remote::parse("https://ghp_x@h/y").secrets(), ["ghp_x"]);
        let remote = Remote::parse("https://h/y?token=abc");
        assert_eq!(remote.secrets(), ["token=abc"]);
        assert_eq!(remote.shown(), "https://h/y");
    }

    #[test]
    fn other_urls_stay_but_for_a_password() {
        for url in [
            "git@h:x/y.git",
            "ssh://git@h/x",
            "git://h/x",
            "/srv/x.git",
            "https://h/x@y",
        ] {
            assert_eq!(Remote::parse(url).url(), url);
            assert!(Remote::parse(url).secrets().is_empty());
        }
        assert_eq!(Remote::parse("ssh://git:pw@h/x").url(), "ssh://git@h/x");
    }

    #[test]
    fn credentials_are_inherited_on_the_same_server_only() {
        let parent = Remote::parse("https://ann:pw@h:8443/x.git");
        let inherits = |url| {
            let remote = Remote::parse(url).inheriting(&parent);
            remote.credentials().is_some_and(|c| c.password == "pw")
        };
        assert!(inherits("https://h:8443/y.git"));
        assert!(inherits("https://H:8443/y.git"));
        for other in [
            "https://h/y.git",
            "http://h:8443/y.git",
            "https://h:8443.evil/y.git",
            "https://h:84430/y.git",
            "https://evil/h:8443/",
            "https://bob:own@h:8443/y.git",
            "git@h:8443/y.git",
        ] {
            assert!(!inherits(other), "{other}");
        }
    }

    #[test]
    fn hosts_are_named_as_in_known_hosts() {
        for (url, host) in [
            ("git@h:x/y.git", Some("h")),
            ("git@[::1]:y.git", Some("::1")),
            ("ssh://git@h/x", Some("h")),
            ("ssh://git@h:22/x", Some("h")),
            ("ssh://h:2222/x", Some("[h]:2222")),
            ("ssh://git@[::1]:2222/x", Some("[::1]:2222")),
            ("ssh://git@[::1]/x", Some("::1")),
            ("https://git@h/x", None),
            ("file:///a@b:c", None),
            ("/srv/a@b:c", None),
        ] {
            assert_eq!(Remote::parse(url).ssh_host().as_deref(), host, "{url}");
        }
    }

    #[test]
    fn local_repositories_have_a_path() {
        assert_eq!(
            Remote::parse("file:///srv/a%20x").path().as_deref(),
            Some("/srv/a x")
        );
        assert_eq!(Remote::parse("/srv/x").path().as_deref(), Some("/srv/x"));
        assert_eq!(Remote::parse("https://h/x").path(), None);
        assert_eq!(Remote::parse("ä://h/x").path(), None);
    }

    #[test]
    fn odd_percent_signs_are_kept() {
        assert_eq!(decoded("a%4"), "a%4");
        assert_eq!(decoded("%zz%41%"), "%zzA%");
    }
}
