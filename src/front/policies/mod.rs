//! What a document says of an application's requests beside who answers them: who is let in, how often, and what they
//! are told instead. A route without policies costs a request one look.
//!
//! [`judge`] asks in this order, before a static file or a process is looked for. Redirects to HTTPS, and what a
//! certificate authority looks for, come before it:
//!
//! 1. `allow`: who is not let in learns nothing else, and costs nothing else.
//! 2. `maintenance`: it refuses everybody, so nothing behind it counts.
//! 3. `rate`: before the password, whose hash takes long.
//! 4. `auth`.
//! 5. `redirects`: they may tell what there is.

mod basic;
pub mod page;
pub mod stay;
pub(super) mod sticky;
pub mod verifying;

use std::sync::Arc;

use super::exchange::client::Endpoints;
use super::exchange::request_info::RequestInfo;
use super::http::field::Name;
use super::http::head::Request;
use super::http::local_reply::LocalReply;
use super::http::trusted_proxies::{client, is_trusted};
use super::worker::Worker;
use crate::document::policies::redirect;
use crate::router::policies::Policies;
use crate::router::snapshot::Found;

/// What the client is answered in place of the application that was found, if it may not go on.
pub(super) async fn judge(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
    request_info: &RequestInfo,
    found: &Found,
    policies: &Arc<Policies>,
) -> Option<LocalReply> {
    let of = &policies.of;
    request_info.user.take();
    let peer = endpoints.peer.ip();
    let client = client(peer, endpoints.is_trusted, &request.fields, &worker.trusted);
    if let Some(networks) = &of.allow
        && !is_trusted(networks, client)
    {
        return Some(LocalReply::not_allowed());
    }
    if let Some(maintenance) = &of.maintenance {
        let app = &found.route.app;
        let page = match request_info.html {
            true => page::page(app, policies).await,
            false => None,
        };
        return Some(LocalReply::maintenance(app, maintenance.retry_after, page));
    }
    // It is routed anew when it was held, or its body was taken.
    if let Some(limiter) = &policies.limiter
        && !request_info.is_counted.replace(true)
        && let Err(wait) = limiter.take(client)
    {
        return Some(LocalReply::too_many(wait));
    }
    if let Some(gate) = &policies.gate {
        let app = &found.route.app;
        request_info.is_verified.set(true);
        let entered = Box::pin(basic::enter(gate, worker, app, client, &request.fields)).await;
        request_info.is_verified.set(false);
        match entered {
            Ok(user) => *request_info.user.borrow_mut() = Some(user),
            Err(reply) => return Some(reply),
        }
    }
    if of.redirects.is_empty() {
        return None;
    }
    let (prefix, target) = request.target.split_at_checked(found.strip)?;
    let (location, status) = redirect::first(&of.redirects, target)?;
    // A path is one that the application sees.
    let prefix = if location.starts_with('/') {
        prefix
    } else {
        ""
    };
    Some(LocalReply::redirect(format!("{prefix}{location}"), status))
}

/// Whether the client speaks TLS, with this server or with a trusted proxy before it.
fn is_secure(endpoints: &Endpoints, request: &Request<'_>) -> bool {
    let mut told = request.fields.tokens(Name::ForwardedProto);
    endpoints.is_secure
        || endpoints.is_trusted
            && told
                .next()
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"))
}
