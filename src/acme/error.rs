//! [`OrderError`]: why there is no certificate, in a sentence for users.

use std::error::Error as _;

use instant_acme::{Error, Problem};

use super::hook::HookError;
use super::precheck::Misled;
use super::settings::Method;
use super::storage::StorageError;
use crate::tls::certificate::CertificateError;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(
        "the answers of the certificate authority cannot be used (the server's log says where they stop making sense): \
         is acme.directory the right URL?"
    )]
    Panicked,
    #[error("{0}")]
    Misled(#[from] Misled),
    #[error("the certificate authority refuses: {}", told(.0))]
    Refused(Box<Problem>),
    #[error("the certificate authority could not verify the name: {0}")]
    Unverified(String),
    #[error("the certificate authority cannot be asked: {0}")]
    Unreachable(String),
    #[error("the certificate authority does not offer {wanted} for this name, only {offered}")]
    NotOffered { wanted: Method, offered: String },
    #[error(
        "a certificate by dns-01, as wildcards need it, needs a program that sets TXT records: `dns_hook` of [acme] in \
         the settings"
    )]
    NoHook,
    #[error("{0}")]
    Hook(#[from] HookError),
    #[error("what the certificate authority sent is no certificate for the name: {0}")]
    Certificate(#[from] CertificateError),
    #[error("what the certificate authority sent is a certificate for {0}")]
    OtherNames(String),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("no key or request could be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the order took more than {0} minutes")]
    Slow(u64),
    #[error("it was cut off: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl OrderError {
    /// Whether the same order can still lead to a certificate.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        match self {
            Self::Refused(problem) => is_passing(problem),
            Self::Unverified(_)
            | Self::NotOffered { .. }
            | Self::NoHook
            | Self::Certificate(_)
            | Self::OtherNames(_) => false,
            _ => true,
        }
    }

    /// Whether the CA has forgotten our account, as one does that is set up anew.
    #[must_use]
    pub fn is_account_unknown(&self) -> bool {
        matches!(self, Self::Refused(problem) if is(problem, "accountDoesNotExist"))
    }
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(Box::new(problem)),
            error => Self::Unreachable(with_sources(&error)),
        }
    }
}

/// Whether it is a problem of this type (RFC 8555 §6.7).
pub(super) fn is(problem: &Problem, kind: &str) -> bool {
    let named = problem.r#type.as_deref();
    named.and_then(|named| named.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}

fn is_passing(problem: &Problem) -> bool {
    let passing = ["rateLimited", "serverInternal", "badNonce", "orderNotReady"];
    problem.status.is_some_and(|status| status >= 500)
        || passing.into_iter().any(|kind| is(problem, kind))
}

/// What the CA says of a problem.
pub(super) fn told(problem: &Problem) -> String {
    let mut parts: Vec<&str> = problem.detail.as_deref().into_iter().collect();
    parts.extend(
        problem
            .subproblems
            .iter()
            .filter_map(|sub| sub.detail.as_deref()),
    );
    match (parts.is_empty(), &problem.r#type) {
        (true, Some(kind)) => kind.clone(),
        (true, None) => "it gives no reason".to_owned(),
        (false, _) => parts.join("; "),
    }
}

/// The error and what it came of: the first of a failed connection says no more than that.
fn with_sources(error: &Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if parts.last().is_none_or(|last| !last.ends_with(&text)) {
            parts.push(text);
        }
        source = error.source();
    }
    parts.join(": ")
}
