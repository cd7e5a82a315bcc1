//! [`AppName`]: the name of an application, valid by construction (pure).

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// First path segments that belong to the API; an app of this name would hide it.
pub const RESERVED: [&str; 6] = [
    "applications",
    "certificates",
    "routes",
    "events",
    "healthz",
    "metrics",
];

/// Paths that the API was given later: no new application gets such a name, and one that has it keeps it, with its path.
/// The API answers there at its socket and on `api_hosts` then.
pub const RESERVED_SINCE: [&str; 5] = ["tokens", "audit", "hooks", "git", "v2"];

/// An application's name: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, none of [`RESERVED`]. A DNS label, so that it can be
/// a host name, a path segment and a directory without quoting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AppName(Arc<str>);

/// Why a string is no application name; the text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The characters or the length are wrong.
    #[error(
        "\"{0}\" is not a name: use 1 to 63 of a-z, 0-9 and \"-\", beginning and ending with a letter or digit"
    )]
    Malformed(String),
    /// The name is a path of the API.
    #[error("\"{0}\" is reserved for the API: choose another name")]
    Reserved(String),
}

impl AppName {
    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// [`NameError`] when it is malformed or reserved.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| inner(b) || *b == b'-')
            && bytes.first().is_some_and(inner)
            && bytes.last().is_some_and(inner);
        if !valid {
            return Err(NameError::Malformed(text.chars().take(80).collect()));
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// # Errors
    /// No new application may have this name.
    pub fn check_new(&self) -> Result<(), NameError> {
        match RESERVED_SINCE.contains(&self.as_str()) {
            true => Err(NameError::Reserved(self.to_string())),
            false => Ok(()),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, for the routing table (which knows no [`AppName`]).
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_label_is_a_name_and_nothing_else_is() {
        for good in ["a", "rubynas", "my-app-2", "0", &"a".repeat(63)] {
            assert_eq!(
                AppName::parse(good).map(|n| n.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "a/b",
            "..",
            "ä",
            " a",
            "a\n",
            &"a".repeat(64),
        ] {
            assert!(
                matches!(AppName::parse(bad), Err(NameError::Malformed(_))),
                "{bad:?}"
            );
        }
        assert_eq!(
            AppName::parse("healthz"),
            Err(NameError::Reserved("healthz".into()))
        );
    }

    #[test]
    fn the_readme_says_which_names_are_reserved() {
        let readme = include_str!("../../README.md");
        let row = readme.lines().find(|line| line.starts_with("| `name` |"));
        let (_, told) = row.unwrap().split_once("but not ").unwrap();
        let told: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
        assert_eq!(told, [&RESERVED[..], &RESERVED_SINCE].concat());
    }
}
