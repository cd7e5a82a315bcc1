//! Previews: a branch of an application beside it, as an application of its own (pure).
//!
//! `previews` of an application's document says how, and `preview` of the other document says of which it is one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::host_name::HostName;
use super::name::AppName;

/// Previews of one application at a time.
pub const MOST: usize = 10;

/// Characters of the digest in a name that was cut.
const DIGEST: usize = 8;

/// `previews` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previews {
    /// `*.preview.example.org`: in place of the star each has its name.
    pub hosts: Option<HostName>,
    /// Variables beside, and in place of, those of the application.
    pub env: BTreeMap<String, String>,
    /// How long one is kept after its last deployment.
    pub expires: Duration,
    /// How long nobody asks for one before it sleeps.
    pub sleep: Duration,
}

impl Default for Previews {
    fn default() -> Self {
        Self {
            hosts: None,
            env: BTreeMap::new(),
            expires: Duration::from_secs(7 * 86_400),
            sleep: Duration::from_mins(30),
        }
    }
}

/// `preview` of the document: it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewOf {
    pub app: AppName,
    /// It is removed so long after its last deployment.
    pub expires: Duration,
}

/// The name of the preview of a branch. Two branches may have the same.
///
/// # Errors
/// The branch has nothing that a name can be made of.
pub fn name_of(app: &AppName, branch: &str) -> Result<AppName, String> {
    let mut slug = String::new();
    for c in branch.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        return Err("has no letter or digit that a name could be made of".to_owned());
    }
    let whole = format!("{app}-{slug}");
    if whole.len() <= LONGEST {
        return AppName::parse(&whole).map_err(|error| error.to_string());
    }
    let digest = sha256(&[app.as_str(), "\0", branch].concat());
    let cut = whole[..LONGEST - DIGEST - 1].trim_end_matches('-');
    AppName::parse(&format!("{cut}-{}", &digest[..DIGEST])).map_err(|error| error.to_string())
}

/// A label of a host name has no more.
const LONGEST: usize = 63;

fn sha256(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    fn name(text: &str) -> AppName {
        AppName::parse(text).expect("a name")
    }

    #[test]
    fn a_name_is_made_of_the_application_and_the_branch() {
        let of = |branch: &str| name_of(&name("blog"), branch).map(|name| name.to_string());
        assert_eq!(of("feature/Log-in_2"), Ok("blog-feature-log-in-2".into()));
        assert_eq!(of("--über//x--"), Ok("blog-ber-x".into()));
        assert!(of("///").is_err());
        let (one, other) = (of(&"a".repeat(100)), of(&"a".repeat(101)));
        assert_ne!(one, other, "what was cut is told apart");
    }

    proptest! {
        #[test]
        fn every_branch_has_a_good_name_or_none(branch in "\\PC{0,80}", app in "[a-z][a-z0-9]{0,62}") {
            let app = name(&app);
            if let Ok(preview) = name_of(&app, &branch) {
                prop_assert!(preview.as_str().len() <= LONGEST);
                prop_assert_ne!(&preview, &app);
            }
        }
    }
}
