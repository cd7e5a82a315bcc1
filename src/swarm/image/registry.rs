//! [`Registry`]: images pushed to a registry of somebody else (OCI distribution specification 1.0, pushing).

use std::sync::Arc;

use awc::http::{Method, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use serde_json::json;

use super::base_image::BaseImage;
use super::blobs::Blobs;
use super::digest::Digest;
use super::host;
use super::manifest::MANIFEST;
use super::session::{Answer, Content, Session};
use crate::document::target_url::{Credentials, TargetUrl};

pub use super::session::RegistryError;

/// Where images are pushed, and nodes fetch them.
#[derive(Clone, Debug)]
pub struct Registry {
    url: Arc<TargetUrl>,
    /// Certificates that it is believed by, PEM; `None`: what this machine trusts.
    ca: Option<Arc<str>>,
}

impl Registry {
    /// `url` is `http` or `https`, its path the one under which each application has a repository.
    #[must_use]
    pub fn new(url: TargetUrl) -> Self {
        let url = Arc::new(url);
        Self { url, ca: None }
    }

    /// It is believed by these certificates alone, PEM.
    #[must_use]
    pub fn believed_by(self, ca: Arc<str>) -> Self {
        Self {
            ca: Some(ca),
            ..self
        }
    }

    /// An image that is fetched with what this registry wants, if it is there and has no password of its own.
    #[must_use]
    pub fn lend(&self, image: BaseImage) -> BaseImage {
        image.beside(&self.url, self.ca.clone())
    }

    /// The repository of `app`, as references have it.
    #[must_use]
    pub fn repository(&self, app: &str) -> String {
        format!("{}/{}", self.host(), self.name(app))
    }

    /// What engines are told to log in with: the value of `X-Registry-Auth`.
    #[must_use]
    pub fn for_engine(&self) -> String {
        let auth = match &self.url.credentials {
            Some(Credentials::Password(user, password)) => {
                json!({ "username": user, "password": password, "serveraddress": self.host() })
            }
            _ => json!({}),
        };
        BASE64_URL_SAFE.encode(auth.to_string())
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        host::of(&self.url)
    }

    /// The name of an application's repository in the registry.
    fn name(&self, app: &str) -> String {
        let parts = self.url.path.split('/').filter(|part| !part.is_empty());
        parts.chain([app]).collect::<Vec<_>>().join("/")
    }

    async fn session(&self) -> Result<Session, RegistryError> {
        Session::new(&self.url, self.ca.clone()).await
    }

    /// Asks whether it is one, as this server does; the status of the answer.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn look(&self) -> Result<u16, RegistryError> {
        let answer = self.session().await?.look().await?;
        Ok(answer.status().as_u16())
    }

    /// Pushes the image with this manifest and these blobs, those that the registry lacks.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn push(
        &self,
        app: &str,
        manifest: Digest,
        parts: &[Digest],
        blobs: &Blobs,
    ) -> Result<(), RegistryError> {
        let mut push = Push {
            session: self.session().await?,
            blobs,
            name: self.name(app),
        };
        if push.has("manifests", manifest).await? {
            return Ok(());
        }
        for part in parts {
            if !push.has("blobs", *part).await? {
                push.blob(*part).await?;
            }
        }
        push.manifest(manifest).await
    }
}

/// One push.
struct Push<'a> {
    session: Session,
    blobs: &'a Blobs,
    name: String,
}

impl Push<'_> {
    async fn ask(
        &mut self,
        method: Method,
        url: &str,
        content: Option<(Digest, &str)>,
    ) -> Result<Answer, RegistryError> {
        let blobs = self.blobs;
        let content = content.map(|(digest, kind)| Content {
            blobs,
            digest,
            kind,
        });
        self.session.ask(method, url, MANIFEST, content).await
    }

    /// Whether the registry has it.
    async fn has(&mut self, kind: &str, digest: Digest) -> Result<bool, RegistryError> {
        let url = self.session.url(&self.name, &format!("{kind}/{digest}"));
        let answer = self.ask(Method::HEAD, &url, None).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused("image of this name", answer).await),
        }
    }

    async fn blob(&mut self, digest: Digest) -> Result<(), RegistryError> {
        let begin = self.session.url(&self.name, "blobs/uploads/");
        let begun = self.ask(Method::POST, &begin, None).await?;
        let place = self.session.location(&begun);
        let Some(place) = place.filter(|_| begun.status() == StatusCode::ACCEPTED) else {
            return Err(self.refused("layers", begun).await);
        };
        let mark = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{mark}digest={digest}");
        let put = (digest, "application/octet-stream");
        let stored = self.ask(Method::PUT, &place, Some(put)).await?;
        self.expect_created("layer", stored).await
    }

    async fn manifest(&mut self, digest: Digest) -> Result<(), RegistryError> {
        let url = self.session.url(&self.name, &format!("manifests/{digest}"));
        let stored = self
            .ask(Method::PUT, &url, Some((digest, MANIFEST)))
            .await?;
        self.expect_created("manifest", stored).await
    }

    async fn expect_created(&self, what: &str, answer: Answer) -> Result<(), RegistryError> {
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.refused(what, answer).await),
        }
    }

    async fn refused(&self, what: &str, answer: Answer) -> RegistryError {
        self.session
            .refused(&format!("takes no {what}"), answer)
            .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn registry(url: &str) -> Registry {
        Registry::new(TargetUrl::parse(url, &["http", "https"]).unwrap())
    }

    #[test]
    fn an_application_has_a_repository_below_the_path() {
        let of = |url| registry(url).repository("shop");
        assert_eq!(of("https://r.example.org"), "r.example.org:443/shop");
        assert_eq!(of("http://nas/"), "nas:80/shop");
        assert_eq!(of("https://u:p@r:5000/a/b/"), "r:5000/a/b/shop");
    }

    #[test]
    fn engines_log_in_as_this_server_does() {
        let told = |url| -> Value {
            let told = BASE64_URL_SAFE.decode(registry(url).for_engine()).unwrap();
            serde_json::from_slice(&told).unwrap()
        };
        assert_eq!(told("https://r"), json!({}));
        let wanted = json!({ "username": "u", "password": "p", "serveraddress": "r:443" });
        assert_eq!(told("https://u:p@r"), wanted);
    }
}
