//! Says who answers a request, and writes the head that they are sent.

use std::sync::Arc;

use super::exchange::client::Endpoints;
use super::exchange::request_info::RequestInfo;
use super::hold::Hold;
use super::http::field::Name;
use super::http::forwarded::{self, Context};
use super::http::framing::Framing;
use super::http::head::Request;
use super::http::local_reply::LocalReply;
use super::http::request_rules;
use super::own_token::OwnToken;
use super::policies::{self, sticky};
use super::static_files::lookup::{self, Answer, Looked};
use super::upstream::chosen::Chosen;
use super::worker::Worker;
use crate::acme::challenges;
use crate::router::hosts::ProcessType;
use crate::router::replica::{Selection, Wanted};
use crate::router::snapshot::Found;
use crate::router::table::{Availability, Rule};

/// Who answers a request.
pub(super) enum Routed {
    /// Somebody else than the front end, who is sent this head.
    To(Target, Vec<u8>),
    /// The front end itself, with an error, a redirect, or what OPTIONS asks for.
    Answer(LocalReply),
    /// An app that is starting, or paused.
    Hold(Hold),
    /// Nobody: the client went away meanwhile.
    Gone,
}

/// Whom a request is sent to.
pub(super) enum Target {
    Process(Chosen),
    Api,
    /// A static file of an app, by way of the file server.
    File(Answer),
}

impl Target {
    pub(super) fn is_process(&self) -> bool {
        matches!(self, Self::Process(_))
    }

    /// Whether it is a process, which a slow client must not hold.
    pub(super) fn takes_whole_bodies(&self) -> bool {
        matches!(self, Self::Process(chosen) if chosen.found.route.buffer.requests)
    }
}

/// Routes a request. A process that is chosen has the request counted on it from now on.
pub(super) async fn route(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
    request_info: &RequestInfo,
) -> Routed {
    if let Some(answer) = before_any_route(worker, request) {
        return Routed::Answer(answer);
    }
    let is_too_large = |limit: u64| match request.framing {
        Framing::Length(bytes) => bytes > limit,
        _ => false,
    };
    let selection = match select_by_host(worker, endpoints, request) {
        Some(selection) => Some(selection),
        None => select(worker, endpoints, request).await,
    };
    let Some(selection) = selection else {
        return Routed::Answer(LocalReply::unroutable());
    };
    if let Some(found) = found_in(&selection) {
        // By path or X-App the host is not this app's alone.
        if endpoints.is_secure && found.rule == Rule::Host {
            request_info.hsts.set(found.route.tls.hsts.as_secs());
        }
        if let Some(answer) = instead_of_app(worker, endpoints, request, found) {
            note_found(request_info, found);
            return Routed::Answer(answer);
        }
        // It is routed anew when it was held, and the document may have changed meanwhile.
        if found.route.policies.is_some() || request_info.policies.borrow().is_some() {
            request_info.policies.replace(found.route.policies.clone());
        }
        if let Some(policies) = &found.route.policies
            && let Some(answer) =
                policies::judge(worker, endpoints, request, request_info, found, policies).await
        {
            note_found(request_info, found);
            return Routed::Answer(answer);
        }
        let limit = request_info.body_limit(&worker.settings);
        if is_too_large(limit) {
            note_found(request_info, found);
            return Routed::Answer(LocalReply::body_too_large(limit));
        }
        if let Some(routed) = static_file(&selection, found, request).await {
            note_found(request_info, found);
            return match routed {
                Ok(answer) => {
                    let request = lookup::for_files(request);
                    let head = head(worker, endpoints, &request, request_info, Some(found));
                    Routed::To(Target::File(answer), head)
                }
                Err(failure) => Routed::Answer(failure),
            };
        }
    }
    let limit = worker.settings.limits.body;
    if found_in(&selection).is_none() && is_too_large(limit) {
        return Routed::Answer(LocalReply::body_too_large(limit));
    }
    let selection = sticky::prefer(selection, endpoints, request, request_info);
    routed(worker, endpoints, request, request_info, selection)
}

/// What the front end answers whoever the request is for.
fn before_any_route(worker: &Worker, request: &Request<'_>) -> Option<LocalReply> {
    if request_rules::ends_here(request) {
        return Some(LocalReply::options());
    }
    if !request.target.starts_with(challenges::PATH) {
        return None;
    }
    let challenges = worker.challenges.borrow();
    let text = challenges.body(request.target)?;
    Some(LocalReply::challenge(text.to_owned()))
}

/// What the front end answers in place of the app that was found: that it is elsewhere.
fn instead_of_app(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
    found: &Found,
) -> Option<LocalReply> {
    let tls = &found.route.tls;
    if tls.redirect
        && let Some(location) = by_https(worker, endpoints, request)
    {
        return Some(LocalReply::by_https(location, request.method));
    }
    // Its client was not offered HTTP/2 for this host, and came by a connection for another one.
    if endpoints.is_http2 && found.rule == Rule::Host && !tls.http2 {
        return Some(LocalReply::misdirected());
    }
    with_slash(found, request).map(LocalReply::moved)
}

/// Who answers by what the table says.
fn routed(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
    request_info: &RequestInfo,
    selection: Selection,
) -> Routed {
    let head = |found| head(worker, endpoints, request, request_info, found);
    match selection {
        Selection::Backend(found, backend, lease) => {
            note_found(request_info, &found);
            if found.rule == Rule::Path {
                // Of a request that was held it was not said yet.
                let _ = request_info.by_path.set(Arc::clone(&found.route.app));
            }
            let head = head(Some(&found));
            Routed::To(Target::Process(Chosen::new(found, backend, lease)), head)
        }
        // No resource is asked for, but whoever it reaches (RFC 9110 §9.3.7).
        Selection::Api | Selection::NotFound
            if request.target == "*" && !request.fields.has(Name::XApp) =>
        {
            Routed::Answer(LocalReply::options())
        }
        Selection::Api => match api_by_https(worker, endpoints, request) {
            Some(failure) => Routed::Answer(failure),
            None => Routed::To(Target::Api, head(None)),
        },
        Selection::NotFound => Routed::Answer(LocalReply::not_found()),
        Selection::Unavailable(found, why) => {
            note_found(request_info, &found);
            Routed::Answer(unavailable(&found, why))
        }
        Selection::Hold(found, changed) => {
            note_found(request_info, &found);
            Routed::Hold(Hold { found, changed })
        }
    }
}

/// Where a request by plain HTTP is sent: to the same by HTTPS, once there is a certificate for its host. A trusted
/// proxy has spoken HTTPS with the client already, or has its reasons; X-App and ports of apps lead elsewhere there.
fn by_https(worker: &Worker, endpoints: &Endpoints, request: &Request<'_>) -> Option<String> {
    let secure = worker.secure.as_ref()?;
    let stays = endpoints.is_secure || endpoints.is_trusted || endpoints.app_port.is_some();
    let host = request.authority?.host;
    if stays
        || request.fields.has(Name::XApp)
        || request.target == "*"
        || !secure.certificates.has_valid(host)
    {
        return None;
    }
    let target = request.target;
    let slash = if target.starts_with('/') { "" } else { "/" };
    Some(match secure.port {
        443 => format!("https://{host}{slash}{target}"),
        port => format!("https://{host}:{port}{slash}{target}"),
    })
}

/// What a request of the API gets that came by plain HTTP from another machine to a host that is the API's alone and
/// has a certificate. A redirect would hide from the client that everybody on the way could read its token.
fn api_by_https(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
) -> Option<LocalReply> {
    let host = request.authority?.routed();
    if !worker.settings.reach.is_api_host(&host) || endpoints.peer.ip().is_loopback() {
        return None;
    }
    let location = by_https(worker, endpoints, request)?;
    Some(match request.fields.has(Name::Authorization) {
        true => LocalReply::token_in_clear(&host),
        false => LocalReply::by_https(location, request.method),
    })
}

/// Selects a backend of an app whose host is known. With a thousand busy connections the message to the replica costs
/// more than itself: each request waits behind all others, and finds nothing of its own in the processor's cache any
/// more.
fn select_by_host(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
) -> Option<Selection> {
    // An app's own port goes to that app, and X-App to the one that it names, whatever the host.
    if endpoints.app_port.is_some() || request.fields.has(Name::XApp) {
        return None;
    }
    let found = worker.routes.known(request.authority?.host)?;
    let (backend, lease) = worker.routes.choose(found.pool().0, Vec::new())?;
    Some(Selection::Backend(found, backend, lease))
}

/// Asks the replica; `None` if it ended.
async fn select(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
) -> Option<Selection> {
    let x_app = request.fields.named(Name::XApp).next();
    let wanted = Wanted {
        x_app: x_app.map(|f| String::from_utf8_lossy(f.value).into()),
        host: request.authority.map_or_else(Box::default, |a| a.routed()),
        path: request.target.into(),
        port: endpoints.app_port,
    };
    worker.select(Arc::new(wanted)).await
}

fn found_in(selection: &Selection) -> Option<&Found> {
    match selection {
        Selection::Backend(found, ..)
        | Selection::Hold(found, _)
        | Selection::Unavailable(found, _) => Some(found),
        Selection::Api | Selection::NotFound => None,
    }
}

/// Where the app begins, if a request by path names it without the slash behind.
fn with_slash(found: &Found, request: &Request<'_>) -> Option<String> {
    let (name, rest) = request.target.split_at_checked(found.prefix)?;
    (!name.is_empty() && !rest.starts_with('/')).then(|| format!("{name}/{rest}"))
}

/// The file that the app's directory has for a request, or why neither that nor the app answers.
async fn static_file(
    selection: &Selection,
    found: &Found,
    request: &Request<'_>,
) -> Option<Result<Answer, LocalReply>> {
    let no_app = match selection {
        Selection::Unavailable(_, Availability::Stopped) => return None,
        Selection::Unavailable(_, why) => *why == Availability::NoWeb,
        _ => false,
    };
    // Files are the site's, which is `web`.
    let is_of_site = found.process_type == ProcessType::Web;
    let files = found.route.static_files.as_ref().filter(|_| is_of_site)?;
    let mut looked = lookup::look(files, request, found.strip).await;
    if no_app && matches!(looked, Looked::Missing | Looked::Refused) {
        let instead = lookup::instead(files, request).await;
        looked = instead.map_or(looked, Looked::Found);
    }
    match looked {
        Looked::Found(answer) => Some(Ok(answer)),
        Looked::Missing | Looked::Method if !no_app => None,
        Looked::Method => Some(Err(LocalReply::only_files())),
        Looked::Missing | Looked::Refused => Some(Err(LocalReply::no_file())),
    }
}

/// The head as it is sent: to an app that was `found`, or to the API.
fn head(
    worker: &Worker,
    endpoints: &Endpoints,
    request: &Request<'_>,
    request_info: &RequestInfo,
    found: Option<&Found>,
) -> Vec<u8> {
    let withheld: Option<&OwnToken> = found.map(|_| &worker.own_token);
    let policies = found.and_then(|found| found.route.policies.as_ref());
    let sticky = policies.and_then(|policies| policies.of.sticky.as_ref());
    let user = policies.and_then(|_| request_info.user.borrow().clone());
    let context = Context {
        peer: endpoints.peer.ip(),
        local: endpoints.local,
        secure: endpoints.is_secure,
        http2: endpoints.is_http2,
        trusted: endpoints.is_trusted,
        networks: &worker.trusted,
        request_id: request_info.request_id.as_bytes(),
        arrived: request_info.arrived,
        strip: found.map_or(0, |found| found.strip),
        withheld,
        user: user.as_deref(),
        cookie: sticky.map(|sticky| &*sticky.cookie),
        trace: request_info.notes.trace.as_ref().map(|begun| begun.ids),
    };
    let mut head = worker.spare.take_head();
    forwarded::request(&mut head, request, &context);
    head
}

fn note_found(request_info: &RequestInfo, found: &Found) {
    request_info.note(|notes| notes.found(&found.route, found.rule));
}

fn unavailable(found: &Found, why: Availability) -> LocalReply {
    let app = &found.route.app;
    match why {
        Availability::Starting | Availability::Paused(_) | Availability::Asleep => {
            LocalReply::not_ready(app)
        }
        Availability::Stopped => LocalReply::stopped(app),
        Availability::Crashed => LocalReply::crashed(app),
        Availability::Undeployed => LocalReply::undeployed(app),
        Availability::NoWeb => LocalReply::no_process(app, found.type_name()),
    }
}
