//! [`Client`]: speaks to the API, over the Unix socket or TCP.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::SizedStream;
use awc::error::WsClientError;
use awc::http::{Method, StatusCode, header};
use awc::{BoxedSocket, ClientResponse};
use bytes::Bytes;
use clap::Args;
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::unix_connector::UnixConnector;
use super::{https, input};
use crate::settings::Settings;
use crate::settings::environment::Environment;
use crate::settings::raw::RawSettings;

/// The largest answer, in bytes; a stream has no limit.
const LARGEST_ANSWER: usize = 16 << 20;
/// What is sent at once of a file, in bytes.
const PIECE: usize = 256 << 10;
/// The largest message of a WebSocket, in bytes.
const LARGEST_MESSAGE: usize = 1 << 20;
/// Where root's server listens.
const SYSTEM_SOCKET: &str = "/run/procserver/procserver.sock";

/// How to reach the server: the same for every client verb.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientArgs {
    /// Server: https://HOST, http://HOST:PORT, or unix:/path/of/procserver.sock [default: the socket of this machine's
    /// server]
    #[arg(
        long,
        env = "PROCSERVER_URL",
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub server: Option<String>,
    /// Token of the API; the Unix socket needs none
    #[arg(
        long,
        env = "PROCSERVER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub token: Option<String>,
    /// File with the token: on a command line, every user of the machine can read it
    #[arg(
        long,
        env = "PROCSERVER_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token",
        help_heading = "Connection"
    )]
    pub token_file: Option<String>,
    /// Certificate to trust in place of those that this machine trusts, for https://; a PEM file
    #[arg(
        long,
        env = "PROCSERVER_CA",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub ca: Option<PathBuf>,
    /// Print JSON and nothing else
    #[arg(long)]
    pub json: bool,
}

impl ClientArgs {
    /// With the token that is in `--token-file`; one on the command line gets a note.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn with_token_of_file(&self) -> anyhow::Result<Self> {
        let mut args = self.clone();
        if let Some(file) = &args.token_file {
            args.token = Some(input::value("the token", file)?.trim().to_owned());
        } else if args.token.is_some() && std::env::args().any(|word| is_token_option(&word)) {
            input::warn(
                "every user of this machine can read a token on the command line. Safer: --token-file FILE, or the \
                 variable PROCSERVER_TOKEN",
            );
        }
        let server = args.server.as_deref().unwrap_or_default();
        if args.token.is_some() && https::is_in_the_clear(server) {
            input::warn(
                "everybody on the way to this server can read the token, which opens all of its applications. Safer: \
                 https://, or a tunnel (ssh -L 8080:localhost:80 HOST)",
            );
        }
        Ok(args)
    }
}

fn is_token_option(word: &str) -> bool {
    word == "--token" || word.starts_with("--token=")
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Socket(PathBuf),
    /// `http://HOST:PORT` or `https://HOST`, without a slash at the end.
    Url(String),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--server` makes no sense.
    #[error("--server {0}: {1}")]
    Target(String, &'static str),
    #[error(
        "no server answers at {0} ({1}): is it running? Start it with \"procserver serve\" or \"systemctl start procserver\", or name another with --server"
    )]
    NoServer(String, String),
    /// Only root and the group `procserver` may connect to the socket.
    #[error(
        "{0} is not for you to use: be root, or a member of the group procserver (usermod --append --groups procserver USER, and log in again)"
    )]
    Forbidden(String),
    #[error("the exchange with {0} broke off: {1}")]
    Broken(String, String),
    #[error("{0}")]
    Trust(String),
    #[error("no safe connection to {0}: {1}")]
    Handshake(String, String),
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not what the API promises.
    #[error("cannot make sense of the answer to {0}: {1}; is this another version of procserver?")]
    Nonsense(String, String),
}

/// A request to the API.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    /// A document, JSON or JSON5.
    pub body: Option<String>,
    /// How long the answer may wait until the call is done (`Prefer: wait`).
    pub wait: Option<Duration>,
    /// The state of the document that it changes (`If-Match`): any other is left alone.
    pub if_match: Option<String>,
    /// A file, in place of a document.
    pub upload: Option<Upload>,
}

/// A file that is sent.
#[derive(Clone, Debug)]
pub struct Upload {
    pub file: Arc<File>,
    pub size: u64,
    /// Whether a person sees on stderr how much is sent.
    pub is_shown: bool,
}

impl Upload {
    /// Its pieces. Reading one blocks, which nobody else is kept by.
    fn pieces(&self) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let upload = self.clone();
        futures::stream::unfold((upload, 0), |(upload, at)| async move {
            upload.show(at);
            let mut piece = vec![0; PIECE];
            match upload.file.read_at(&mut piece, at) {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some((Ok(Bytes::from(piece)), (upload, at + read as u64)))
                }
                Err(error) => Some((Err(error), (upload, at))),
            }
        })
    }

    fn show(&self, sent: u64) {
        if !self.is_shown {
            return;
        }
        let text = match sent == self.size {
            true => String::new(),
            false => format!(
                "uploading {} of {} MiB",
                sent >> 20,
                self.size.div_ceil(1 << 20)
            ),
        };
        // Nothing is left to tell when stderr is closed.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

impl Call {
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            wait: None,
            if_match: None,
            upload: None,
        }
    }

    #[must_use]
    pub fn body(mut self, document: String) -> Self {
        self.body = Some(document);
        self
    }

    /// Asks for the answer when the call is done, or after this time.
    #[must_use]
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = Some(time);
        self
    }
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 201, 202 or 204.
    pub status: StatusCode,
    pub location: Option<String>,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` when it is empty or something else.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A WebSocket to the API.
pub type Socket = Framed<BoxedSocket, awc::ws::Codec>;

/// Speaks to the API of one server.
pub struct Client {
    http: awc::Client,
    target: Target,
    token: Option<String>,
}

impl Client {
    pub fn new(args: &ClientArgs) -> Result<Self, ClientError> {
        let target = match &args.server {
            Some(server) => Target::parse(server)?,
            None => Target::Socket(usual_socket()),
        };
        // Only connect has a timeout: an answer may wait for a deploy, and a followed log never ends.
        let builder = awc::Client::builder().disable_timeout().disable_redirects();
        let http = match &target {
            Target::Url(url) if url.starts_with("https://") => {
                let config = https::config(args.ca.as_deref()).map_err(ClientError::Trust)?;
                builder
                    .connector(awc::Connector::new().rustls_0_23(config))
                    .finish()
            }
            Target::Url(_) => builder.finish(),
            Target::Socket(path) => {
                let connector = UnixConnector::new(path.clone());
                builder
                    .connector(awc::Connector::new().connector(connector))
                    .finish()
            }
        };
        Ok(Self {
            http,
            target,
            token: args.token.clone(),
        })
    }

    /// GETs a document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.send(&Call::new(Method::GET, path)).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| ClientError::Nonsense(path.to_owned(), error.to_string()))
    }

    /// Sends `call` and reads the whole answer.
    ///
    /// # Errors
    /// [`ClientError`]; every status from 300 up is [`ClientError::Refused`].
    pub async fn send(&self, call: &Call) -> Result<Answer, ClientError> {
        let response = self.exchange(call, "application/json").await?;
        let status = response.status();
        let field = |name| {
            let value: Option<&header::HeaderValue> = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (location, etag) = (field(header::LOCATION), field(header::ETAG));
        let body = self.whole_body(response).await?;
        if !status.is_success() {
            return Err(ClientError::Refused(Box::new(Problem::read(
                status.as_u16(),
                &body,
            ))));
        }
        Ok(Answer {
            status,
            location,
            etag,
            body,
        })
    }

    /// GETs `path` as `media_type` and hands each piece to `take` as it comes.
    ///
    /// # Errors
    /// [`ClientError`], and what `take` returns.
    pub async fn stream<E: From<ClientError>>(
        &self,
        path: &str,
        media_type: &str,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pieces(&Call::new(Method::GET, path), media_type, take)
            .await
    }

    /// Sends `call` and hands each piece of the answer to `take` as it comes.
    ///
    /// # Errors
    /// [`ClientError`], and what `take` returns.
    pub async fn pieces<E: From<ClientError>>(
        &self,
        call: &Call,
        media_type: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut response = self.exchange(call, media_type).await?;
        let status = response.status();
        if !status.is_success() {
            let body = self.whole_body(response).await?;
            let problem = Problem::read(status.as_u16(), &body);
            return Err(ClientError::Refused(Box::new(problem)).into());
        }
        while let Some(piece) = response.next().await {
            let piece = piece.map_err(|error| self.broken(&error))?;
            take(&piece)?;
        }
        Ok(())
    }

    /// POSTs what `input` holds and reads the whole answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn upload(
        &self,
        path: &str,
        input: impl io::Read + 'static,
    ) -> Result<serde_json::Value, ClientError> {
        let call = Call::new(Method::POST, path);
        let request = self
            .request(&call, "application/json")
            .content_type("application/octet-stream");
        let sent = request.send_stream(pieces_of(input)).await;
        let response = sent.map_err(|error| self.explain(error))?;
        let status = response.status();
        let body = self.whole_body(response).await?;
        match status.is_success() {
            true => Ok(serde_json::from_slice(&body).unwrap_or_default()),
            false => Err(ClientError::Refused(Box::new(Problem::read(
                status.as_u16(),
                &body,
            )))),
        }
    }

    /// Opens a WebSocket at `path`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn websocket(&self, path: &str) -> Result<Socket, ClientError> {
        let mut request = self.http.ws(format!("{}{path}", self.base()));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        match request.max_frame_size(LARGEST_MESSAGE).connect().await {
            Ok((_, socket)) => Ok(socket),
            Err(WsClientError::SendRequest(error)) => Err(self.explain(error)),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn base(&self) -> &str {
        match &self.target {
            // The host is not looked at, but HTTP/1.1 demands one.
            Target::Socket(_) => "http://localhost",
            Target::Url(url) => url,
        }
    }

    async fn exchange(&self, call: &Call, media_type: &str) -> Result<ClientResponse, ClientError> {
        let request = self.request(call, media_type);
        let sent = match (&call.body, &call.upload) {
            (_, Some(upload)) => {
                let body = SizedStream::new(upload.size, Box::pin(upload.pieces()));
                request
                    .content_type("application/octet-stream")
                    .send_body(body)
                    .await
            }
            (Some(body), None) => {
                request
                    .content_type("application/json")
                    .send_body(body.clone())
                    .await
            }
            (None, None) => request.send().await,
        };
        sent.map_err(|error| self.explain(error))
    }

    fn request(&self, call: &Call, media_type: &str) -> awc::ClientRequest {
        let base = self.base();
        let mut request = self
            .http
            .request(call.method.clone(), format!("{base}{}", call.path))
            .insert_header((header::ACCEPT, media_type));
        if let Some(token) = &self.token {
            request = request.insert_header((header::AUTHORIZATION, format!("Bearer {token}")));
        }
        if let Some(time) = call.wait {
            request = request.insert_header(("Prefer", format!("wait={}", time.as_secs())));
        }
        if let Some(etag) = &call.if_match {
            request = request.insert_header((header::IF_MATCH, etag.as_str()));
        }
        request
    }

    async fn whole_body(&self, mut response: ClientResponse) -> Result<Vec<u8>, ClientError> {
        let body = response.body().limit(LARGEST_ANSWER).await;
        body.map(|body| body.to_vec())
            .map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken(self.target.to_string(), error.to_string())
    }

    fn explain(&self, error: awc::error::SendRequestError) -> ClientError {
        use awc::error::{ConnectError, SendRequestError};
        let target = self.target.to_string();
        if let SendRequestError::Connect(ConnectError::Io(error)) = &error
            && let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref())
        {
            return ClientError::Handshake(target, https::told(error));
        }
        match error {
            SendRequestError::Connect(ConnectError::Io(error))
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                ClientError::Forbidden(target)
            }
            SendRequestError::Connect(ConnectError::Io(error)) => {
                ClientError::NoServer(target, error.to_string())
            }
            SendRequestError::Connect(error) => ClientError::NoServer(target, error.to_string()),
            other => self.broken(&other),
        }
    }
}

/// The pieces of a file. Reading one blocks, which nobody else is kept by.
fn pieces_of(input: impl io::Read + 'static) -> impl Stream<Item = io::Result<Bytes>> + 'static {
    futures::stream::unfold(input, |mut input| async move {
        let mut piece = vec![0; PIECE];
        match input.read(&mut piece) {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), input))
            }
            Err(error) => Some((Err(error), input)),
        }
    })
}

impl Target {
    /// Reads what `--server` says.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let refuse = |why| Err(ClientError::Target(text.to_owned(), why));
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let url: Option<awc::http::Uri> = text.parse().ok();
        let host = url.as_ref().and_then(awc::http::Uri::host);
        let scheme = url.as_ref().and_then(awc::http::Uri::scheme_str);
        match (scheme, host) {
            // awc takes no such host for a certificate's.
            (Some("https"), Some(host)) if host.starts_with('[') => {
                refuse("https:// needs a name, or an IPv4 address")
            }
            (Some("http" | "https"), Some(_)) => {
                Ok(Self::Url(text.trim_end_matches('/').to_owned()))
            }
            _ => refuse("write https://HOST, http://HOST:PORT or unix:/path/of/procserver.sock"),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// The socket of one's own server if there is one, else the system's, which members of the group procserver may use.
fn usual_socket() -> PathBuf {
    let nothing = RawSettings::default;
    let own =
        Settings::resolve(nothing(), nothing(), &Environment::detect()).map(|own| own.socket());
    match own {
        Ok(own) if own.exists() || !Path::new(SYSTEM_SOCKET).exists() => own,
        _ => SYSTEM_SOCKET.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_or_a_socket() {
        assert_eq!(
            Target::parse("http://a:80/").unwrap(),
            Target::Url("http://a:80".into())
        );
        assert_eq!(
            Target::parse("unix:/x.sock").unwrap(),
            Target::Socket("/x.sock".into())
        );
        assert_eq!(
            Target::parse("unix:///x.sock").unwrap(),
            Target::Socket("/x.sock".into())
        );
        for bad in ["", "a:80", "ftp://a", "http://"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Target::parse("https://a/").unwrap(),
            Target::Url("https://a".into())
        );
        let address = Target::parse("https://[::1]").unwrap_err().to_string();
        assert!(address.contains("needs a name"), "{address}");
    }

    #[test]
    fn a_socket_without_a_server_is_explained() {
        let args = ClientArgs {
            server: Some("unix:/nowhere/x.sock".into()),
            ..ClientArgs::default()
        };
        let got = actix_rt::System::new().block_on(async {
            Client::new(&args)
                .unwrap()
                .get::<serde_json::Value>("/")
                .await
        });
        let text = got.unwrap_err().to_string();
        assert!(
            text.contains("/nowhere/x.sock") && text.contains("procserver serve"),
            "{text}"
        );
    }
}
