//! From a request head to a backend, and through the exchange with it: routing, holding, connecting, trying again.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::Instant;

use super::access::entry::Notes;
use super::asking::Asking;
use super::connection::{Connection, Next};
use super::exchange::client_end::ClientStream;
use super::exchange::end::End;
use super::exchange::request_info::RequestInfo;
use super::exchange::sides;
use super::exchange::stored::Stored;
use super::exchange::upgraded::Upgraded;
use super::http::error_page::Failure;
use super::http::field::Name;
use super::http::forwarded;
use super::http::forwarded::Context;
use super::http::framing::Framing;
use super::http::head::Request;
use super::own_token::OwnToken;
use super::static_files::lookup;
use super::static_files::lookup::{Answer, Looked};
use super::upstream::connection::Upstream;
use super::upstream::pool;
use super::worker::Worker;
use crate::router::backend::{Backend, Lease};
use crate::router::replica::{Found, Select, Selection, Wanted};
use crate::router::table::{Availability, Rule, Table};

/// Requests that may wait on one worker for apps to start.
const HELD: usize = 1024;

/// What is read behind the head of a request that waits, to see whether the client is still there.
const HELD_SPACE: usize = 8 * 1024;

/// Who a request goes to.
pub(super) enum Target {
    /// A process of an app, and how to ask for another one.
    App(Chosen, Select),
    Api,
    /// A static file of an app.
    File(Answer),
}

impl Target {
    /// Whether it is a process, which a slow client must not hold.
    pub(super) fn takes_whole_bodies(&self) -> bool {
        matches!(self, Self::App(chosen, _) if chosen.found.route.buffer.requests)
    }
}

/// A process of an app, with the request counted on it.
pub(super) struct Chosen {
    found: Found,
    backend: Backend,
    lease: Lease,
}

pub(super) enum Routed {
    /// This target, with the head that it gets.
    To(Target, Vec<u8>),
    Failed(Failure),
    /// An app that is starting: route again after a change.
    Held(Arc<str>, watch::Receiver<Arc<Table>>),
}

/// A request that waits; dropping it makes room for another one.
pub(super) struct Waiting {
    until: Instant,
    worker: Rc<Worker>,
}

impl Waiting {
    fn new(worker: &Rc<Worker>) -> Option<Self> {
        let held = worker.held.get();
        (held < HELD).then(|| {
            worker.held.set(held + 1);
            Self {
                until: Instant::now() + worker.settings.hold,
                worker: Rc::clone(worker),
            }
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.worker.held.set(self.worker.held.get() - 1);
    }
}

impl<S: ClientStream> Connection<S> {
    /// Finds who answers, and writes the head that they get.
    pub(super) async fn route(&self, request: &Request<'_>, request_info: &RequestInfo) -> Routed {
        let (selection, select) = match self.choose_again(request) {
            Some(chosen) => chosen,
            None => self.select(request).await,
        };
        if let Some(failure) = without_slash(selection.as_ref(), request, request_info) {
            return Routed::Failed(failure);
        }
        if let Some(routed) = self
            .static_file(selection.as_ref(), request, request_info)
            .await
        {
            return routed;
        }
        let (target, strip, withheld) = match selection {
            None => return Routed::Failed(Failure::unroutable()),
            Some(Selection::Backend(found, backend, lease)) => {
                note_found(request_info, &found);
                let strip = found.strip;
                if found.rule == Rule::Path {
                    // Of a request that was held it was not said yet.
                    let _ = request_info.by_path.set(Arc::clone(&found.route.app));
                }
                let chosen = Chosen {
                    found,
                    backend,
                    lease,
                };
                let withheld = Some(&self.worker.own_token);
                (Target::App(chosen, select), strip, withheld)
            }
            // No resource is asked for, but whoever it reaches (RFC 9110 §9.3.7).
            Some(Selection::Api | Selection::NotFound)
                if request.target == "*" && select.wanted.x_app.is_none() =>
            {
                return Routed::Failed(Failure::options());
            }
            Some(Selection::Api) => (Target::Api, 0, None),
            Some(Selection::NotFound) => return Routed::Failed(Failure::not_found()),
            Some(Selection::Unavailable(found, why)) => {
                note_found(request_info, &found);
                return Routed::Failed(unavailable(&found.route.app, why));
            }
            Some(Selection::Hold(found, changed)) => {
                note_found(request_info, &found);
                return Routed::Held(Arc::clone(&found.route.app), changed);
            }
        };
        let head = self.forwarded_head(request, request_info, (strip, withheld));
        Routed::To(target, head)
    }

    /// A backend of the app that answered before, if it must be the same app.
    fn choose_again(&self, request: &Request<'_>) -> Option<(Option<Selection>, Select)> {
        // An app's own port goes to that app, whatever the host.
        if self.port.is_some() {
            return None;
        }
        let kept = self.worker.route_cache.borrow();
        let (found, select) = kept.answer(request, &self.worker.table())?;
        let (backend, lease) = self.worker.choose(&found.route.backends)?;
        Some((Some(Selection::Backend(found, backend, lease)), select))
    }

    /// Asks the replica, and keeps its answer.
    async fn select(&self, request: &Request<'_>) -> (Option<Selection>, Select) {
        let x_app = request.fields.named(Name::XApp).next();
        let wanted = Wanted {
            x_app: x_app.map(|f| String::from_utf8_lossy(f.value).into()),
            host: request.authority.map_or_else(Box::default, |a| a.routed()),
            path: request.target.into(),
            port: self.port,
        };
        let select = Select {
            wanted: Arc::new(wanted),
            avoid: Vec::new(),
        };
        // Of before it is asked: if it changes meanwhile, the answer is not kept for long.
        let table = Arc::downgrade(&self.worker.table());
        let selection = self.worker.select(select.clone()).await;
        if let Some(Selection::Backend(found, ..)) = &selection {
            let mut kept = self.worker.route_cache.borrow_mut();
            kept.keep(&table, &select.wanted, found);
        }
        (selection, select)
    }

    fn forwarded_head(
        &self,
        request: &Request<'_>,
        request_info: &RequestInfo,
        (strip, withheld): (usize, Option<&OwnToken>),
    ) -> Vec<u8> {
        let context = Context {
            peer: self.peer.ip(),
            local: self.local,
            trusted: self.trusted,
            networks: &self.worker.trusted,
            request_id: request_info.request_id.as_bytes(),
            strip,
            withheld,
        };
        let mut head = self.worker.spare.take_head();
        forwarded::request(&mut head, request, &context);
        head
    }

    /// The file that the app's directory has for a request, or why neither that nor the app answers.
    async fn static_file(
        &self,
        selection: Option<&Selection>,
        request: &Request<'_>,
        request_info: &RequestInfo,
    ) -> Option<Routed> {
        let (found, no_app) = match selection? {
            Selection::Backend(found, ..) | Selection::Hold(found, _) => (found, false),
            Selection::Unavailable(_, Availability::Stopped) => return None,
            Selection::Unavailable(found, why) => (found, *why == Availability::NoWeb),
            Selection::Api | Selection::NotFound => return None,
        };
        let files = found.route.static_files.as_ref()?;
        let mut looked = lookup::look(files, request, found.strip).await;
        if no_app && matches!(looked, Looked::Missing | Looked::Refused) {
            let instead = lookup::instead(files, request).await;
            looked = instead.map_or(looked, Looked::Found);
        }
        let routed = match looked {
            Looked::Found(answer) => {
                let request = lookup::for_files(request);
                let withheld = Some(&self.worker.own_token);
                let head = self.forwarded_head(&request, request_info, (found.strip, withheld));
                Routed::To(Target::File(answer), head)
            }
            Looked::Missing | Looked::Method if !no_app => return None,
            Looked::Method => Routed::Failed(Failure::only_files()),
            Looked::Missing | Looked::Refused => Routed::Failed(Failure::no_file()),
        };
        note_found(request_info, found);
        Some(routed)
    }

    /// Waits for a change of the table, while `app` starts. `Err(None)`: the client is gone.
    pub(super) async fn wait(
        &mut self,
        waiting: &mut Option<Waiting>,
        app: &str,
        mut changed: watch::Receiver<Arc<Table>>,
        request_info: &RequestInfo,
    ) -> Result<(), Option<Failure>> {
        if waiting.is_none() {
            *waiting = Waiting::new(&self.worker);
        }
        let Some(Waiting { until, .. }) = waiting else {
            return Err(Some(Failure::backlog(app)));
        };
        self.deadline
            .set(until.saturating_duration_since(Instant::now()));
        let space = self.worker.settings.limits.head + HELD_SPACE;
        let mut changes = pin!(changed.changed());
        let (mut watch, mut is_half) = (None, false);
        // What would be a tunnel may be closed on one side.
        let may_be_half = request_info.upgrade.is_some() && request_info.framing == Framing::Empty;
        poll_fn(|cx| {
            match changes.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Some(Failure::not_ready(app)))),
                Poll::Pending => {}
            }
            while !is_half && !self.input.holds(space) {
                let spare = &self.worker.spare;
                match self.input.poll_fill(cx, &mut self.stream, space, spare) {
                    Poll::Ready(Ok(0)) if may_be_half => is_half = true,
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(None)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            if self.input.holds(space) && !may_be_half {
                let end = watch.get_or_insert_with(|| self.stream.end());
                if end.as_ref().is_some_and(|end| end.poll(cx).is_ready()) {
                    return Poll::Ready(Err(None));
                }
            }
            let late = |()| Err(Some(Failure::not_ready(app)));
            self.deadline.poll(cx).map(late)
        })
        .await
    }

    /// Sends the request to its target and the response to the client.
    pub(super) async fn exchange(
        &mut self,
        target: Target,
        head: Vec<u8>,
        stored: Option<&mut Stored>,
        request_info: &RequestInfo,
    ) -> Next {
        let next = self
            .exchange_with(target, &head, stored, request_info)
            .await;
        self.worker.spare.put_head(head);
        next
    }

    async fn exchange_with(
        &mut self,
        target: Target,
        head: &[u8],
        stored: Option<&mut Stored>,
        request_info: &RequestInfo,
    ) -> Next {
        match target {
            Target::Api => self.exchange_with_api(head, request_info).await,
            Target::File(answer) => {
                let mut pipe = Upstream::Pipe(self.worker.files.open(answer));
                let own = sides::Backend::own(&mut pipe, false);
                let end = self.run(own, head, request_info).await;
                self.finish(end, request_info).await
            }
            Target::App(chosen, select) => {
                self.exchange_with_app((chosen, select), head, stored, request_info)
                    .await
            }
        }
    }

    async fn exchange_with_api(&mut self, head: &[u8], request_info: &RequestInfo) -> Next {
        request_info.note(Notes::asks_api);
        let kept = self
            .api
            .take()
            .and_then(|mut pipe| pipe.is_quiet().then_some(pipe));
        let reused = kept.is_some();
        let open = || Upstream::Pipe((self.worker.api)(self.peer));
        let mut pipe = kept.unwrap_or_else(open);
        let own = sides::Backend::own(&mut pipe, reused);
        let mut end = self.run(own, head, request_info).await;
        if matches!(end, End::Stale) {
            request_info.note(Notes::again);
            pipe = Upstream::Pipe((self.worker.api)(self.peer));
            let own = sides::Backend::own(&mut pipe, false);
            end = self.run(own, head, request_info).await;
        }
        if end.keeps_upstream() {
            self.api = Some(pipe);
            return self.finish(end, request_info).await;
        }
        if let End::Upgraded(tunnel) = end {
            return Next::Tunnel(Upgraded::new(pipe, tunnel, None));
        }
        self.finish(end, request_info).await
    }

    async fn exchange_with_app(
        &mut self,
        (mut chosen, mut select): (Chosen, Select),
        head: &[u8],
        mut stored: Option<&mut Stored>,
        request_info: &RequestInfo,
    ) -> Next {
        // What is on disk is not sent twice, so it takes no connection that may be dead.
        let mut fresh = stored.is_some();
        loop {
            let connected = self
                .connect(&mut chosen, &mut select, fresh, request_info)
                .await;
            let backend = &chosen.backend;
            request_info.note(|notes| notes.asks(&backend.process, backend.release));
            let (mut upstream, asking) = match connected {
                Ok(connected) => connected,
                Err(error) => return self.unreachable(&error, request_info).await,
            };
            let room = chosen
                .found
                .route
                .buffer
                .responses
                .then(|| Rc::clone(&self.worker.spool_space));
            let side = sides::Backend {
                connection: &mut upstream,
                reused: asking.is_none(),
                room: room.as_ref(),
                stored: stored.as_deref_mut(),
                asking,
            };
            let end = self.run(side, head, request_info).await;
            match end {
                End::Stale => {
                    let (id, app) = (&request_info.request_id, &chosen.found.route.app);
                    log::info!("request {id}: sent again, {app} had closed a kept connection");
                    request_info.note(Notes::again);
                    fresh = true;
                }
                End::Upgraded(tunnel) => {
                    return Next::Tunnel(Upgraded::new(upstream, tunnel, Some(chosen.lease)));
                }
                end => {
                    if end.keeps_upstream() {
                        self.worker.keep(&chosen.backend, upstream);
                    } else {
                        drop(upstream);
                    }
                    drop(chosen);
                    let end = match end {
                        End::Received { rest, .. } => self.deliver(rest, request_info).await,
                        end => end,
                    };
                    return self.finish(end, request_info).await;
                }
            }
        }
    }

    /// A connection to the chosen backend, a kept one unless it must be `fresh`; if it cannot be reached another one
    /// is chosen. One that was not used before comes with what asks for others to be given up.
    async fn connect(
        &self,
        chosen: &mut Chosen,
        select: &mut Select,
        fresh: bool,
        request_info: &RequestInfo,
    ) -> io::Result<(Upstream, Option<Asking>)> {
        let limit = self.worker.settings.timeouts.connect;
        loop {
            let address = chosen.backend.address.clone();
            if !fresh && let Some(kept) = self.worker.pool.take(&address) {
                return Ok((kept, None));
            }
            let mut asking = Asking::new(&self.worker.calls, &chosen.backend);
            let connected = {
                let mut connecting = pin!(pool::connect(&address, limit));
                poll_fn(|cx| {
                    let connected = connecting.as_mut().poll(cx);
                    if connected.is_pending() {
                        asking.poll(cx);
                    }
                    connected
                })
                .await
            };
            let error = match connected {
                Ok(connection) => return Ok((connection, Some(asking))),
                Err(error) => error,
            };
            log::warn!(
                "{} {} at {address}: {error}",
                chosen.found.route.app,
                chosen.backend.process
            );
            chosen.backend.load.alarm.ring();
            select.avoid.push(address);
            match self.another(&chosen.found, select).await {
                Some((backend, lease)) => {
                    request_info.note(Notes::again);
                    (chosen.backend, chosen.lease) = (backend, lease);
                }
                None => return Err(error),
            }
        }
    }

    /// Another process of the same app, to which the same head can be sent.
    async fn another(&self, found: &Found, select: &Select) -> Option<(Backend, Lease)> {
        match self.worker.select(select.clone()).await {
            Some(Selection::Backend(other, backend, lease))
                if other.route.app == found.route.app && other.strip == found.strip =>
            {
                log::info!("{}: {} is asked instead", found.route.app, backend.process);
                Some((backend, lease))
            }
            _ => None,
        }
    }

    async fn unreachable(&mut self, error: &io::Error, request_info: &RequestInfo) -> Next {
        let failure = match error.kind() {
            // Without its file, a socket is refused likewise.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Failure::refused(),
            _ => Failure::unreachable(),
        };
        let complete = request_info.framing == Framing::Empty;
        self.answer(&failure, request_info, complete).await
    }

    async fn finish(&mut self, end: End, request_info: &RequestInfo) -> Next {
        match end {
            End::Complete {
                keep_client: true, ..
            } => Next::Again,
            // It said that it sends no more, so no reset can cost it the response.
            End::Complete { .. } if !request_info.keep_alive && self.input.is_empty() => {
                Next::Close
            }
            End::Complete { .. } => Next::Linger,
            End::Failed(failure) => {
                // Whether the body was read to its end is not known here; without one it was.
                let complete = request_info.framing == Framing::Empty;
                self.answer(&failure, request_info, complete).await
            }
            End::Truncated(why) => {
                log::warn!("request {}: {why}", request_info.request_id);
                request_info.note(Notes::broke_off);
                Next::Linger
            }
            End::Stale => self.answer(&Failure::closed(), request_info, false).await,
            End::Gone => {
                log::debug!(
                    "request {}: the client went away (H27)",
                    request_info.request_id
                );
                request_info.note(Notes::client_gone);
                Next::Close
            }
            End::Upgraded(_) | End::Received { .. } => Next::Close,
        }
    }
}

fn note_found(request_info: &RequestInfo, found: &Found) {
    request_info.note(|notes| notes.found(&found.route, found.rule));
}

/// Where the app begins, if a request by path names it without the slash behind.
fn without_slash(
    selection: Option<&Selection>,
    request: &Request<'_>,
    request_info: &RequestInfo,
) -> Option<Failure> {
    let found = match selection? {
        Selection::Backend(found, ..)
        | Selection::Hold(found, _)
        | Selection::Unavailable(found, _) => found,
        Selection::Api | Selection::NotFound => return None,
    };
    let (name, rest) = request.target.split_at_checked(found.prefix)?;
    if name.is_empty() || rest.starts_with('/') {
        return None;
    }
    note_found(request_info, found);
    Some(Failure::moved(format!("{name}/{rest}")))
}

fn unavailable(app: &str, why: Availability) -> Failure {
    match why {
        Availability::Starting => Failure::not_ready(app),
        Availability::Stopped => Failure::stopped(app),
        Availability::Crashed => Failure::crashed(app),
        Availability::Undeployed => Failure::undeployed(app),
        Availability::NoWeb => Failure::no_web(app),
    }
}
