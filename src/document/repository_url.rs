//! Which repository URLs git may be given (pure).
//!
//! git runs programs for some forms of URL (`ext::`, any `HELPER::`), takes a leading `-` for an option, and hands
//! host names to ssh, which has options of its own. Only forms that are known to be harmless pass.

/// Schemes of git-fetch(1) that reach another machine and run nothing here.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "git"];

/// Longer ones are no honest repository.
const MAX_LENGTH: usize = 2048;

/// Why a URL is refused; the text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("is empty: give the URL of a git repository, such as \"https://example.org/app.git\"")]
    Empty,
    #[error("is longer than {MAX_LENGTH} characters")]
    TooLong,
    #[error(
        "has a control character or a space in it: remove it (write a space in a URL as \"%20\")"
    )]
    Characters,
    #[error("begins with \"-\", which git would take for an option")]
    Option,
    #[error(
        "names a transport helper (\"{0}::\"), which would run a program on this server: use https, http, ssh or git"
    )]
    Helper(String),
    #[error("has the scheme \"{0}\": use https, http, ssh or git, or the form \"user@host:path\"")]
    Scheme(String),
    #[error("has no valid host name: write \"{0}://host/path\"")]
    Host(String),
    #[error("has no path after the host")]
    NoPath,
    #[error(
        "is a path on the server's own disk: the setting allow_file_repos in procserver.toml must be true for that"
    )]
    FileNotAllowed,
    #[error("must be an absolute path, as \"file:///srv/git/app.git\" or \"/srv/git/app.git\"")]
    FileNotAbsolute,
    #[error(
        "is not a repository URL: use \"https://host/path\", \"ssh://user@host/path\" or \"user@host:path\""
    )]
    Form,
}

/// A repository URL taken apart, in the forms of git-fetch(1), "GIT URLS". Nothing is decoded or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts<'a> {
    /// An absolute path.
    Path(&'a str),
    Url {
        scheme: &'a str,
        /// `user:password`, or one of them.
        user_info: Option<&'a str>,
        /// `host:port`; an IPv6 address is in brackets.
        host_port: &'a str,
        /// Empty, or from the first `/`, `?` or `#`.
        path: &'a str,
    },
    /// `user@host:path`.
    ScpLike {
        user: &'a str,
        host: &'a str,
        path: &'a str,
    },
}

impl<'a> Parts<'a> {
    /// `None`: it has none of these forms.
    pub(crate) fn of(url: &'a str) -> Option<Self> {
        if url.starts_with('/') {
            return Some(Self::Path(url));
        }
        if let Some((scheme, rest)) = url.split_once("://") {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let (user_info, host_port) = match authority.rsplit_once('@') {
                Some((user_info, host_port)) => (Some(user_info), host_port),
                None => (None, authority),
            };
            return Some(Self::Url {
                scheme,
                user_info,
                host_port,
                path,
            });
        }
        let (user, rest) = url.split_once('@')?;
        let colon = match rest.starts_with('[') {
            true => rest.find("]:")? + 1,
            false => rest.find(':')?,
        };
        Some(Self::ScpLike {
            user,
            host: &rest[..colon],
            path: &rest[colon + 1..],
        })
    }
}

/// Host and port; an IPv6 address keeps its brackets.
pub(crate) fn split_port(host_port: &str) -> (&str, Option<&str>) {
    match host_port.rsplit_once(':') {
        Some((host, port)) if !host_port.ends_with(']') => (host, Some(port)),
        _ => (host_port, None),
    }
}

/// Checks `url`.
///
/// # Errors
/// [`UrlError`].
pub(crate) fn check(url: &str, allow_file_repos: bool) -> Result<(), UrlError> {
    if url.is_empty() {
        return Err(UrlError::Empty);
    }
    if url.chars().count() > MAX_LENGTH {
        return Err(UrlError::TooLong);
    }
    if url.starts_with('-') {
        return Err(UrlError::Option);
    }
    if url.chars().any(char::is_control) {
        return Err(UrlError::Characters);
    }
    if let Some(helper) = helper(url) {
        return Err(UrlError::Helper(helper.to_owned()));
    }
    match Parts::of(url).ok_or_else(|| match url.contains(char::is_whitespace) {
        true => UrlError::Characters,
        false => UrlError::Form,
    })? {
        Parts::Path(_) => check_file(true, allow_file_repos),
        Parts::Url {
            scheme: "file",
            user_info,
            host_port,
            path,
        } => {
            let is_local = user_info.is_none() && matches!(host_port, "" | "localhost");
            check_file(is_local && path.starts_with('/'), allow_file_repos)
        }
        Parts::Url {
            scheme,
            user_info,
            host_port,
            path,
        } => {
            if !SCHEMES.contains(&scheme) {
                return Err(UrlError::Scheme(scheme.chars().take(40).collect()));
            }
            if url.contains(char::is_whitespace) {
                return Err(UrlError::Characters);
            }
            check_remote(scheme, user_info.unwrap_or_default(), host_port, path)
        }
        Parts::ScpLike { .. } if url.contains(char::is_whitespace) => Err(UrlError::Characters),
        Parts::ScpLike { user, host, path } => check_scp_like(user, host, path),
    }
}

/// `ext` of `ext::sh -c …`: gitremote-helpers(7) takes any `TRANSPORT::ADDRESS` so.
fn helper(url: &str) -> Option<&str> {
    let (helper, _) = url.split_once("::")?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-' | b'_');
    helper.bytes().all(is_name).then_some(helper)
}

fn check_file(is_absolute: bool, allowed: bool) -> Result<(), UrlError> {
    if !allowed {
        return Err(UrlError::FileNotAllowed);
    }
    match is_absolute {
        true => Ok(()),
        false => Err(UrlError::FileNotAbsolute),
    }
}

fn check_remote(scheme: &str, user: &str, host_port: &str, path: &str) -> Result<(), UrlError> {
    let path = path.strip_prefix('/').ok_or(UrlError::NoPath)?;
    let (host, port) = split_port(host_port);
    let valid_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    if user.starts_with('-') || !is_host(host) || !valid_port {
        return Err(UrlError::Host(scheme.to_owned()));
    }
    match path {
        "" => Err(UrlError::NoPath),
        _ => Ok(()),
    }
}

fn check_scp_like(user: &str, host: &str, path: &str) -> Result<(), UrlError> {
    let is_user = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    if user.is_empty() || !user.bytes().all(is_user) || !is_host(host) {
        return Err(UrlError::Form);
    }
    match path {
        "" => Err(UrlError::NoPath),
        path if path.starts_with('-') => Err(UrlError::Option),
        _ => Ok(()),
    }
}

/// A host name or address. ssh must not take it for an option, hence no leading `-`.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && !host.starts_with('-') && host.bytes().all(is_host_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_reach_another_machine_pass() {
        for url in [
            "git://github.com/rubynas/rubynas.git",
            "https://github.com/rubynas/rubynas.git",
            "https://user:token@git.example.org:8443/a/b",
            "http://[::1]:3000/a.git",
            "ssh://git@example.org:22/srv/a.git",
            "git@github.com:rubynas/rubynas.git",
            "git@[::1]:a.git",
        ] {
            assert_eq!(check(url, false), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_would_run_a_program_or_be_an_option_is_refused() {
        for url in [
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "fd::17",
            "my-helper::https://example.org/a",
            "ssh://-oProxyCommand=id/a",
            "ssh://-oProxyCommand=id@host/a",
            "ssh://git@-oProxyCommand=id/a",
            "git@-oProxyCommand=id:a",
            "-oProxyCommand=id@host:a",
            "git@host:-a",
            "https://host/a\n.git",
            "https://host/a b",
            "https://host/\0",
            "https:///a",
            "https://host",
            "https://host/",
            "https://host:port/a",
            "HTTPS://host/a",
            "ftp://host/a",
            "javascript://a/b",
            "host:path",
            "app",
            "../app",
            "~root/app",
            "",
        ] {
            assert!(check(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn the_servers_own_disk_needs_the_setting() {
        for url in [
            "/srv/git/app.git",
            "file:///srv/git/app.git",
            "file://localhost/srv/a b",
        ] {
            assert_eq!(check(url, false), Err(UrlError::FileNotAllowed), "{url}");
            assert_eq!(check(url, true), Ok(()), "{url}");
        }
        assert_eq!(
            check("file://other/a", true),
            Err(UrlError::FileNotAbsolute)
        );
        assert_eq!(check("file://../a", true), Err(UrlError::FileNotAbsolute));
    }

    proptest::proptest! {
        #[test]
        fn no_url_panics(url: String, likely in "[a-z@:/\\[\\]. -]{0,24}") {
            let _ = check(&url, true);
            let _ = check(&likely, false);
        }
    }
}
