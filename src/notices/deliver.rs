//! One notice goes to one receiver, once.

use bytes::Bytes;
use serde_json::json;

use super::book::Receivers;
use super::mail;
use super::notice::Notice;
use crate::document::notify::Receiver;
use crate::outgoing::post::{NotTaken, Poster};

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
