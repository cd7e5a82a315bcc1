//! [`Registry`]: images pushed to a registry of somebody else (OCI distribution specification 1.0, pushing).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::SizedStream;
use awc::http::header::{self, HeaderMap};
use awc::http::{Method, StatusCode};
use awc::{ClientResponse, Connector};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use bytes::Bytes;
use futures::stream::{self, Stream};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::blobs::Blobs;
use super::challenge::Challenge;
use super::digest::Digest;
use super::manifest::MANIFEST;
use crate::document::target_url::{Credentials, TargetUrl};
use crate::outgoing::trusted;
use crate::terminal::is_control;

/// For connecting, and for the whole answer to anything but a layer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// For a layer, which the step's own limit ends earlier.
const UPLOAD: Duration = Duration::from_secs(3600);

/// What is read of an answer, and what of one that says no is shown.
const LARGEST_ANSWER: usize = 64 * 1024;
const SHOWN: usize = 200;

/// What is read of a layer at once.
const PIECE: usize = 1 << 17;

/// Why an image is not in the registry.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("the registry {0} cannot be reached: {1}")]
    Unreachable(String, String),
    #[error("the registry {host} takes no {what}: it answered {said}")]
    Refused {
        host: String,
        what: String,
        said: String,
    },
    #[error("a layer cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Where images are pushed, and nodes fetch them.
#[derive(Clone, Debug)]
pub struct Registry {
    url: Arc<TargetUrl>,
}

impl Registry {
    /// `url` is `http` or `https`, its path the one under which each application has a repository.
    #[must_use]
    pub fn new(url: TargetUrl) -> Self {
        Self { url: Arc::new(url) }
    }

    /// The repository of `app`, as references have it. The port is always there, see [`super::host`].
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

    fn host(&self) -> String {
        let usual = if self.url.scheme == "http" { 80 } else { 443 };
        let port = self.url.port.unwrap_or(usual);
        format!("{}:{port}", self.url.host)
    }

    /// The name of an application's repository in the registry.
    fn name(&self, app: &str) -> String {
        let parts = self.url.path.split('/').filter(|part| !part.is_empty());
        parts.chain([app]).collect::<Vec<_>>().join("/")
    }

    /// Pushes the image with this manifest and these blobs, those that the registry lacks.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(
        &self,
        app: &str,
        manifest: Digest,
        parts: &[Digest],
        blobs: &Blobs,
    ) -> Result<(), PushError> {
        let mut push = Push::new(self, app, blobs).await?;
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
    registry: &'a Registry,
    http: awc::Client,
    blobs: &'a Blobs,
    /// `http://HOST:PORT`.
    origin: String,
    name: String,
    authorization: Option<String>,
}

type Answer = ClientResponse;

impl<'a> Push<'a> {
    async fn new(registry: &'a Registry, app: &str, blobs: &'a Blobs) -> Result<Self, PushError> {
        let connector = Connector::new().timeout(CONNECT);
        let builder = awc::Client::builder().timeout(ANSWER).disable_redirects();
        let scheme = &registry.url.scheme;
        let http = match scheme.as_str() {
            "http" => builder.connector(connector).finish(),
            _ => {
                let config = trusted::config(None, &[b"http/1.1"]).await;
                let config =
                    config.map_err(|e| PushError::Unreachable(registry.host(), e.to_string()))?;
                builder.connector(connector.rustls_0_23(config)).finish()
            }
        };
        Ok(Self {
            http,
            blobs,
            origin: format!("{scheme}://{}", registry.url.authority()),
            name: registry.name(app),
            authorization: None,
            registry,
        })
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.origin, self.name)
    }

    /// Whether the registry has it.
    async fn has(&mut self, kind: &str, digest: Digest) -> Result<bool, PushError> {
        let url = self.url(&format!("{kind}/{digest}"));
        let answer = self.ask(Method::HEAD, &url, None).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused("image of this name", answer).await),
        }
    }

    async fn blob(&mut self, digest: Digest) -> Result<(), PushError> {
        let begin = self.url("blobs/uploads/");
        let begun = self.ask(Method::POST, &begin, None).await?;
        let place = begun.headers().get(header::LOCATION);
        let place = place
            .and_then(|place| place.to_str().ok())
            .map(str::to_owned);
        let Some(place) = place.filter(|_| begun.status() == StatusCode::ACCEPTED) else {
            return Err(self.refused("layers", begun).await);
        };
        let place = match place.starts_with('/') {
            true => format!("{}{place}", self.origin),
            false => place,
        };
        let mark = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{mark}digest={digest}");
        let put = (digest, "application/octet-stream");
        let stored = self.ask(Method::PUT, &place, Some(put)).await?;
        self.expect_created("layer", stored).await
    }

    async fn manifest(&mut self, digest: Digest) -> Result<(), PushError> {
        let url = self.url(&format!("manifests/{digest}"));
        let stored = self
            .ask(Method::PUT, &url, Some((digest, MANIFEST)))
            .await?;
        self.expect_created("manifest", stored).await
    }

    async fn expect_created(&self, what: &str, answer: Answer) -> Result<(), PushError> {
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.refused(what, answer).await),
        }
    }

    /// Asks once more with what the registry wants to see.
    async fn ask(
        &mut self,
        method: Method,
        url: &str,
        content: Option<(Digest, &str)>,
    ) -> Result<Answer, PushError> {
        let answer = self.send(method.clone(), url, content).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match self.authorize(answer.headers()).await? {
            true => self.send(method, url, content).await,
            false => Ok(answer),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        content: Option<(Digest, &str)>,
    ) -> Result<Answer, PushError> {
        let mut request = self.http.request(method, url);
        request = request.insert_header((header::USER_AGENT, "procserver"));
        request = request.insert_header((header::ACCEPT, MANIFEST));
        // A registry may store layers elsewhere: who has no password of ours needs none.
        let is_own = url.strip_prefix(&self.origin);
        if let Some(authorization) = &self.authorization
            && is_own.is_some_and(|rest| rest.starts_with('/'))
        {
            request = request.insert_header((header::AUTHORIZATION, authorization.as_str()));
        }
        let sent = match content {
            None => request.send().await,
            Some((digest, kind)) => {
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let file = self.blobs.read(&digest)?.ok_or_else(missing)?;
                let size = file.metadata()?.len();
                let body = SizedStream::new(size, pieces(tokio::fs::File::from_std(file)));
                let request = request.timeout(UPLOAD);
                request.content_type(kind).send_body(body).await
            }
        };
        sent.map_err(|error| self.unreachable(&error.to_string()))
    }

    /// Does what an answer of 401 wants; `false`: that is nothing that this server can do, or was in vain before.
    async fn authorize(&mut self, fields: &HeaderMap) -> Result<bool, PushError> {
        let wanted = fields.get(header::WWW_AUTHENTICATE);
        let wanted = wanted.and_then(|wanted| Challenge::parse(wanted.to_str().ok()?));
        let basic = match &self.registry.url.credentials {
            Some(Credentials::Password(user, password)) => {
                let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
                Some(format!("Basic {both}"))
            }
            _ => None,
        };
        let authorization = match wanted {
            Some(Challenge::Basic) => basic,
            Some(Challenge::Bearer(url)) => Some(self.token(&url, basic).await?),
            None => None,
        };
        let is_new = authorization.is_some() && authorization != self.authorization;
        self.authorization = authorization;
        Ok(is_new)
    }

    /// A token from where the registry says that there are some.
    async fn token(&self, url: &str, basic: Option<String>) -> Result<String, PushError> {
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
            // The same by the name that OAuth has for it: either, or both.
            access_token: Option<String>,
        }
        let mut request = self.http.get(url);
        if let Some(basic) = basic {
            request = request.insert_header((header::AUTHORIZATION, basic));
        }
        let sent = request.send().await;
        let mut answer = sent.map_err(|error| self.unreachable(&error.to_string()))?;
        let given = answer.json::<Given>().limit(LARGEST_ANSWER).await;
        let given = given
            .ok()
            .and_then(|given| given.token.or(given.access_token));
        match given {
            Some(token) => Ok(format!("Bearer {token}")),
            None => Err(PushError::Refused {
                host: self.registry.host(),
                what: "password of this server".to_owned(),
                said: answer.status().to_string(),
            }),
        }
    }

    fn unreachable(&self, why: &str) -> PushError {
        PushError::Unreachable(self.registry.host(), why.to_owned())
    }

    async fn refused(&self, what: &str, mut answer: Answer) -> PushError {
        let text = answer
            .body()
            .limit(LARGEST_ANSWER)
            .await
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let text = text.chars().map(|c| if is_control(c) { ' ' } else { c });
        let text: String = text.take(SHOWN).collect();
        PushError::Refused {
            host: self.registry.host(),
            what: what.to_owned(),
            said: format!("{} {}", answer.status(), text.trim()),
        }
    }
}

/// The content of a file.
fn pieces(file: tokio::fs::File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(piece), file)))
    })
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
