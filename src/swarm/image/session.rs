//! [`Session`]: calls to a registry of somebody else, with what it wants to see (OCI distribution specification 1.0).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::SizedStream;
use awc::http::header::{self, HeaderMap};
use awc::http::{Method, StatusCode};
use awc::{ClientRequest, ClientResponse, Connector};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::{self, Stream};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::blobs::Blobs;
use super::challenge::Challenge;
use super::digest::Digest;
use super::host;
use crate::document::target_url::{Credentials, TargetUrl};
use crate::outgoing::trusted;
use crate::terminal::is_control;

/// For connecting, and for the whole answer to anything but a layer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// For a layer, which the step's own limit ends earlier.
const LAYER: Duration = Duration::from_secs(3600);

/// What is read of an answer, and what of one that says no is shown.
const LARGEST_ANSWER: usize = 64 * 1024;
const SHOWN: usize = 200;

/// What is read of a layer at once.
const PIECE: usize = 1 << 17;

/// Why a registry does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the registry {0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// `what`: "takes no layers".
    #[error("the registry {host} {what}: it answered {said}")]
    Refused {
        host: String,
        what: String,
        said: String,
    },
    /// What it gives is not what it says, or nothing that an image is made of.
    #[error("the registry {host}: {what}")]
    Wrong { host: String, what: String },
    #[error("a layer cannot be read or stored: {0}")]
    Disk(#[from] io::Error),
}

pub(super) type Answer = ClientResponse;

/// A blob that is sent.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) digest: Digest,
    pub(super) kind: &'a str,
}

/// Calls to one registry. It remembers what that wanted to see.
pub(super) struct Session {
    host: String,
    http: awc::Client,
    /// `http://HOST:PORT`.
    origin: String,
    basic: Option<String>,
    authorization: Option<String>,
}

impl Session {
    /// `ca`: certificates that alone are believed, PEM.
    pub(super) async fn new(url: &TargetUrl, ca: Option<Arc<str>>) -> Result<Self, RegistryError> {
        let connector = Connector::new().timeout(CONNECT);
        let builder = awc::Client::builder().timeout(ANSWER).disable_redirects();
        let host = host::of(url);
        let http = match url.scheme.as_str() {
            "http" => builder.connector(connector).finish(),
            _ => {
                let config = trusted::config(ca, &[b"http/1.1"]).await;
                let config =
                    config.map_err(|e| RegistryError::Unreachable(host.clone(), e.to_string()))?;
                builder.connector(connector.rustls_0_23(config)).finish()
            }
        };
        let basic = match &url.credentials {
            Some(Credentials::Password(user, password)) => {
                let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
                Some(format!("Basic {both}"))
            }
            _ => None,
        };
        Ok(Self {
            http,
            host,
            basic,
            origin: format!("{}://{}", url.scheme, url.authority()),
            authorization: None,
        })
    }

    /// The URL of what is in the repository `name`.
    pub(super) fn url(&self, name: &str, rest: &str) -> String {
        format!("{}/v2/{name}/{rest}", self.origin)
    }

    /// Where an answer leads, which may name a path alone.
    pub(super) fn location(&self, answer: &Answer) -> Option<String> {
        let place = answer.headers().get(header::LOCATION)?.to_str().ok()?;
        Some(match place.starts_with('/') {
            true => format!("{}{place}", self.origin),
            false => place.to_owned(),
        })
    }

    /// Asks the registry itself.
    pub(super) async fn look(&mut self) -> Result<Answer, RegistryError> {
        let url = format!("{}/v2/", self.origin);
        self.ask(Method::GET, &url, "*/*", None).await
    }

    /// Asks once more with what the registry wants to see.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        url: &str,
        accept: &str,
        content: Option<Content<'_>>,
    ) -> Result<Answer, RegistryError> {
        let answer = self.send(method.clone(), url, accept, content).await?;
        // Where the registry leads to has no claim to its password.
        if answer.status() != StatusCode::UNAUTHORIZED || !self.is_own(url) {
            return Ok(answer);
        }
        match self.authorize(answer.headers()).await? {
            true => self.send(method, url, accept, content).await,
            false => Ok(answer),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        accept: &str,
        content: Option<Content<'_>>,
    ) -> Result<Answer, RegistryError> {
        let is_short = method != Method::GET;
        let request = self.request(method, url);
        let request = request.insert_header((header::ACCEPT, accept));
        let sent = match content {
            // What comes is a layer, perhaps, and is digested as it is.
            None if !is_short => {
                let request = request.timeout(LAYER).no_decompress();
                request.send().await
            }
            None => request.send().await,
            Some(Content {
                blobs,
                digest,
                kind,
            }) => {
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let file = blobs.read(&digest)?.ok_or_else(missing)?;
                let size = file.metadata()?.len();
                let body = SizedStream::new(size, pieces(tokio::fs::File::from_std(file)));
                let request = request.timeout(LAYER);
                request.content_type(kind).send_body(body).await
            }
        };
        sent.map_err(|error| self.unreachable(&error.to_string()))
    }

    fn request(&self, method: Method, url: &str) -> ClientRequest {
        let request = self.http.request(method, url);
        let request = request.insert_header((header::USER_AGENT, "procserver"));
        match &self.authorization {
            Some(authorization) if self.is_own(url) => {
                request.insert_header((header::AUTHORIZATION, authorization.as_str()))
            }
            _ => request,
        }
    }

    /// Whether a URL is of the registry itself, which may store layers elsewhere.
    fn is_own(&self, url: &str) -> bool {
        let rest = url.strip_prefix(&self.origin);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// Does what an answer of 401 wants; `false`: that is nothing that this server can do, or was in vain before.
    async fn authorize(&mut self, fields: &HeaderMap) -> Result<bool, RegistryError> {
        let wanted = fields.get(header::WWW_AUTHENTICATE);
        let wanted = wanted.and_then(|wanted| Challenge::parse(wanted.to_str().ok()?));
        let authorization = match wanted {
            Some(Challenge::Basic) => self.basic.clone(),
            Some(Challenge::Bearer(url)) => Some(self.token(&url).await?),
            None => None,
        };
        let is_new = authorization.is_some() && authorization != self.authorization;
        self.authorization = authorization;
        Ok(is_new)
    }

    /// A token from where the registry says that there are some.
    async fn token(&self, url: &str) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
            // The same by the name that OAuth has for it: either, or both.
            access_token: Option<String>,
        }
        let mut request = self.http.get(url);
        if let Some(basic) = &self.basic {
            request = request.insert_header((header::AUTHORIZATION, basic.as_str()));
        }
        let sent = request.send().await;
        let mut answer = sent.map_err(|error| self.unreachable(&error.to_string()))?;
        let given = answer.json::<Given>().limit(LARGEST_ANSWER).await;
        let given = given
            .ok()
            .and_then(|given| given.token.or(given.access_token));
        match given {
            Some(token) => Ok(format!("Bearer {token}")),
            None => Err(RegistryError::Refused {
                host: self.host.clone(),
                what: "takes no password of this server".to_owned(),
                said: answer.status().to_string(),
            }),
        }
    }

    pub(super) fn unreachable(&self, why: &str) -> RegistryError {
        RegistryError::Unreachable(self.host.clone(), why.to_owned())
    }

    pub(super) fn wrong(&self, what: impl Into<String>) -> RegistryError {
        RegistryError::Wrong {
            host: self.host.clone(),
            what: what.into(),
        }
    }

    pub(super) async fn refused(&self, what: &str, mut answer: Answer) -> RegistryError {
        let text = answer
            .body()
            .limit(LARGEST_ANSWER)
            .await
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let text = text.chars().map(|c| if is_control(c) { ' ' } else { c });
        let text: String = text.take(SHOWN).collect();
        RegistryError::Refused {
            host: self.host.clone(),
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
