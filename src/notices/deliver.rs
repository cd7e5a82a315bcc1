//! One notice goes to one receiver, once, in bounded time.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;

use super::book::Receivers;
use super::mail;
use super::notice::Notice;
use crate::document::mask::Mask;
use crate::document::notify::Receiver;
use crate::outgoing::post::{NotTaken, Poster};

/// For all of it: names, connection, handshake, and each answer of a mail server, which may be slow, or never come.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends `notice`.
///
/// # Errors
/// [`NotTaken`].
pub async fn once(to: &Receiver, notice: &Notice, book: &Receivers) -> Result<(), NotTaken> {
    once_within(LIMIT, to, notice, book).await
}

async fn once_within(
    limit: Duration,
    to: &Receiver,
    notice: &Notice,
    book: &Receivers,
) -> Result<(), NotTaken> {
    let sent = timeout(limit, send(to, notice, book)).await;
    sent.unwrap_or_else(|_| {
        let why = format!("it was not done within {} seconds", limit.as_secs());
        Err(NotTaken::Failed(why, None))
    })
}

async fn send(to: &Receiver, notice: &Notice, book: &Receivers) -> Result<(), NotTaken> {
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
            // What hides the secrets of the application has been applied to the notice.
            let poster = Poster::new(url, None, &Mask::default()).await?;
            let body = Bytes::from(body.to_string());
            poster.post("application/json", &[], body).await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::notices::smtp::{Encryption, Smtp};

    /// Who does not answer: a connection is there as soon as the kernel has it.
    #[actix::test]
    async fn who_takes_a_connection_and_says_nothing_has_not_taken_it_in_the_end() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let smtp = Smtp {
            host: "127.0.0.1".to_owned(),
            port,
            encryption: Encryption::None,
            credentials: None,
            from: "procserver@example.org".to_owned(),
        };
        let book = Receivers::new(vec![], Some(smtp), "h".to_owned());
        let notice = Notice::test(None, jiff::Timestamp::UNIX_EPOCH);
        let url = format!("http://127.0.0.1:{port}/");
        for to in ["mailto:ops@example.org", &url] {
            let to = crate::document::notify::NotifyConfig::to(to).unwrap().to;
            let sent = once_within(Duration::from_millis(50), &to, &notice, &book).await;
            assert!(matches!(sent, Err(NotTaken::Failed(..))), "{sent:?}");
        }
    }
}
