//! [`Visitor`]: who looks at a page.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::secret::Secret;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::tokens::Scope;

/// Who looks at a page. `door` puts it into a request.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    /// What every form of this one must carry.
    pub(super) form_key: String,
    /// The secret of the session; `None` where the command line is the one that knows the browser.
    pub(super) session: Option<Secret>,
}

impl Visitor {
    /// Whether this one may start, stop, deploy, scale and run.
    pub(super) fn deploys(&self) -> bool {
        self.caller.scope() >= Scope::Deploy
    }

    /// Whether this one may change documents.
    pub(super) fn changes(&self) -> bool {
        self.caller.scope() >= Scope::Admin
    }

    /// Whether this one may look at the server itself.
    pub(super) fn sees_server(&self) -> bool {
        !self.caller.is_bound()
    }

    /// Whether a form is of a page that this one was shown.
    pub(super) fn has_sent(&self, key: &str) -> bool {
        let pairs = key.bytes().zip(self.form_key.bytes());
        let differ = std::hint::black_box(pairs.fold(0, |all, (a, b)| all | (a ^ b)));
        key.len() == self.form_key.len() && differ == 0
    }
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        ready(known.ok_or_else(|| Problem::unavailable("Nobody looked who calls.")))
    }
}
