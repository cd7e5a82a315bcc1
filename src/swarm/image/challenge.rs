//! [`Challenge`]: what a registry that answers 401 wants (RFC 9110 §11.6.1, and Docker's token authentication) (pure).

use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token, which this URL gives.
    Bearer(String),
}

impl Challenge {
    /// Reads the value of `WWW-Authenticate`; `None`: it wants something else, or tokens by a way that others can read.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let given = parameters(rest);
        let realm = *given.get("realm").filter(|realm| is_good(realm))?;
        let wanted = ["service", "scope"].into_iter().filter_map(|name| {
            let value = utf8_percent_encode(given.get(name)?, NON_ALPHANUMERIC);
            Some(format!("{name}={value}"))
        });
        let query: Vec<String> = wanted.collect();
        Some(Self::Bearer(format!("{realm}?{}", query.join("&"))))
    }
}

/// Whether a password may be sent there.
fn is_good(realm: &str) -> bool {
    let is_plain = |realm: &str| realm.bytes().all(|b| b.is_ascii_graphic() && b != b'?');
    realm.starts_with("https://") && is_plain(realm)
}

/// `name="value"` with commas between; a value may have commas.
fn parameters(mut text: &str) -> HashMap<&str, &str> {
    let mut found = HashMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let Some((value, rest)) = rest.split_once('"') else {
            break;
        };
        found.insert(name.trim_start_matches([',', ' ']), value);
        text = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_wants_a_password_or_a_token_from_somewhere() {
        assert_eq!(
            Challenge::parse("Basic realm=\"procserver\""),
            Some(Challenge::Basic)
        );
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"";
        let url = "https://auth.docker.io/token?service=registry%2Edocker%2Eio&scope=repository%3Aa%2Fb%3Apull%2Cpush";
        assert_eq!(Challenge::parse(hub), Some(Challenge::Bearer(url.into())));
        for bad in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm=\"http://auth/token\"",
            "Bearer realm=\"https://auth/a b\"",
            "Bearer realm=\"https://auth",
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
    }
}
