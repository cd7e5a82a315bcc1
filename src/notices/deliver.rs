//! One notice goes to one receiver, once.

use std::fmt;

use bytes::Bytes;
use serde_json::json;

use super::book::Receivers;
use super::mail;
use super::notice::Notice;
use crate::document::notify::Receiver;
use crate::outgoing::post::{NotTaken, Poster};

/// The mail server of the settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub credentials: Option<(String, String)>,
    /// Who writes.
    pub from: String,
}

impl fmt::Debug for Smtp {
    /// Without the password: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// How the way to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// By STARTTLS, or nothing is sent.
    #[default]
    StartTls,
    /// From the first byte on.
    Tls,
    None,
}

/// Sends `notice`.
///
/// # Errors
/// [`NotTaken`].
pub async fn once(to: &Receiver, notice: &Notice, book: &Receivers) -> Result<(), NotTaken> {
    match to {
        Receiver::Mail(address) => match book.smtp() {
            Some(smtp) => mail::send(smtp, address, notice, book.host()).await,
            None => Err(NotTaken::Refused(
                "the server's settings have no [smtp], by which mail is sent".to_owned(),
            )),
        },
        Receiver::Webhook(url) => {
            let mut body = json!(notice);
            // As Slack, Mattermost and Rocket.Chat read it.
            body["text"] = notice.line(book.host()).into();
            body["host"] = book.host().into();
            let poster = Poster::new(url, None).await?;
            let body = Bytes::from(body.to_string());
            poster.post("application/json", &[], body).await
        }
    }
}
