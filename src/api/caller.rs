//! [`Caller`]: who calls the API, and what that one may do and see.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::problem::Problem;
use crate::events::By;
use crate::ssh_keys::SshKey;
use crate::tokens::{Scope, Token};

/// Who calls. `auth` puts it into a request.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// An account of this machine that may use the Unix socket: it may do everything.
    Account { uid: u32 },
    /// The holder of a token.
    Token(Arc<Token>),
    /// The holder of a key, by ssh: git alone.
    Key(Arc<SshKey>),
}

impl Caller {
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Account { .. } => Scope::Admin,
            Self::Token(token) => token.scope,
            Self::Key(_) => Scope::Deploy,
        }
    }

    /// Whether an application is there for this one: others are as if they were not.
    pub(super) fn sees(&self, app: &str) -> bool {
        match self {
            Self::Account { .. } => true,
            Self::Token(token) => token.is_for(app),
            Self::Key(key) => key.is_for(app),
        }
    }

    /// Whether only some applications are there for this one.
    pub(super) fn is_bound(&self) -> bool {
        match self {
            Self::Account { .. } => false,
            Self::Token(token) => token.apps.is_some(),
            Self::Key(key) => key.apps.is_some(),
        }
    }

    /// As it is told in events and of deployments.
    pub(super) fn by(&self) -> By {
        match self {
            Self::Account { uid } => By::account(*uid),
            Self::Token(token) => By::token(&token.name),
            Self::Key(key) => By::ssh_key(&key.name),
        }
    }

    /// Whether values of `env` and credentials are shown.
    pub(super) fn sees_secrets(&self) -> bool {
        self.scope().shows_secrets()
    }
}

/// Says who a request is from that a page makes. It is put into requests that are made in this process; nothing that
/// comes over a connection has one.
#[derive(Clone, Debug)]
pub(super) struct Introduced {
    pub(super) caller: Caller,
    /// Whether the page was asked for over TCP.
    pub(super) over_tcp: bool,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { uid } => write!(f, "uid {uid}"),
            Self::Token(token) => write!(f, "the token \"{}\"", token.name),
            Self::Key(key) => write!(f, "the ssh key \"{}\"", key.name),
        }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        ready(known.ok_or_else(|| Problem::unavailable("Nobody looked who calls.")))
    }
}
