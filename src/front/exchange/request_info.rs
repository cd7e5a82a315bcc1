//! [`RequestInfo`]: what an exchange needs of a request's head after the buffer gave it up.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::front::access::entry::Notes;
use crate::front::going::Going;
use crate::front::http::framing::Framing;
use crate::front::http::head::Request;
use crate::front::http::local_reply;
use crate::front::http::request_id::RequestId;
use crate::front::policies::stay::Stay;
use crate::front::settings::{FrontSettings, Timeouts};
use crate::router::policies::Policies;

/// Bytes of a body that is kept until the backend shows that it is there.
const REPLAYED: u64 = 16 * 1024;

#[derive(Debug)]
pub struct RequestInfo {
    /// The minor version of the client's HTTP/1.
    pub minor: u8,
    pub head: bool,
    /// To send the request twice does no harm (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// The client wants the connection kept.
    pub keep_alive: bool,
    pub framing: Framing,
    /// The client waits for a 100.
    pub expects_continue: bool,
    /// The protocols that the client would switch to.
    pub upgrade: Option<Box<str>>,
    /// The client would rather see errors as HTML.
    pub html: bool,
    pub request_id: RequestId,
    /// When its head was there, milliseconds since 1970.
    pub arrived: u64,
    /// The app, if the request reached it by path. Routing sets it.
    pub by_path: OnceCell<Arc<str>>,
    /// For how many seconds browsers are told to use HTTPS alone; 0: they are not.
    pub hsts: Cell<u64>,
    /// What its app's document says of it, if anything. Routing sets this and what follows.
    pub policies: RefCell<Option<Arc<Policies>>>,
    /// It was counted by the rate of its address.
    pub is_counted: Cell<bool>,
    /// Its password is looked at, or waits for that.
    pub is_verified: Cell<bool>,
    /// Who was let in by a password.
    pub user: RefCell<Option<Arc<str>>>,
    /// The client is to stay with a process.
    pub stay: RefCell<Option<Stay>>,
    /// What `Set-Cookie` of the response says.
    pub cookie: RefCell<Option<String>>,
    /// It was held, and goes on with others, until the app answers.
    going: RefCell<Option<Going>>,
    pub notes: Notes,
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

impl RequestInfo {
    #[must_use]
    pub fn new(request: &Request<'_>, request_id: RequestId, notes: Notes) -> Self {
        Self {
            minor: request.minor,
            head: request.method == "HEAD",
            idempotent: matches!(
                request.method,
                "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE"
            ),
            keep_alive: request.keep_alive,
            framing: request.framing,
            expects_continue: request.expects_continue,
            upgrade: request.upgrade.map(Into::into),
            html: local_reply::prefers_html(&request.fields),
            request_id,
            arrived: now(),
            by_path: OnceCell::new(),
            hsts: Cell::new(0),
            policies: RefCell::default(),
            is_counted: Cell::new(false),
            is_verified: Cell::new(false),
            user: RefCell::default(),
            stay: RefCell::default(),
            cookie: RefCell::default(),
            going: RefCell::default(),
            notes,
        }
    }

    /// Copies the body if the request can be sent again with it: if to send it twice does no harm and the body is small
    /// and whole in `behind`, the bytes behind the head.
    #[must_use]
    pub fn replay(&self, behind: &[u8]) -> Option<Vec<u8>> {
        match self.framing {
            Framing::Length(bytes) if self.idempotent && bytes <= REPLAYED => {
                let bytes = usize::try_from(bytes).ok()?;
                behind.get(..bytes).map(<[u8]>::to_vec)
            }
            _ => None,
        }
    }

    /// What would be a tunnel may be closed on one side: then the client is there all the same.
    #[must_use]
    pub fn may_be_half(&self) -> bool {
        self.upgrade.is_some() && self.framing == Framing::Empty
    }

    /// The times after which the front end gives up, as the app has them or the settings.
    #[must_use]
    pub fn timeouts(&self, settings: &FrontSettings) -> Timeouts {
        let general = settings.timeouts;
        match &*self.policies.borrow() {
            None => general,
            Some(policies) => {
                let own = &policies.of.timeouts;
                Timeouts {
                    connect: own.connect.unwrap_or(general.connect),
                    response: own.response.unwrap_or(general.response),
                    idle: own.idle.unwrap_or(general.idle),
                    tunnel_idle: own.tunnel_idle.unwrap_or(general.tunnel_idle),
                    ..general
                }
            }
        }
    }

    /// The most bytes that its body may have, as the app has it or the settings.
    #[must_use]
    pub fn body_limit(&self, settings: &FrontSettings) -> u64 {
        let policies = self.policies.borrow();
        let own = policies.as_ref().and_then(|policies| policies.of.body);
        own.unwrap_or(settings.limits.body)
    }

    /// It was held if it is `going` now, and goes on.
    pub(in crate::front) fn goes_on(&self, going: Option<Going>) {
        if going.is_some() {
            self.going.replace(going);
        }
    }

    /// The app has answered.
    pub(super) fn is_answered(&self) {
        if let Some(going) = self.going.take() {
            going.answered();
        }
    }

    /// Notes something for the access log and what is counted.
    pub fn note(&self, what: impl FnOnce(&Notes)) {
        what(&self.notes);
    }
}
