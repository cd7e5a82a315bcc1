//! [`Client`]: speaks to the API, over the Unix socket or TCP.

use std::io;

use actix_codec::Framed;
use actix_http::body::SizedStream;
use awc::error::WsClientError;
use awc::http::{Method, header};
use awc::{BoxedSocket, ClientResponse};
use bytes::Bytes;
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::https;
use super::problem::Problem;
use super::unix_connector::UnixConnector;

mod args;
mod call;
mod error;
mod target;

pub use args::ClientArgs;
pub use call::{Answer, Call, Upload};
pub use error::ClientError;
pub use target::Target;

/// The largest answer, in bytes; a stream has no limit.
const LARGEST_ANSWER: usize = 16 << 20;
/// The largest message of a WebSocket, in bytes.
const LARGEST_MESSAGE: usize = 1 << 20;

/// A WebSocket to the API.
pub type Socket = Framed<BoxedSocket, awc::ws::Codec>;

/// An answer that is read as it comes.
pub struct Pieces {
    response: ClientResponse,
    target: String,
}

impl Pieces {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.response.next().await.transpose();
        piece.map_err(|error| ClientError::Broken(self.target.clone(), error.to_string()))
    }
}

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
            None => Target::Socket(target::usual_socket()),
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
        let mut pieces = self.open(call, media_type).await?;
        while let Some(piece) = pieces.next().await? {
            take(&piece)?;
        }
        Ok(())
    }

    /// Sends `call`; the answer is read piece by piece.
    ///
    /// # Errors
    /// As of [`Client::send`].
    pub async fn open(&self, call: &Call, media_type: &str) -> Result<Pieces, ClientError> {
        let response = self.exchange(call, media_type).await?;
        let status = response.status();
        if !status.is_success() {
            let body = self.whole_body(response).await?;
            let problem = Problem::read(status.as_u16(), &body);
            return Err(ClientError::Refused(Box::new(problem)));
        }
        let target = self.target.to_string();
        Ok(Pieces { response, target })
    }

    /// Sends a request of somebody else, with these fields and as the caller that this client is.
    ///
    /// # Errors
    /// The server cannot be reached; whatever it answers is none.
    pub async fn relay(
        &self,
        method: Method,
        path: &str,
        fields: &[(header::HeaderName, header::HeaderValue)],
        body: Bytes,
    ) -> Result<ClientResponse, ClientError> {
        let mut request = self.request(&Call::new(method, path), "*/*");
        for (name, value) in fields {
            request = request.insert_header((name.clone(), value.clone()));
        }
        let sent = match body.is_empty() {
            true => request.send().await,
            false => request.send_body(body).await,
        };
        sent.map_err(|error| self.explain(error))
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
        let sent = request.send_stream(call::pieces_of(input)).await;
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
        if let Some(id) = &call.last_event_id {
            request = request.insert_header(("Last-Event-ID", id.as_str()));
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
            SendRequestError::Connect(ConnectError::Disconnected) => self.broken(&"it went away"),
            SendRequestError::Connect(error) => ClientError::NoServer(target, error.to_string()),
            other => self.broken(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
