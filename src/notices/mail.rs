//! A notice by mail (RFC 5321), over the mail server of the settings.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::notice::Notice;
use super::smtp::{Encryption, Smtp};
use crate::document::mask::Mask;
use crate::outgoing::answer;
use crate::outgoing::post::NotTaken;

/// For connecting; all else has the time of the delivery.
const CONNECT: Duration = Duration::from_secs(30);

/// Of a subject; the text has all of it.
const LONGEST_SUBJECT: usize = 150;

pub(super) async fn send(
    smtp: &Smtp,
    to: &str,
    notice: &Notice,
    host: &str,
) -> Result<(), NotTaken> {
    let message = message(smtp, to, notice, host).map_err(NotTaken::Refused)?;
    let mask = Mask::new(smtp.secrets());
    let smtp = smtp.clone();
    let host = host.to_owned();
    // The certificates of the machine are read from files.
    let transport = tokio::task::spawn_blocking(move || transport(&smtp, &host)).await;
    let failed = |error: String| NotTaken::Failed(error, None);
    let transport = transport
        .map_err(|error| failed(error.to_string()))?
        .map_err(failed)?;
    let error = match transport.send(message).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let said = answer::shown(&error.to_string(), &mask);
    match error.is_permanent() {
        true => Err(NotTaken::Refused(said)),
        false => Err(failed(said)),
    }
}

fn message(smtp: &Smtp, to: &str, notice: &Notice, host: &str) -> Result<Message, String> {
    let line = notice.line(host);
    let subject: String = line.chars().take(LONGEST_SUBJECT).collect();
    let text = format!(
        "{line}\n\nevent: {}\ntime:  {:.0}\n",
        notice.event, notice.time
    );
    let address = |text: &str| text.parse().map_err(|_| format!("{text} is no address"));
    Message::builder()
        .from(address(&smtp.from)?)
        .to(address(to)?)
        .subject(format!("[procserver] {subject}"))
        .header(ContentType::TEXT_PLAIN)
        .body(text)
        .map_err(|error| error.to_string())
}

/// Blocks.
fn transport(smtp: &Smtp, host: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let parameters = || TlsParameters::new(smtp.host.clone()).map_err(|error| error.to_string());
    let tls = match smtp.encryption {
        Encryption::StartTls => Tls::Required(parameters()?),
        Encryption::Tls => Tls::Wrapper(parameters()?),
        Encryption::None => Tls::None,
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port)
        .hello_name(ClientId::Domain(host.to_owned()))
        .timeout(Some(CONNECT))
        .tls(tls);
    let builder = match &smtp.credentials {
        Some((user, password)) => {
            builder.credentials(Credentials::new(user.clone(), password.clone()))
        }
        None => builder,
    };
    Ok(builder.build())
}
