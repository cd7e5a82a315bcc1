//! [`Http2`]: a connection of HTTP/2, whose streams are answered on tasks of their own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{self, Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::AsyncReadExt as _;

use super::flood::Resets;
use super::heads;
use super::open::{Open, Stream};
use super::reply::Reply;
use super::stream::RequestStream;
use super::traffic::{Counted, Traffic};
use super::upload::Upload;
use crate::front::connection::Connection;
use crate::front::departure::MOMENT;
use crate::front::drain::Place;
use crate::front::exchange::client::Endpoints;
use crate::front::exchange::client_end::ClientStream;
use crate::front::exchange::deadline::Deadline;
use crate::front::linger::{QUIET, linger};
use crate::front::worker::Worker;

/// Requests of one connection at a time.
const STREAMS: u32 = 100;

/// Bytes that a client may send of a body, and of all of a connection, before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const WINDOW: u32 = 1024 * 1024;

/// Bytes of a response that wait for the socket.
const UNSENT: usize = 64 * 1024;

/// Streams that are remembered after they were reset, and those reset before they were looked at. A connection with
/// more ends.
const RESET: usize = 50;
const RESET_UNSEEN: usize = 20;

/// Streams that had to be reset for what the client did, over the whole time of a connection. Those beyond [`STREAMS`]
/// are among them, which a client can send that does not know the number yet. Who makes the server reset requests that
/// it has begun is ended much earlier, see [`Resets`].
const MISUSED: usize = 1024;

/// The time that a client has to close once it was told to (GOAWAY).
const CLOSING: Duration = Duration::from_secs(2);

/// Bytes that are read of a client that was told what it did wrong. One that floods reads nothing anyway.
const LINGER_TOLD: u64 = 64 * 1024;

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    /// All was answered, and the client was told to go, or went.
    Well,
    /// The client was told what it did wrong.
    Told,
    /// The client is waited for no longer.
    Late,
}

/// A connection whose handshake is done.
struct Http2<S> {
    connection: server::Connection<Counted<S>, Bytes>,
    /// What the connection writes to.
    stream: Rc<RefCell<S>>,
    endpoints: Endpoints,
    worker: Rc<Worker>,
    open: Rc<Open>,
    traffic: Rc<Traffic>,
    drains: Place,
    deadline: Deadline,
    waits: Waits,
    began: Instant,
    resets: Resets,
    /// The client was told to open no more streams.
    is_told: bool,
    /// It was given a moment for its first request.
    has_moment: bool,
    /// It ends, whatever the client says.
    is_over: bool,
    /// Requests that came.
    requests: u64,
}

/// What the connection waits for, as far as it does not wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For whoever answers.
    No,
    /// For a request.
    Idle,
    /// For the client to take something. It has taken so much.
    Stuck(u64),
    /// For the client to close.
    Closing,
}

/// Answers the requests of a connection, and closes it.
pub(in crate::front) async fn serve<S: ClientStream>(
    stream: S,
    endpoints: Endpoints,
    worker: Rc<Worker>,
) {
    let traffic = Rc::new(Traffic::new());
    let stream = Rc::new(RefCell::new(stream));
    let counted = Counted::new(Rc::clone(&stream), Rc::clone(&traffic));
    let handshake = builder(&worker).handshake(counted);
    let timeouts = worker.settings.timeouts;
    let connection = match tokio::time::timeout(timeouts.head, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return log::debug!("a handshake of HTTP/2 failed: {error}"),
        Err(_) => return log::debug!("a handshake of HTTP/2 took too long"),
    };
    traffic.gather();
    let mut http2 = Http2 {
        connection,
        stream: Rc::clone(&stream),
        endpoints: Endpoints {
            is_http2: true,
            ..endpoints
        },
        open: Rc::default(),
        traffic,
        drains: Place::new(&worker.drain),
        deadline: Deadline::new(timeouts.head),
        waits: Waits::No,
        began: Instant::now(),
        resets: Resets::new(),
        is_told: false,
        has_moment: false,
        is_over: false,
        requests: 0,
        worker: Rc::clone(&worker),
    };
    let ended = http2.run().await;
    // What counted the stream's bytes goes with it, so that nobody else has the stream.
    drop(http2);
    let Some(stream) = Rc::into_inner(stream) else {
        return;
    };
    let mut stream = stream.into_inner();
    match ended {
        Ended::Well => linger(&mut stream, &worker).await,
        Ended::Told => {
            let mut stream = stream.take(LINGER_TOLD);
            let _late = tokio::time::timeout(QUIET, linger(&mut stream, &worker)).await;
        }
        Ended::Late => {}
    }
}

fn builder(worker: &Worker) -> Builder {
    let head = u32::try_from(worker.settings.limits.head).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(head)
        .max_send_buffer_size(UNSENT)
        .max_concurrent_reset_streams(RESET)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(Some(MISUSED));
    builder
}

impl<S: ClientStream> Http2<S> {
    async fn run(&mut self) -> Ended {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Ok((request, reply)) => {
                    self.requests += 1;
                    self.begin(request, reply);
                }
                Err(ended) => return ended,
            }
        }
    }

    /// Reads and writes frames. Ready with the next request, or once the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted, Ended>> {
        loop {
            let accepted = self.connection.poll_accept(cx);
            // Also before the connection ends: its last frame says why.
            let flushed = Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx);
            self.traffic.flushed(&flushed);
            match accepted {
                Poll::Ready(Some(Ok(accepted))) => {
                    self.drains.set_busy();
                    return Poll::Ready(Ok(accepted));
                }
                Poll::Ready(Some(Err(error))) => {
                    log::debug!("a connection of HTTP/2 broke off: {error}");
                    if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                        self.worker.tell_wild(self.endpoints.peer);
                    }
                    return Poll::Ready(Err(Ended::Told));
                }
                Poll::Ready(None) if self.is_over => return Poll::Ready(Err(Ended::Told)),
                Poll::Ready(None) => return Poll::Ready(Err(Ended::Well)),
                Poll::Pending => {}
            }
            if self.traffic.stuck().is_none() {
                self.open.tell_written();
            }
            if self.is_flood() {
                self.worker.tell_wild(self.endpoints.peer);
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                self.is_over = true;
                continue;
            }
            match self.poll_wait(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return Poll::Ready(Err(Ended::Late)),
                Poll::Pending => {
                    self.traffic.begin_turn();
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_flood(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let given_up = self.open.take_given_up();
        let now = self.began.elapsed();
        (0..given_up).fold(false, |flood, _| flood | self.resets.count(now))
            || self.traffic.is_empty_talk()
    }

    /// Ready when there is something to write, or with nothing once the client is waited for no longer.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let stuck = self.traffic.stuck();
        // The last answer may still wait for the client.
        let is_idle = self.open.is_empty() && stuck.is_none();
        let drains = match is_idle {
            true => self.drains.poll_idle(cx),
            false => {
                self.open.wakes(cx.waker());
                self.drains.poll(cx)
            }
        };
        if is_idle {
            self.worker.has_an_idle_one();
        }
        // A client that has just connected would take it for a server that is gone.
        let waits_for_first = self.worker.drain.is_soft() && self.requests == 0;
        if waits_for_first && !std::mem::replace(&mut self.has_moment, true) {
            self.waits = Waits::No;
        }
        if drains.is_ready() && !self.is_told && !waits_for_first {
            return self.tell();
        }
        self.wait(match stuck {
            _ if self.is_over => Waits::Closing,
            Some(taken) => Waits::Stuck(taken),
            None if is_idle && self.is_told => Waits::Closing,
            None if is_idle => Waits::Idle,
            None => Waits::No,
        });
        if self.waits == Waits::No || self.deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        match self.waits {
            Waits::Idle if !self.is_told => self.tell(),
            _ => Poll::Ready(None),
        }
    }

    /// Tells the client to open no more streams. Those that it has are answered.
    fn tell(&mut self) -> Poll<Option<()>> {
        self.is_told = true;
        self.connection.graceful_shutdown();
        Poll::Ready(Some(()))
    }

    fn wait(&mut self, waits: Waits) {
        if self.waits == waits {
            return;
        }
        self.waits = waits;
        let timeouts = &self.worker.settings.timeouts;
        let is_soft = self.worker.drain.is_soft();
        self.deadline.set(match waits {
            Waits::Closing if is_soft => MOMENT,
            Waits::Idle if is_soft => MOMENT,
            Waits::Closing => CLOSING,
            Waits::Idle if self.requests == 0 => timeouts.head,
            _ => timeouts.idle,
        });
    }

    /// Answers a request on a task of its own, unless there is no room for one more.
    fn begin(&mut self, request: Request<RecvStream>, mut reply: SendResponse<Bytes>) {
        let is_further = !self.open.is_empty();
        // The connection itself is counted, so that one request at a time takes no more than by HTTP/1.1.
        let counted = is_further.then(|| self.worker.count_stream(self.endpoints.peer));
        if matches!(counted, Some(None)) {
            log::debug!(
                "a stream of {} was refused for want of room",
                self.endpoints.peer.ip()
            );
            return reply.send_reset(Reason::REFUSED_STREAM);
        }
        let (head, body) = request.into_parts();
        let mut bytes = self.worker.spare.take_head();
        let read = heads::request(&mut bytes, &head, !body.is_end_stream());
        let Some(stream) = Stream::begin(&self.open, bytes.len()) else {
            self.worker.spare.put_head(bytes);
            return reply.send_reset(Reason::REFUSED_STREAM);
        };
        self.traffic.carry(bytes.len());
        let is_chunked = read.unwrap_or(false);
        let reply = Reply::new(reply, head.method == "HEAD", Rc::clone(&self.traffic));
        let upload = Upload::new(body, is_chunked, Rc::clone(&self.traffic));
        let carrier = RequestStream::new(upload, reply);
        let connection = Connection::new(carrier, self.endpoints, Rc::clone(&self.worker));
        let limit = self.worker.settings.timeouts.idle;
        let worker = Rc::clone(&self.worker);
        actix_rt::spawn(async move {
            let mut carrier = connection.answer_one(bytes, read.err()).await;
            if carrier.is_answered() {
                drop((stream, counted));
                return carrier.linger(&worker).await;
            }
            if carrier.is_given_up() {
                stream.open().give_up();
            } else {
                // Nothing waits behind the end of a stream, so what came before goes first.
                let sent = stream.open().sent();
                let _sent = tokio::time::timeout(limit, sent).await;
            }
            carrier.end();
            drop(counted);
        });
    }
}
