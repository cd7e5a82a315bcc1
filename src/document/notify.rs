//! [`NotifyConfig`]: who is told of what goes wrong (pure).

use super::target_url::{Credentials, TargetUrl};

/// What can be told: `event` of a webhook.
pub const EVENTS: [&str; 5] = ["deploy", "crash", "certificate", "disk", "drain"];

/// Of these an application can be told; the others are the server's.
pub const APP_EVENTS: [&str; 3] = ["deploy", "crash", "drain"];

const MAIL: &str = "mailto:";

/// One entry of `notify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    pub to: Receiver,
    /// Which of [`EVENTS`]; empty: all.
    pub events: Vec<String>,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    Webhook(TargetUrl),
    /// An address of electronic mail.
    Mail(String),
}

impl NotifyConfig {
    /// Tells `url` of everything.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn to(url: &str) -> Result<Self, String> {
        let to = match url.strip_prefix(MAIL) {
            Some(address) => Receiver::Mail(mail_address(address)?),
            None => Receiver::Webhook(TargetUrl::parse(url, &["https", "http"]).map_err(
                |error| match url.contains('@') && !url.contains("://") {
                    true => "is no URL: write an address of electronic mail as \"mailto:ops@example.org\"".to_owned(),
                    false => error,
                },
            )?),
        };
        Ok(Self { to, events: vec![] })
    }

    /// Whether it is told of `event`.
    #[must_use]
    pub fn wants(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == event)
    }
}

impl Receiver {
    /// Tells receivers apart. It may hold a secret.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Webhook(url) => {
                let key = url.key();
                let has = match &url.credentials {
                    Some(Credentials::Token(token)) => token.clone(),
                    Some(Credentials::Password(user, password)) => format!("{user}:{password}"),
                    None => String::new(),
                };
                format!("{key} {has}")
            }
            Self::Mail(address) => address.clone(),
        }
    }

    /// As it may be shown to anybody.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Webhook(url) => url.shown(),
            Self::Mail(address) => format!("{MAIL}{address}"),
        }
    }
}

/// The name of an event, as `events` has it.
pub fn event(text: &str, known: &[&str]) -> Result<String, String> {
    match known.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be one of {}", known.join(", "))),
    }
}

/// One plain address: no names, no lists, nothing that a header or a command line of SMTP would read otherwise.
pub fn mail_address(text: &str) -> Result<String, String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || ".!$'*+-/=_~".contains(c);
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let is_address = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && local.chars().all(usual) && domain.split('.').all(is_label)
    });
    match is_address && text.len() <= 254 {
        true => Ok(text.to_owned()),
        false => {
            Err("is no address of electronic mail: write one, as in \"ops@example.org\"".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_a_web_page_or_an_address() {
        let mail = NotifyConfig::to("mailto:ops@example.org").unwrap();
        assert_eq!(mail.to.shown(), "mailto:ops@example.org");
        assert!(mail.wants("disk"));
        let slack = NotifyConfig::to("https://hooks.slack.com/services/T/B/x").unwrap();
        assert_eq!(slack.to.shown(), "https://hooks.slack.com/••••");
        for wrong in [
            "mailto:",
            "mailto:a@b@c",
            "mailto:a@b?subject=x",
            "mailto:a@b,c@d",
            "ops@example.org",
            "syslog+tcp://h",
            "mailto:a@b\r\nBcc: c",
        ] {
            assert!(NotifyConfig::to(wrong).is_err(), "{wrong}");
        }
    }
}
