//! [`HostName`]: a name under which an application is reached, valid by construction (pure).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use idna::AsciiDenyList;
use serde::Serialize;

/// Bytes of a name (RFC 1035 §2.3.4), without the dot of the root.
const MAX_NAME: usize = 253;

/// Bytes of a label.
const MAX_LABEL: usize = 63;

/// A host name, `shop.example.org`, or a wildcard for one label, `*.example.org`: in lower case, as A-labels
/// (RFC 5890 §2.3.2.1), without the dot of the root. So it compares byte by byte with the host of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Takes `text` as a name; U-labels become A-labels.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (prefix, rest) = match text.strip_prefix("*.") {
            Some(rest) => ("*.", rest),
            None => ("", text),
        };
        match to_ascii(rest) {
            Some(name) if prefix.len() + name.len() <= MAX_NAME => {
                Ok(Self(format!("{prefix}{name}").into()))
            }
            _ => Err(complaint(text)),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// What follows the wildcard: `example.org` of `*.example.org`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether it is the name of `host`, or a wildcard for its first label.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self.parent() {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => self.as_str() == host,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The A-labels of a name without wildcard; `None` if it is none.
fn to_ascii(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::STD3).ok()?;
    let is_label = |label: &str| {
        let is_edge = |edge: Option<&u8>| edge.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        bytes.len() <= MAX_LABEL && is_edge(bytes.first()) && is_edge(bytes.last())
    };
    // The last label of a name is no number: URLs take that for an address (WHATWG URL, "ends in a number").
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let is_name = name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number);
    is_name.then(|| name.into_owned())
}

/// Why `text` is no name, and what to write.
fn complaint(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    let meant = meant(text);
    let told = |why: &str| match &meant {
        Some(name) => format!("\"{shown}\" {why}: write \"{name}\""),
        None => format!("\"{shown}\" {why}: write a name such as \"shop.example.org\""),
    };
    let address = text.trim_start_matches('[').split([']', '/']).next();
    if text.is_empty() {
        return "is empty: write a name such as \"shop.example.org\"".to_owned();
    }
    if address.is_some_and(|address| address.parse::<IpAddr>().is_ok()) {
        return format!(
            "\"{shown}\" is an address, not a name: `port` gives the application a port of its own there"
        );
    }
    if text.contains("://") {
        return told("is a URL");
    }
    if text.contains(['^', '$', '\\', '(', '[', '|', '+', '?']) {
        return format!(
            "{}; regular expressions are for `domain`",
            told("is no name but a pattern")
        );
    }
    if text.contains('/') {
        return told("has a path");
    }
    if text.contains(':') {
        return told("has a port, and names are for every port");
    }
    if text.contains('*') {
        return format!(
            "\"{shown}\" is no wildcard: write \"*.example.org\", in which \"*\" stands for one whole label at the front; \
             regular expressions are for `domain`"
        );
    }
    told(
        "is not a host name: labels have 1 to 63 letters, digits and \"-\", with a letter or digit at both ends",
    )
}

/// The name that was probably meant.
fn meant(text: &str) -> Option<HostName> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.trim().trim_start_matches('^').trim_end_matches('$');
    let text = text.replace("\\.", ".");
    let host = text.split(['/', ':']).next().unwrap_or_default();
    let (prefix, rest) = match host.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", host),
    };
    to_ascii(&rest.replace('_', "-")).map(|name| HostName(format!("{prefix}{name}").into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        HostName::parse(text).map(|name| name.to_string())
    }

    #[test]
    fn a_name_becomes_what_the_host_of_a_request_looks_like() {
        for (typed, kept) in [
            ("shop.example.org", "shop.example.org"),
            ("Shop.Example.ORG.", "shop.example.org"),
            ("*.Example.org", "*.example.org"),
            ("*.localhost", "*.localhost"),
            ("nas", "nas"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("*.例え.jp", "*.xn--r8jz45g.jp"),
            ("straße.de", "xn--strae-oqa.de"),
            ("a--b.c1.2x", "a--b.c1.2x"),
        ] {
            assert_eq!(parsed(typed).as_deref(), Ok(kept), "{typed}");
        }
        let wildcard = HostName::parse("*.example.org").unwrap();
        assert_eq!(wildcard.parent(), Some("example.org"));
        assert_eq!(HostName::parse("example.org").unwrap().parent(), None);
    }

    #[test]
    fn what_is_no_name_is_told_what_to_write() {
        for (typed, advice) in [
            ("", "write a name such as"),
            ("https://Shop.example/x", "write \"shop.example\""),
            ("shop.example:8080", "write \"shop.example\""),
            ("shop.example/admin", "write \"shop.example\""),
            ("^shop\\.example$", "write \"shop.example\"; regular"),
            ("(a|b).example", "regular expressions are for `domain`"),
            ("a.*.example", "write \"*.example.org\""),
            ("*", "write \"*.example.org\""),
            ("*shop.example", "write \"*.example.org\""),
            ("my_shop.example", "write \"my-shop.example\""),
            ("192.168.1.5", "is an address"),
            ("[::1]", "is an address"),
            ("::1", "is an address"),
            ("1.2.3", "is not a host name"),
            ("a..b", "is not a host name"),
            (".a", "is not a host name"),
            ("-a.b", "is not a host name"),
            ("a b", "is not a host name"),
            ("xn--zzzzzzzz9999.example", "is not a host name"),
            (&format!("{}.org", "a".repeat(64)), "is not a host name"),
            (&"a.".repeat(130), "is not a host name"),
        ] {
            let error = parsed(typed).unwrap_err();
            assert!(error.contains(advice), "{typed}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_was_taken_is_taken_again_as_it_is(text in "(\\*\\.)?[a-zA-Z0-9äß。_-]{0,5}(\\.[a-zé0-9-]{0,5}){0,3}\\.?") {
            if let Ok(name) = HostName::parse(&text) {
                prop_assert_eq!(HostName::parse(name.as_str()), Ok(name.clone()));
                let is_kept = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"*.-".contains(&b);
                prop_assert!(name.as_str().bytes().all(is_kept));
            }
        }
    }
}
