//! [`BaseImage`]: an image in a registry whose layers take the place of a root file system of this machine's Debian (pure).

use std::fmt;
use std::sync::Arc;

use super::digest::Digest;
use super::host;
use crate::document::target_url::{Credentials, TargetUrl};

/// Where references without a host lead.
const HUB: &str = "registry-1.docker.io";

const MOST: usize = 255;

/// An image in a registry.
#[derive(Clone)]
pub struct BaseImage {
    /// Its path is the name of the repository.
    pub(super) url: Arc<TargetUrl>,
    /// Certificates that the registry is believed by, PEM; `None`: what this machine trusts.
    pub(super) ca: Option<Arc<str>>,
    /// The tag, or the digest.
    pub(super) version: String,
}

impl BaseImage {
    /// Reads a reference as engines take it (`debian:12`, `registry.example.org/team/base@sha256:…`), or the same as a URL,
    /// which may have user and password.
    ///
    /// # Errors
    /// What is wrong, without the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (before, last) = match text.rsplit_once('/') {
            Some((before, last)) => (Some(before), last),
            None => (None, text),
        };
        let (name, version) = match (last.split_once('@'), last.split_once(':')) {
            (Some((name, digest)), _) => {
                let digest = Digest::parse(digest).map_err(|e| format!("has a digest that {e}"))?;
                // A tag beside it says nothing more.
                let name = name.split(':').next().unwrap_or(name);
                (name, digest.to_string())
            }
            (None, Some((name, tag))) => (name, tag.to_owned()),
            (None, None) => (last, "latest".to_owned()),
        };
        let url = url_of(before, name);
        let url = TargetUrl::parse(&url, &["https", "http"])?;
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let is_name = url.path.len() > 1 && url.path.len() < MOST && url.path.chars().all(is_part);
        let is_word = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        let is_version =
            !version.is_empty() && version.len() < MOST && version.chars().all(is_word);
        if !is_name || !is_version || url.path.split('/').skip(1).any(is_odd) {
            return Err("has a name or a tag that no image has".to_owned());
        }
        if matches!(url.credentials, Some(Credentials::Token(_))) || url.host.contains(':') {
            return Err("needs USER:PASSWORD before the @, and a host by its name".to_owned());
        }
        Ok(Self {
            url: Arc::new(url),
            ca: None,
            version,
        })
    }

    /// In the registry of images, it is fetched with what that wants, unless it has a password of its own.
    #[must_use]
    pub fn beside(mut self, registry: &TargetUrl, ca: Option<Arc<str>>) -> Self {
        if host::of(&self.url) != host::of(registry) {
            return self;
        }
        self.ca = ca;
        if self.url.credentials.is_none() {
            let mut url = (*self.url).clone();
            url.credentials.clone_from(&registry.credentials);
            url.scheme.clone_from(&registry.scheme);
            self.url = Arc::new(url);
        }
        self
    }

    /// The name of its repository in the registry.
    pub(super) fn name(&self) -> &str {
        self.url.path.trim_matches('/')
    }
}

/// An empty part of a path, or one that leads elsewhere.
fn is_odd(part: &str) -> bool {
    part.is_empty() || part == "." || part == ".."
}

fn url_of(before: Option<&str>, name: &str) -> String {
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    match before {
        Some(before) if before.contains("://") => format!("{before}/{name}"),
        Some(before) if is_host(before.split('/').next().unwrap_or_default()) => {
            match before.split_once('/') {
                Some(("docker.io", rest)) => format!("https://{HUB}/{rest}/{name}"),
                _ if before == "docker.io" => format!("https://{HUB}/library/{name}"),
                _ => format!("https://{before}/{name}"),
            }
        }
        Some(before) => format!("https://{HUB}/{before}/{name}"),
        None => format!("https://{HUB}/library/{name}"),
    }
}

/// As it may be shown to anybody.
impl fmt::Display for BaseImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.version.contains(':') { '@' } else { ':' };
        let (host, name) = (host::of(&self.url), self.name());
        write!(f, "{host}/{name}{mark}{}", self.version)
    }
}

impl fmt::Debug for BaseImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseImage({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        BaseImage::parse(text).expect(text).to_string()
    }

    #[test]
    fn a_reference_is_what_engines_take_for_it() {
        let digest = Digest::of(b"");
        for (text, wanted) in [
            ("debian", "registry-1.docker.io:443/library/debian:latest"),
            (
                "docker.io/debian:12",
                "registry-1.docker.io:443/library/debian:12",
            ),
            ("team/base:1.2", "registry-1.docker.io:443/team/base:1.2"),
            ("r.example.org/a/b:c", "r.example.org:443/a/b:c"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("http://u:p@r:5000/a/b:c", "r:5000/a/b:c"),
            ("https://u:p@r/a", "r:443/a:latest"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
        let by_digest = format!("r.example.org/a:1@{digest}");
        assert_eq!(shown(&by_digest), format!("r.example.org:443/a@{digest}"));
    }

    #[test]
    fn what_names_no_image_is_refused_without_its_password() {
        for bad in [
            "",
            "https://u:sesame@r/",
            "https://u:sesame@r/A",
            "https://sesame@r/a",
            "https://u:sesame@r/a:b c",
            "https://u:sesame@r/a@sha256:12",
            "https://u:sesame@r/../a",
            "ftp://u:sesame@r/a",
        ] {
            let told = BaseImage::parse(bad).expect_err(bad);
            assert!(!told.contains("sesame"), "{told}");
        }
        let shown = format!("{:?}", BaseImage::parse("https://u:sesame@r/a").unwrap());
        assert_eq!(shown, "BaseImage(r:443/a:latest)");
    }

    #[test]
    fn it_is_fetched_with_the_password_of_the_registry_that_it_is_in() {
        let registry = TargetUrl::parse("https://u:p@r/apps", &["https"]).unwrap();
        let of = |text| {
            let image = BaseImage::parse(text).unwrap();
            let image = image.beside(&registry, Some("pem".into()));
            let user = match &image.url.credentials {
                Some(Credentials::Password(user, _)) => user.clone(),
                _ => String::new(),
            };
            (user, image.ca.is_some())
        };
        assert_eq!(of("https://r/base"), ("u".into(), true));
        assert_eq!(of("https://other:p@r/base"), ("other".into(), true));
        assert_eq!(of("https://elsewhere/base"), (String::new(), false));
    }
}
