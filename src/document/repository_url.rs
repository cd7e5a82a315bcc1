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
    if url.starts_with('/') {
        return check_file(url, allow_file_repos);
    }
    match url.split_once("://") {
        Some(("file", rest)) => check_file(
            rest.strip_prefix("localhost").unwrap_or(rest),
            allow_file_repos,
        ),
        Some((scheme, rest)) => check_remote(scheme, rest),
        None => check_scp_like(url),
    }
}

/// `ext` of `ext::sh -c …`: gitremote-helpers(7) takes any `TRANSPORT::ADDRESS` so.
fn helper(url: &str) -> Option<&str> {
    let (helper, _) = url.split_once("::")?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-' | b'_');
    helper.bytes().all(is_name).then_some(helper)
}

fn check_file(path: &str, allowed: bool) -> Result<(), UrlError> {
    if !allowed {
        return Err(UrlError::FileNotAllowed);
    }
    if path.starts_with('/') {
        Ok(())
    } else {
        Err(UrlError::FileNotAbsolute)
    }
}

fn check_remote(scheme: &str, rest: &str) -> Result<(), UrlError> {
    if !SCHEMES.contains(&scheme) {
        return Err(UrlError::Scheme(scheme.chars().take(40).collect()));
    }
    if rest.contains(char::is_whitespace) {
        return Err(UrlError::Characters);
    }
    let (authority, path) = rest.split_once('/').ok_or(UrlError::NoPath)?;
    let (user, host_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = split_port(host_port);
    let valid_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    if user.starts_with('-') || !is_host(host) || !valid_port {
        return Err(UrlError::Host(scheme.to_owned()));
    }
    if path.is_empty() {
        return Err(UrlError::NoPath);
    }
    Ok(())
}

/// `user@host:path`, without a slash before the colon (git-fetch(1), "GIT URLS").
fn check_scp_like(url: &str) -> Result<(), UrlError> {
    if url.contains(char::is_whitespace) {
        return Err(UrlError::Characters);
    }
    let (user, rest) = url.split_once('@').ok_or(UrlError::Form)?;
    let colon = if rest.starts_with('[') {
        rest.find("]:").map(|bracket| bracket + 1)
    } else {
        rest.find(':')
    };
    let (host, path) = rest.split_at(colon.ok_or(UrlError::Form)?);
    let is_user = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    if user.is_empty() || !user.bytes().all(is_user) || !is_host(host) {
        return Err(UrlError::Form);
    }
    match path.get(1..) {
        None | Some("") => Err(UrlError::NoPath),
        Some(path) if path.starts_with('-') => Err(UrlError::Option),
        Some(_) => Ok(()),
    }
}

fn split_port(host_port: &str) -> (&str, Option<&str>) {
    match host_port.rsplit_once(':') {
        Some((host, port)) if !host_port.ends_with(']') => (host, Some(port)),
        _ => (host_port, None),
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
