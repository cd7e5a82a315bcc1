//! [`Poster`]: POSTs to one receiver, and judges its answers.

use std::sync::Arc;
use std::time::Duration;

use awc::http::{StatusCode, header};
use bytes::Bytes;
use tokio::time::timeout;

use super::{answer, trusted};
use crate::document::mask::Mask;
use crate::document::target_url::{Credentials, TargetUrl};

/// For connecting, for the head of the answer, and for all of it.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(60);

/// What is read of an answer.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The longest that a receiver may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It never will be: another try is in vain.
    Refused(String),
    /// It may be later; the receiver may have said when.
    Failed(String, Option<Duration>),
}

/// POSTs to one receiver.
pub struct Poster {
    http: awc::Client,
    url: String,
    authorization: Option<String>,
    /// Hides what must not be shown of an answer.
    mask: Mask,
}

impl std::fmt::Debug for Poster {
    /// Without the URL, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poster")
    }
}

impl Poster {
    /// Nothing is connected yet. `scheme` is `http` or `https`; `ca` is who is trusted instead of whom the machine
    /// trusts; `mask` hides what is secret in what is sent, should an answer repeat it.
    ///
    /// # Errors
    /// There is nobody to trust.
    pub async fn new(url: &TargetUrl, ca: Option<Arc<str>>, mask: &Mask) -> Result<Self, NotTaken> {
        let is_secure = url.scheme.ends_with("https");
        let connector = awc::Connector::new().timeout(CONNECT);
        let builder = awc::Client::builder().timeout(ANSWER).disable_redirects();
        let http = match is_secure {
            false => builder.connector(connector).finish(),
            true => {
                let config = trusted::config(ca, &[b"http/1.1"]).await;
                let config = config.map_err(|error| NotTaken::Failed(error.to_string(), None))?;
                builder.connector(connector.rustls_0_23(config)).finish()
            }
        };
        let scheme = if is_secure { "https" } else { "http" };
        let path = match url.path.is_empty() {
            true => "/",
            false => &url.path,
        };
        Ok(Self {
            http,
            url: format!("{scheme}://{}{path}", url.authority()),
            authorization: url.credentials.as_ref().map(authorization),
            mask: Mask::new(url.secrets()).and(mask),
        })
    }

    /// Sends `body` once. Takes a minute at most, whatever the receiver does.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn post(
        &self,
        media_type: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(), NotTaken> {
        self.post_within(WHOLE, media_type, fields, body).await
    }

    async fn post_within(
        &self,
        limit: Duration,
        media_type: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(), NotTaken> {
        let posted = timeout(limit, self.post_in_time(media_type, fields, body));
        posted.await.unwrap_or_else(|_| {
            let why = format!("its answer does not end within {} seconds", limit.as_secs());
            Err(NotTaken::Failed(why, None))
        })
    }

    async fn post_in_time(
        &self,
        media_type: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(), NotTaken> {
        let mut request = self
            .http
            .post(&self.url)
            .insert_header((header::CONTENT_TYPE, media_type))
            .insert_header((header::USER_AGENT, "procserver"));
        for field in fields {
            request = request.insert_header(*field);
        }
        if let Some(authorization) = &self.authorization {
            request = request.insert_header((header::AUTHORIZATION, authorization.as_str()));
        }
        let mut answer = match request.send_body(body).await {
            Ok(answer) => answer,
            Err(error) => return Err(NotTaken::Failed(explain(&error), None)),
        };
        let (status, wait) = (answer.status(), retry_after(&answer));
        let text = answer.body().limit(LARGEST_ANSWER).await;
        if status.is_success() {
            return Ok(());
        }
        let text = text.unwrap_or_default();
        let said = answer::shown(&String::from_utf8_lossy(&text), &self.mask);
        Err(judge(status, &said, wait))
    }
}

fn authorization(credentials: &Credentials) -> String {
    use base64::Engine as _;
    match credentials {
        Credentials::Token(token) => format!("Bearer {token}"),
        Credentials::Password(user, password) => {
            let both =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {both}")
        }
    }
}

/// What an answer other than success means. What is wrong with the receiver, or with its address, somebody will mend;
/// what is wrong with what was sent stays so.
fn judge(status: StatusCode, text: &str, wait: Option<Duration>) -> NotTaken {
    let said = match text {
        "" => format!("it answered {status}"),
        text => format!("it answered {status}: {text}"),
    };
    let is_of_address =
        [401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 429].contains(&status.as_u16());
    match status.is_client_error() && !is_of_address {
        true => NotTaken::Refused(said),
        false => NotTaken::Failed(said, wait),
    }
}

/// RFC 9110 §10.2.3; a date is not read: clocks differ, and the next try comes soon enough.
fn retry_after<S>(answer: &awc::ClientResponse<S>) -> Option<Duration> {
    let value = answer.headers().get(header::RETRY_AFTER)?;
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn explain(error: &awc::error::SendRequestError) -> String {
    use awc::error::{ConnectError, SendRequestError};
    match error {
        SendRequestError::Timeout => format!("no answer within {} seconds", ANSWER.as_secs()),
        SendRequestError::Connect(ConnectError::Timeout) => {
            format!("no connection within {} seconds", CONNECT.as_secs())
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_lines_is_given_up() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap(), "why", None);
        for status in [400, 410, 413, 415, 422] {
            assert!(matches!(judged(status), NotTaken::Refused(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 502, 503] {
            assert!(matches!(judged(status), NotTaken::Failed(..)), "{status}");
        }
        let NotTaken::Refused(said) = judged(400) else {
            panic!()
        };
        assert_eq!(said, "it answered 400 Bad Request: why");
    }

    #[actix::test]
    async fn an_answer_that_does_not_end_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let receiver = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
            std::io::Write::write_all(&mut stream, head).unwrap();
            // The connection stays open until the test is over.
            let _over = is_done.recv();
        });
        let url = TargetUrl::parse(&url, &["http"]).unwrap();
        let poster = Poster::new(&url, None, &Mask::default()).await.unwrap();
        let limit = Duration::from_millis(200);
        let posted = poster.post_within(limit, "text/plain", &[], Bytes::new());
        let posted = posted.await;
        assert!(matches!(posted, Err(NotTaken::Failed(..))), "{posted:?}");
        drop(done);
        receiver.join().unwrap();
    }

    #[test]
    fn a_password_is_basic_and_a_token_bearer() {
        let both = Credentials::Password("me".to_owned(), "sesame".to_owned());
        assert_eq!(authorization(&both), "Basic bWU6c2VzYW1l");
        assert_eq!(
            authorization(&Credentials::Token("t".to_owned())),
            "Bearer t"
        );
    }
}
