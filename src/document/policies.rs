//! [`Policies`]: what the proxy does with the requests of an application beside passing them on (pure).

pub mod password_hash;
pub mod rate;
pub mod redirect;

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use password_hash::PasswordHash;
use rate::Rate;
use redirect::Redirect;

use super::pick::pick;

/// The fields of the document that are carried out by the proxy alone. By default none is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Every request is refused.
    pub maintenance: Option<Maintenance>,
    /// The networks whose clients are let in; `None`: all are.
    pub allow: Option<Vec<IpNet>>,
    /// How many requests an address may make.
    pub rate: Option<Rate>,
    /// Who is let in by a password.
    pub auth: Option<BasicAuth>,
    /// The first that matches counts.
    pub redirects: Vec<Redirect>,
    /// Fields of each response by their names in lower case, in the order of these names.
    pub response_headers: BTreeMap<String, ResponseHeader>,
    pub timeouts: AppTimeouts,
    /// The most bytes of a request's body; `None`: those of the server's settings.
    pub body: Option<u64>,
    /// How long an idle connection to a process is kept; zero: not at all; `None`: the server's own time.
    pub upstream_keep_alive: Option<Duration>,
    /// A client stays with the process that answered it first.
    pub sticky: Option<Sticky>,
}

impl Policies {
    /// Whether nothing is set, so that no request is looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, with each field that differs between `old` and `new` as it is in `new`.
    #[must_use]
    pub fn carried(&self, old: &Self, new: &Self) -> Self {
        Self {
            maintenance: pick(&self.maintenance, &old.maintenance, &new.maintenance),
            allow: pick(&self.allow, &old.allow, &new.allow),
            rate: pick(&self.rate, &old.rate, &new.rate),
            auth: pick(&self.auth, &old.auth, &new.auth),
            redirects: pick(&self.redirects, &old.redirects, &new.redirects),
            response_headers: pick(
                &self.response_headers,
                &old.response_headers,
                &new.response_headers,
            ),
            timeouts: pick(&self.timeouts, &old.timeouts, &new.timeouts),
            body: pick(&self.body, &old.body, &new.body),
            upstream_keep_alive: pick(
                &self.upstream_keep_alive,
                &old.upstream_keep_alive,
                &new.upstream_keep_alive,
            ),
            sticky: pick(&self.sticky, &old.sticky, &new.sticky),
        }
    }
}

/// `maintenance` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// A file of the release that browsers are shown.
    pub page: Option<String>,
    /// When to ask again.
    pub retry_after: Duration,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            page: None,
            retry_after: Duration::from_mins(2),
        }
    }
}

/// `auth` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// What a browser says that the password is for.
    pub realm: String,
    /// By the user's name. There is one at least.
    pub users: BTreeMap<String, PasswordHash>,
}

/// A field of the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseHeader {
    /// It is there once, with this name and value.
    Set { name: String, value: String },
    /// It is taken out.
    Removed,
}

/// `timeouts` of the document; `None`: that of the server's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppTimeouts {
    /// To connect to a process.
    pub connect: Option<Duration>,
    /// From the end of the request to a whole response head.
    pub response: Option<Duration>,
    /// Between two pieces of a body.
    pub idle: Option<Duration>,
    /// Of a tunnel in which no byte moves either way.
    pub tunnel_idle: Option<Duration>,
}

/// `sticky` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: String,
}

/// What the names of the dashboard's cookies begin with, which no application has.
pub const OWN_COOKIE: &str = "procserver_ui";

impl Default for Sticky {
    fn default() -> Self {
        Self {
            cookie: "procserver_sticky".to_owned(),
        }
    }
}
