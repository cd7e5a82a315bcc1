//! One client connection: its requests, in order.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::access::entry::Notes;
use super::departure::MOMENT;
use super::drain::Place;
use super::exchange::Exchange;
use super::exchange::answer;
use super::exchange::buffer::Buffer;
use super::exchange::client::{Client, Endpoints, Interrupted};
use super::exchange::client_end::ClientStream;
use super::exchange::collect;
use super::exchange::deadline::Deadline;
use super::exchange::next::Next;
use super::exchange::request_info::RequestInfo;
use super::hold;
use super::http::field::Field;
use super::http::forwarded;
use super::http::framing::Framing;
use super::http::head::{Refusal, Request};
use super::http::head_end;
use super::http::local_reply::LocalReply;
use super::http::parse;
use super::http::trusted_proxies;
use super::linger;
use super::routing::{self, Routed, Target};
use super::worker::Worker;
use crate::router::backend::Lease;
use crate::traces::context::{self, Parent};
use crate::traces::tracer::Asked;

/// Space for a head before it turns out to be larger.
const SPACE: usize = 8 * 1024;

/// Empty lines before a request that are overlooked.
const EMPTY_LINES: u32 = 2;

/// A client's connection, over whatever carries its bytes: TCP, or what decrypts them.
pub struct Connection<S> {
    client: Client<S>,
    worker: Rc<Worker>,
    /// Requests that were answered.
    requests: u64,
    /// The part of the first head's time that has passed.
    waited: Duration,
    drains: Place,
    /// Counts the request that is answered.
    lasts: Option<Rc<Lease>>,
    /// It was given a moment, and ends then.
    has_moment: bool,
}

/// Why there is no request head.
enum NoHead {
    /// The client closed, was idle too long, or the front end drains.
    Close,
    Slow,
    Refused(Refusal),
}

impl<S: ClientStream> Connection<S> {
    pub fn new(stream: S, endpoints: Endpoints, worker: Rc<Worker>) -> Self {
        Self {
            client: Client {
                stream,
                input: Buffer::default(),
                deadline: Deadline::new(worker.settings.timeouts.head),
                endpoints,
                api: None,
            },
            drains: Place::new(&worker.drain),
            worker,
            requests: 0,
            waited: Duration::ZERO,
            lasts: None,
            has_moment: false,
        }
    }

    /// Leaves the first head less time: it was waited so long for what comes before it.
    pub(super) fn after(mut self, waited: Duration) -> Self {
        self.waited = waited;
        self
    }

    /// Answers its requests, and closes.
    pub async fn serve(mut self) {
        loop {
            match self.request().await {
                Next::Again => {
                    self.lasts = None;
                    self.client.input.give_back(&self.worker.spare);
                }
                Next::Close => return,
                Next::Linger => return self.linger().await,
                Next::Tunnel(upgraded) => return upgraded.run(self.client, &self.worker).await,
            }
            self.requests += 1;
        }
    }

    /// Answers one request, whose head has come, and gives the stream back. A head that was `refused` is one that its
    /// carrier could not read.
    pub(super) async fn answer_one(mut self, head: Vec<u8>, refused: Option<Refusal>) -> S {
        self.client.input.fill(&head, &self.worker.spare);
        self.worker.spare.put_head(head);
        // Nothing follows it.
        let _end = match refused {
            Some(refusal) => self.refuse(&refusal.into()).await,
            None => self.request().await,
        };
        self.client.input.consume(usize::MAX);
        self.client.input.give_back(&self.worker.spare);
        self.client.stream
    }

    /// Reads a request, answers it, and leaves its line in the access log, and its count.
    async fn request(&mut self) -> Next {
        let end = match self.head_end().await {
            Ok(end) => end,
            Err(NoHead::Close) => {
                self.say_the_end().await;
                return Next::Close;
            }
            Err(NoHead::Slow) => return self.refuse(&LocalReply::slow_client()).await,
            Err(NoHead::Refused(refusal)) => return self.refuse(&refusal.into()).await,
        };
        self.lasts = Some(self.worker.generation.request());
        let mut request_info = None;
        let mut next = self.respond(end, &mut request_info).await;
        match (&mut next, request_info) {
            // It ends later.
            (Next::Tunnel(upgraded), request_info) => upgraded.request_info = request_info,
            (_, Some(info)) => self.worker.record(info.notes, &info.request_id),
            (_, None) => {}
        }
        next
    }

    /// Routes the request whose head is the first `end` bytes of the buffer, and answers it. It is routed anew after it
    /// was held, and once a body was collected that a slow client sends.
    async fn respond(&mut self, end: usize, known: &mut Option<RequestInfo>) -> Next {
        let (mut held, mut collected) = (None::<hold::Place>, None);
        loop {
            let (routed, request_info) = match self.route(end, known).await {
                Ok(routed) => routed,
                Err(refusal) => return self.refuse(&refusal.into()).await,
            };
            let done = match routed {
                Routed::To(target, head)
                    if collected.is_none() && self.waits(&target, request_info, end) =>
                {
                    // Others take its place: a slow client would keep it, and the app is not asked meanwhile.
                    drop((target, held.take()));
                    self.worker.spare.put_head(head);
                    let (client, worker) = (&mut self.client, &self.worker);
                    let body = collect::collect(client, worker, end, request_info).await;
                    body.map(|body| collected = Some(body))
                }
                Routed::To(target, head)
                    if let Some(place) = &mut held
                        && target.is_process()
                        && !place.may_go() =>
                {
                    self.worker.spare.put_head(head);
                    drop(target);
                    place.wait(&mut self.client, request_info).await
                }
                Routed::To(target, head) => {
                    if matches!(target, Target::Api) {
                        // One that follows the log would be waited for. The API ends its answers itself.
                        self.lasts = None;
                    }
                    request_info.goes_on(held.and_then(hold::Place::go));
                    self.client.input.consume(end);
                    let exchange = Exchange {
                        client: &mut self.client,
                        worker: &self.worker,
                        head: &head,
                        request_info,
                    };
                    let stored = collected.as_mut().and_then(|body| body.stored.as_mut());
                    let next = exchange.run(target, stored).await;
                    self.worker.spare.put_head(head);
                    return next;
                }
                Routed::Hold(hold) => {
                    let (client, worker) = (&mut self.client, &self.worker);
                    hold.wait(client, worker, &mut held, request_info).await
                }
                Routed::Answer(reply) => Err(Interrupted::Refused(reply)),
                Routed::Gone => Err(Interrupted::Gone),
            };
            match done {
                Ok(()) => {}
                Err(Interrupted::Refused(reply)) => {
                    self.client.input.consume(end);
                    let (client, worker) = (&mut self.client, &self.worker);
                    let is_complete = request_info.framing == Framing::Empty;
                    return answer::answer(client, worker, &reply, request_info, is_complete).await;
                }
                Err(Interrupted::Gone) => {
                    request_info.note(Notes::client_gone);
                    return Next::Close;
                }
            }
        }
    }

    /// Parses the head and asks who answers. What of it is needed later is `known` from the first time on.
    async fn route<'k>(
        &self,
        end: usize,
        known: &'k mut Option<RequestInfo>,
    ) -> Result<(Routed, &'k RequestInfo), Refusal> {
        let most = self.worker.settings.limits.headers;
        let request = parse::request(&self.client.input.bytes()[..end], most)?;
        let info = &*known.get_or_insert_with(|| self.request_info(&request));
        let routed = routing::route(&self.worker, &self.client.endpoints, &request, info);
        Ok((self.unless_gone(info, routed).await, info))
    }

    /// Gives a request up whose client goes away while its password waits to be looked at.
    async fn unless_gone(
        &self,
        info: &RequestInfo,
        routed: impl Future<Output = Routed>,
    ) -> Routed {
        let (mut routed, mut end) = (pin!(routed), None);
        poll_fn(|cx| {
            if let Poll::Ready(routed) = routed.as_mut().poll(cx) {
                return Poll::Ready(routed);
            }
            if info.is_verified.get() && !info.may_be_half() {
                let end = end.get_or_insert_with(|| self.client.stream.end());
                if end.as_ref().is_some_and(|end| end.poll(cx).is_ready()) {
                    return Poll::Ready(Routed::Gone);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the body is to be taken before the request is sent.
    fn waits(&self, target: &Target, request_info: &RequestInfo, head: usize) -> bool {
        let behind = self.client.input.bytes().get(head..).unwrap_or_default();
        target.takes_whole_bodies() && collect::is_to_come(request_info, behind)
    }

    fn request_info(&self, request: &Request<'_>) -> RequestInfo {
        let id = forwarded::sane_request_id(&request.fields);
        let id = id.map_or_else(|| self.worker.request_id(), Into::into);
        let endpoints = &self.client.endpoints;
        let named = || trusted_proxies::reported(&request.fields, &self.worker.trusted);
        let mut notes = match &self.worker.access {
            Some(to) => {
                let client = endpoints.is_trusted.then(named).flatten();
                let peer = (endpoints.peer.ip(), client);
                Notes::of(to.space(), peer, endpoints.spoken(), request)
            }
            None => Notes::without_line(),
        };
        if let Some(tracer) = &self.worker.tracer {
            notes.trace = tracer.begin(&asked(request, endpoints));
        }
        RequestInfo::new(request, id, notes)
    }

    /// Reads until a whole head is in the buffer; the answer is its length.
    async fn head_end(&mut self) -> Result<usize, NoHead> {
        let timeouts = self.worker.settings.timeouts;
        let limit = self.worker.settings.limits.head;
        let first = self.requests == 0;
        self.client.deadline.set(if first {
            timeouts.head.saturating_sub(self.waited)
        } else {
            timeouts.idle
        });
        let (mut seen, mut skipped, mut started) = (0, 0, first);
        loop {
            let input = &mut self.client.input;
            // RFC 9112 §2.2: empty lines before a request are a mistake of old clients.
            while skipped < EMPTY_LINES && input.bytes().starts_with(b"\r\n") {
                input.consume(2);
                skipped += 1;
            }
            let bytes = input.bytes();
            let end = head_end::find_request_end(bytes, seen, limit);
            if let Some(end) = end.map_err(NoHead::Refused)? {
                return Ok(end);
            }
            seen = bytes.len();
            if !bytes.is_empty() && !started {
                started = true;
                self.client.deadline.set(timeouts.head);
            }
            self.read_some(limit).await?;
        }
    }

    /// Reads once, within the deadline; while nothing has come, draining ends the wait.
    async fn read_some(&mut self, limit: usize) -> Result<(), NoHead> {
        let client = &mut self.client;
        let size = if client.input.holds(SPACE) {
            limit.max(SPACE) + 1
        } else {
            SPACE
        };
        poll_fn(|cx| {
            // What TLS has taken of the last response may wait for the socket.
            let flushed = Pin::new(&mut client.stream).poll_flush(cx);
            let spare = &self.worker.spare;
            match client.input.poll_fill(cx, &mut client.stream, size, spare) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::Close)),
                Poll::Ready(Ok(_)) => {
                    self.drains.set_busy();
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {}
            }
            let idle = client.input.is_empty();
            if idle && flushed.is_ready() {
                if self.drains.poll_idle(cx).is_ready() {
                    if !self.worker.drain.is_soft() {
                        return Poll::Ready(Err(NoHead::Close));
                    }
                    if !std::mem::replace(&mut self.has_moment, true) {
                        client.deadline.set(MOMENT);
                    }
                }
                self.worker.has_an_idle_one();
            }
            let late = || Err(if idle { NoHead::Close } else { NoHead::Slow });
            client.deadline.poll(cx).map(|()| late())
        })
        .await
    }

    /// Says by TLS that nothing follows, if that can be said at once: without it, an end looks like a cut.
    async fn say_the_end(&mut self) {
        let client = &mut self.client;
        if client.endpoints.is_secure {
            poll_fn(|cx| {
                let _later = Pin::new(&mut client.stream).poll_shutdown(cx);
                Poll::Ready(())
            })
            .await;
        }
    }

    async fn refuse(&mut self, reply: &LocalReply) -> Next {
        answer::refuse(&mut self.client, &self.worker, reply).await
    }

    /// Closes the sending side and reads on for a while.
    async fn linger(&mut self) {
        self.lasts = None;
        let (client, worker) = (&mut self.client, &self.worker);
        // It sends first what TLS has taken, which the client may not read.
        let limit = worker.settings.timeouts.idle;
        let closed = tokio::time::timeout(limit, client.stream.shutdown()).await;
        if !matches!(closed, Ok(Ok(()))) {
            return;
        }
        client.input.consume(usize::MAX);
        client.input.give_back(&worker.spare);
        linger::linger(&mut client.stream, worker).await;
    }
}

/// What a span tells of the request. A `traceparent` that comes twice is none.
fn asked<'a>(request: &Request<'a>, endpoints: &Endpoints) -> Asked<'a> {
    let named = |field: &&Field<'_>| field.name.eq_ignore_ascii_case(context::FIELD);
    let mut parents = request.fields.into_iter().filter(named);
    let parent = match (parents.next(), parents.next()) {
        (Some(field), None) => Parent::parse(field.value),
        _ => None,
    };
    Asked {
        method: request.method,
        target: request.target,
        host: request.authority.map_or("", |authority| authority.text),
        is_secure: endpoints.is_secure,
        parent,
        is_trusted: endpoints.is_trusted,
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
