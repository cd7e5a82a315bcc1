//! One client connection: its requests, in order.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use super::access::entry::Notes;
use super::drain::Place;
use super::exchange::Exchange;
use super::exchange::buffer::Buffer;
use super::exchange::client_end::ClientStream;
use super::exchange::collect;
use super::exchange::collect::NoBody;
use super::exchange::deadline::Deadline;
use super::exchange::delivery::Rest;
use super::exchange::end::End;
use super::exchange::request_info::RequestInfo;
use super::exchange::sides::{Backend, Client, Setting};
use super::exchange::upgraded::Upgraded;
use super::http::error_page;
use super::http::error_page::{Failure, Page};
use super::http::forwarded;
use super::http::framing::Framing;
use super::http::head::{Refusal, Request};
use super::http::head_end;
use super::http::head_end::find_request_end;
use super::http::parse;
use super::http::request_id::RequestId;
use super::http::request_rules;
use super::http::trusted_proxies;
use super::routing::{Routed, Target};
use super::upstream::connection::Upstream;
use super::worker::Worker;

/// Space for a head before it turns out to be larger.
const SPACE: usize = 8 * 1024;

/// Empty lines before a request that are overlooked.
const EMPTY_LINES: u32 = 2;

/// How long it is waited for more to read and drop after the last response, and how long that goes on at most: a reset
/// would cost a client the response that sends its whole body before it reads (RFC 9112 §9.6; nginx has 5 and 30 s).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_LONGEST: Duration = Duration::from_secs(30);

pub struct Connection<S> {
    pub(super) stream: S,
    pub(super) input: Buffer,
    pub(super) deadline: Deadline,
    pub(super) peer: SocketAddr,
    /// The address of the listener that it came in by.
    pub(super) local: SocketAddr,
    /// The app's own listener that it came in by.
    pub(super) port: Option<u16>,
    pub(super) trusted: bool,
    pub(super) worker: Rc<Worker>,
    /// The pipe to the API, once it was asked.
    pub(super) api: Option<Upstream>,
    requests: u64,
    drains: Place,
}

pub(super) enum Next {
    Again,
    Close,
    /// The end, once the client had time to read the response.
    Linger,
    Tunnel(Box<Upgraded>),
}

/// Why there is no request head.
enum NoHead {
    /// The client closed, was idle too long, or the front end drains.
    Close,
    Slow,
    Refused(Refusal),
}

impl<S: ClientStream> Connection<S> {
    /// A connection from `peer` to the listener at `local`, perhaps an app's own `port`.
    pub fn new(
        stream: S,
        (peer, local, port): (SocketAddr, SocketAddr, Option<u16>),
        worker: Rc<Worker>,
    ) -> Self {
        Self {
            stream,
            input: Buffer::default(),
            deadline: Deadline::new(worker.settings.timeouts.head),
            trusted: worker.trusts(peer),
            peer,
            local,
            port,
            drains: Place::new(&worker.drain),
            worker,
            api: None,
            requests: 0,
        }
    }

    /// Answers its requests, and closes.
    pub async fn serve(mut self) {
        loop {
            match self.request().await {
                Next::Again => self.input.give_back(&self.worker.spare),
                Next::Close => return,
                Next::Linger => return self.linger().await,
                Next::Tunnel(upgraded) => return self.tunnel(*upgraded).await,
            }
            self.requests += 1;
        }
    }

    async fn request(&mut self) -> Next {
        let end = match self.head_end().await {
            Ok(end) => end,
            Err(NoHead::Close) => return Next::Close,
            Err(NoHead::Slow) => return self.refuse(&Failure::slow_client()).await,
            Err(NoHead::Refused(refusal)) => return self.refuse(&refusal.into()).await,
        };
        let mut request_info = None;
        let mut next = self.dispatch(end, &mut request_info).await;
        match (&mut next, request_info) {
            // It ends later.
            (Next::Tunnel(upgraded), request_info) => upgraded.request_info = request_info,
            (_, Some(request_info)) => self.record(request_info.notes, &request_info.request_id),
            (_, None) => {}
        }
        next
    }

    /// The one place where a request ends for the access log, but for one that became a tunnel.
    fn record(&self, notes: Option<Notes>, request_id: &RequestId) {
        if let (Some(recorder), Some(mut notes)) = (&self.worker.access, notes) {
            recorder.record(&mut notes, request_id.as_bytes(), self.worker.is_draining());
        }
    }

    /// Routes the request whose head is the first `end` bytes of the buffer, and answers it.
    async fn dispatch(&mut self, end: usize, known: &mut Option<RequestInfo>) -> Next {
        let limits = self.worker.settings.limits;
        let (mut waiting, mut collected) = (None, None);
        let (request_info, failure) = loop {
            // The buffer is moved out while the head borrows it.
            let input = std::mem::take(&mut self.input);
            let parsed = match parse::request(&input.bytes()[..end], limits.headers) {
                Ok(parsed) => parsed,
                Err(refusal) => {
                    self.input = input;
                    return self.refuse(&refusal.into()).await;
                }
            };
            let request_info = &*known.get_or_insert_with(|| self.request_info(&parsed));
            if matches!(parsed.framing, Framing::Length(bytes) if bytes > limits.body) {
                break (request_info, Failure::body_too_large(limits.body));
            }
            if request_rules::ends_here(&parsed) {
                break (request_info, Failure::options());
            }
            let routed = self.route(&parsed, request_info).await;
            self.input = input;
            match routed {
                // Who it goes to is decided once the body is there.
                Routed::To(target, head)
                    if collected.is_none() && self.waits(&target, request_info, end) =>
                {
                    self.worker.spare.put_head(head);
                    drop((target, waiting.take()));
                    match self.collect(end, request_info).await {
                        Ok(body) => collected = Some(body),
                        Err(NoBody::Refused(failure)) => break (request_info, failure),
                        Err(NoBody::Gone) => return gone(request_info),
                    }
                }
                Routed::To(target, head) => {
                    drop(waiting);
                    self.input.consume(end);
                    let stored = collected.as_mut().and_then(|body| body.stored.as_mut());
                    return self.exchange(target, head, stored, request_info).await;
                }
                Routed::Failed(failure) => break (request_info, failure),
                Routed::Held(app, changed) => {
                    match self.wait(&mut waiting, &app, changed, request_info).await {
                        Ok(()) => {}
                        Err(Some(failure)) => break (request_info, failure),
                        Err(None) => return gone(request_info),
                    }
                }
            }
        };
        self.input.consume(end);
        let complete = request_info.framing == Framing::Empty;
        self.answer(&failure, request_info, complete).await
    }

    /// Whether the body is to be taken before the request is sent.
    fn waits(&self, target: &Target, request_info: &RequestInfo, head: usize) -> bool {
        let behind = self.input.bytes().get(head..).unwrap_or_default();
        target.takes_whole_bodies() && collect::is_to_come(request_info, behind)
    }

    fn request_info(&self, request: &Request<'_>) -> RequestInfo {
        let id = forwarded::sane_request_id(&request.fields);
        let id = id.map_or_else(|| self.worker.request_id(), Into::into);
        let access = self.worker.access.as_ref();
        let named = || trusted_proxies::reported(&request.fields, &self.worker.trusted);
        let notes = access.map(|to| {
            let client = self.trusted.then(named).flatten();
            Notes::of(to.space(), (self.peer.ip(), client), request)
        });
        RequestInfo::new(request, id, notes)
    }

    /// Runs the exchange with `connection`; what it leaves decides how the client's connection goes on.
    pub(super) async fn run(
        &mut self,
        backend: Backend<'_>,
        head: &[u8],
        request_info: &RequestInfo,
    ) -> End {
        let client = Client {
            stream: &mut self.stream,
            input: &mut self.input,
            deadline: &mut self.deadline,
        };
        let setting = Setting {
            settings: &self.worker.settings,
            spare: &self.worker.spare,
            date: &self.worker.date,
            draining: self.worker.is_draining(),
        };
        let mut exchange = Exchange::new(client, backend, head, request_info, setting);
        exchange.run().await
    }

    /// Passes on what is left of a response, at the client's speed.
    pub(super) async fn deliver(&mut self, mut rest: Box<Rest>, request_info: &RequestInfo) -> End {
        let client = Client {
            stream: &mut self.stream,
            input: &mut self.input,
            deadline: &mut self.deadline,
        };
        let worker = &self.worker;
        let end = rest.deliver(client, &worker.settings, &worker.spare).await;
        request_info.note(|notes| notes.not_carried(rest.len()));
        end
    }

    /// Reads until a whole head is in the buffer; the answer is its length.
    async fn head_end(&mut self) -> Result<usize, NoHead> {
        let timeouts = self.worker.settings.timeouts;
        let limit = self.worker.settings.limits.head;
        let first = self.requests == 0;
        self.deadline
            .set(if first { timeouts.head } else { timeouts.idle });
        let (mut seen, mut skipped, mut started) = (0, 0, first);
        loop {
            // RFC 9112 §2.2: empty lines before a request are a mistake of old clients.
            while skipped < EMPTY_LINES && self.input.bytes().starts_with(b"\r\n") {
                self.input.consume(2);
                skipped += 1;
            }
            let bytes = self.input.bytes();
            if let Some(end) = find_request_end(bytes, seen, limit).map_err(NoHead::Refused)? {
                return Ok(end);
            }
            seen = bytes.len();
            if !bytes.is_empty() && !started {
                started = true;
                self.deadline.set(timeouts.head);
            }
            self.read_some(limit).await?;
        }
    }

    /// Reads once, within the deadline; while nothing has come, draining ends the wait.
    async fn read_some(&mut self, limit: usize) -> Result<(), NoHead> {
        let size = if self.input.holds(SPACE) {
            limit.max(SPACE) + 1
        } else {
            SPACE
        };
        poll_fn(|cx| {
            let spare = &self.worker.spare;
            match self.input.poll_fill(cx, &mut self.stream, size, spare) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::Close)),
                Poll::Ready(Ok(_)) => {
                    self.drains.set_busy();
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {}
            }
            let idle = self.input.is_empty();
            if idle {
                if self.drains.poll_idle(cx).is_ready() {
                    return Poll::Ready(Err(NoHead::Close));
                }
                self.worker.has_an_idle_one();
            }
            let late = || Err(if idle { NoHead::Close } else { NoHead::Slow });
            self.deadline.poll(cx).map(|()| late())
        })
        .await
    }

    /// Answers what is no request, and ends. What began as HEAD is answered as one: its sender reads no body.
    async fn refuse(&mut self, failure: &Failure) -> Next {
        let id = self.worker.request_id();
        let page = Page {
            html: false,
            head_only: self.input.bytes().starts_with(b"HEAD "),
            keep_alive: false,
            minor: 1,
            request_id: &id,
            now: jiff::Timestamp::now(),
        };
        let access = self.worker.access.as_ref();
        let notes = access.map(|to| Notes::unread(to.space(), self.peer.ip()));
        let written = self.write_page(failure, &page).await;
        if let Some(notes) = &notes {
            notes.fails(failure, written.unwrap_or(0));
        }
        self.record(notes, &id);
        Next::Linger
    }

    /// Answers a request; the connection is kept if the client wants it and the request was read to its end.
    pub(super) async fn answer(
        &mut self,
        failure: &Failure,
        request_info: &RequestInfo,
        complete: bool,
    ) -> Next {
        let keep_alive = request_info.keep_alive && complete && !self.worker.is_draining();
        let page = Page {
            html: request_info.html,
            head_only: request_info.head,
            keep_alive,
            minor: request_info.minor,
            request_id: &request_info.request_id,
            now: jiff::Timestamp::now(),
        };
        let written = self.write_page(failure, &page).await;
        request_info.note(|notes| notes.fails(failure, written.unwrap_or(0)));
        match (written, keep_alive) {
            (None, _) => Next::Close,
            (Some(_), true) => Next::Again,
            (Some(_), false) => Next::Linger,
        }
    }

    /// How many bytes of body were sent, if that was possible.
    async fn write_page(&mut self, failure: &Failure, page: &Page<'_>) -> Option<u64> {
        let mut out = Vec::new();
        error_page::write(&mut out, failure, page);
        let limit = self.worker.settings.timeouts.idle;
        let written = tokio::time::timeout(limit, self.stream.write_all(&out)).await;
        let head = head_end::find_end(&out, 0).ok().flatten()?;
        matches!(written, Ok(Ok(()))).then_some((out.len() - head) as u64)
    }

    /// Closes the sending side and reads on for a while, so that what was sent is not lost to a reset.
    async fn linger(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let begun = Instant::now();
        let longest = |worker: &Worker| match worker.is_draining() {
            true => LINGER,
            false => LINGER_LONGEST,
        };
        while begun.elapsed() < longest(&self.worker) {
            self.input.consume(usize::MAX);
            self.deadline.set(LINGER);
            let count = poll_fn(|cx| {
                let spare = &self.worker.spare;
                if let Poll::Ready(result) =
                    self.input.poll_fill(cx, &mut self.stream, SPACE, spare)
                {
                    return Poll::Ready(result.unwrap_or(0));
                }
                self.deadline.poll(cx).map(|()| 0)
            });
            if count.await == 0 {
                return;
            }
        }
    }
}

/// Nobody is there to be answered.
fn gone(request_info: &RequestInfo) -> Next {
    request_info.note(Notes::client_gone);
    Next::Close
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::front::settings::{FrontSettings, Limits, Timeouts};
    use crate::front::worker::Plan;

    const S: Duration = Duration::from_secs(1);

    fn plan() -> Plan {
        let settings = FrontSettings {
            workers: 1,
            reach: Arc::default(),
            trusted_proxies: Vec::new(),
            hold: S,
            drain: S,
            buffers: std::env::temp_dir(),
            timeouts: Timeouts {
                connect: S,
                head: S,
                response: S,
                idle: S,
                tunnel_idle: S,
                body: S,
            },
            limits: Limits {
                head: 1 << 16,
                body: 1,
                buffer: 0,
                headers: 100,
                connections: 1,
                connections_per_address: 1,
            },
        };
        Plan {
            settings: Arc::new(settings),
            table: watch::channel(Arc::default()).1,
            api: Arc::new(|| Rc::new(|_| tokio::io::duplex(1).0)),
            draining: watch::channel(false).1,
            load: Arc::default(),
            sockets: watch::channel(Vec::new()).1,
            connection_limit: crate::front::connection_limit::ConnectionLimit::default(),
            compressed: Default::default(),
            room: crate::front::capacity::Capacity {
                total: 1,
                per_worker: 1,
                per_address: 1,
            },
            access: None,
            own_token: crate::front::own_token::OwnToken::default(),
            calls: crate::front::asking::calls(),
        }
    }

    /// The promise is at most 20 KiB a connection between requests: this, and no buffer.
    #[actix::test]
    async fn a_connection_between_requests_is_small() {
        let worker = Rc::new(Worker::new(&plan()));
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let (near, _far) = tokio::io::duplex(1);
        let serving = Connection::new(near, (address, address, None), worker).serve();
        let size = std::mem::size_of_val(&serving);
        assert!(size <= 8 * 1024, "{size}");
    }
}
