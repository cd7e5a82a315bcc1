//! [`Results`]: what came of all orders, for handshakes and for users.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::tls::certificate::Certificate;

/// What is published. It outlives the actor that orders.
#[derive(Debug)]
pub struct Results {
    pub certificates: watch::Sender<Vec<Arc<Certificate>>>,
    /// A row for each name that is wanted.
    pub rows: watch::Sender<Vec<Row>>,
}

impl Default for Results {
    fn default() -> Self {
        Self {
            certificates: watch::channel(Vec::new()).0,
            rows: watch::channel(Vec::new()).0,
        }
    }
}

/// A certificate as users see it. Times are in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub names: Vec<String>,
    pub issuer: Option<String>,
    pub source: &'static str,
    pub not_after: Option<Timestamp>,
    pub state: State,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is asked for, first, again or for renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Valid,
    /// There is none yet, and nothing has failed.
    Pending,
    /// The last attempt failed. There may be an old certificate that is still valid: it has `not_after`.
    Failing,
    Expired,
}
