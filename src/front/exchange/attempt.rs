//! Sends a request over one connection to a backend, and passes the response on, both ways at once.
//!
//! All that can be done without waiting is done in `step`; then `poll_io` waits until one of the two connections can be
//! read or written. So a final response is passed on while the body is still being sent, and neither side is read
//! faster than the other one takes it.

mod ends;
mod heads;
mod poll;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::buffer::Buffer;
use super::client::Client;
use super::client_end::{ClientEnd, ClientStream};
use super::end::{End, MALFORMED};
use super::flow::Flow;
use super::pace::Pace;
use super::request_info::RequestInfo;
use super::spool::Spool;
use super::spool_space::SpoolSpace;
use super::stored::Stored;
use crate::front::http::framing::{BadBody, Framing};
use crate::front::http::local_reply::LocalReply;
use crate::front::upstream::asking::Asking;
use crate::front::upstream::connection::Upstream;
use crate::front::worker::Worker;
use crate::router::backend::Lease;

/// Bytes of each side in memory at most.
const SPACE: usize = 64 * 1024;

/// The time within which the API must say something. It bounds what it waits for itself, which can be a deploy of an
/// hour or the next line of a log.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How often is looked whether another machine is lost while nothing comes from it. Its end would not come either.
const GLANCE: Duration = Duration::from_secs(3);

/// The time that a backend has to send a 100 to a client that expects one, before the front end sends it.
const CONTINUE_AFTER: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a final response head. `seen` bytes were searched for its end.
    Head {
        seen: usize,
    },
    Body,
}

enum Stop {
    Timeout,
    Gone,
    /// What the spool keeps of a body cannot be read.
    Lost,
}

/// The backend's side of an attempt.
pub(super) struct Backend<'c> {
    pub(super) connection: &'c mut Upstream,
    /// The connection was used before, so the backend may have closed it just now.
    pub(super) reused: bool,
    /// The space for a response that the client does not take as fast as it comes, if it may wait there.
    pub(super) room: Option<&'c Rc<SpoolSpace>>,
    /// The request's body, if it is not in memory.
    pub(super) stored: Option<&'c mut Stored>,
    /// Asks for an idle connection to be given up, while there is no answer on this one.
    pub(super) asking: Option<Asking>,
    /// What says whether its machine is lost, if that is not this one.
    pub(super) remote: Option<&'c Lease>,
}

impl<'c> Backend<'c> {
    /// A pipe to the API or the file server, which are in this process.
    pub(super) fn own(connection: &'c mut Upstream, reused: bool) -> Self {
        Self {
            connection,
            reused,
            room: None,
            stored: None,
            asking: None,
            remote: None,
        }
    }
}

/// A request on its way over one connection to a backend, and the response on its way back.
pub(super) struct Attempt<'c, S> {
    client: &'c mut Client<S>,
    worker: &'c Worker,
    upstream: &'c mut Upstream,
    upstream_in: Buffer,
    up: Flow<'c>,
    down: Flow<'static>,
    request_info: &'c RequestInfo,
    /// The front end drained when the attempt began, so no connection is kept.
    draining: bool,
    phase: Phase,
    reused: bool,
    /// A copy of the body, if the request can be sent again with it.
    replay: Option<Vec<u8>>,
    client_ended: bool,
    upstream_ended: bool,
    /// The backend's connection was reset, which never ends a body well.
    upstream_failed: bool,
    upload_broken: bool,
    download_broken: bool,
    answered: bool,
    interim: u32,
    keep_client: bool,
    keep_upstream: bool,
    continue_at: Option<Pin<Box<Sleep>>>,
    /// The speed of the body, if there is one.
    pace: Option<Pace>,
    /// The body, if it was collected before and is not in memory.
    stored: Option<&'c mut Stored>,
    /// The space in which the response may wait for a slow client, and the part that does.
    room: Option<&'c Rc<SpoolSpace>>,
    spool: Option<Box<Spool>>,
    /// The client did not take what was written last.
    client_is_slow: bool,
    /// Tells that the client has ended while nothing is read from it.
    watch: Option<ClientEnd>,
    asking: Option<Asking>,
    remote: Option<&'c Lease>,
    /// How long nothing has moved, but for the time since the deadline was set last.
    waited: Duration,
}

impl<'c, S: ClientStream> Attempt<'c, S> {
    /// Sends `head`, then the client's body, to the backend.
    pub(super) fn new(
        client: &'c mut Client<S>,
        worker: &'c Worker,
        backend: Backend<'c>,
        head: &'c [u8],
        request_info: &'c RequestInfo,
    ) -> Self {
        let continues = request_info.expects_continue && client.input.is_empty();
        let replay = backend
            .reused
            .then(|| request_info.replay(client.input.bytes()));
        Self {
            client,
            worker,
            upstream: backend.connection,
            upstream_in: Buffer::default(),
            up: Flow::new(head, request_info.framing, request_info.framing),
            down: Flow::new(b"", Framing::Empty, Framing::Empty),
            request_info,
            draining: worker.is_draining(),
            phase: Phase::Head { seen: 0 },
            reused: backend.reused,
            replay: replay.flatten(),
            client_ended: false,
            upstream_ended: false,
            upstream_failed: false,
            upload_broken: false,
            download_broken: false,
            answered: false,
            interim: 0,
            keep_client: request_info.keep_alive,
            keep_upstream: true,
            pace: (request_info.framing != Framing::Empty)
                .then(|| Pace::new(worker.settings.timeouts.body)),
            stored: backend.stored,
            room: backend.room,
            spool: None,
            client_is_slow: false,
            watch: None,
            asking: backend.asking,
            remote: backend.remote,
            waited: Duration::ZERO,
            continue_at: continues.then(|| Box::pin(tokio::time::sleep(CONTINUE_AFTER))),
        }
    }

    /// Runs it to its end.
    pub(super) async fn run(&mut self) -> End {
        let end = self.drive().await;
        if matches!(end, End::Stale) {
            self.rewind();
        }
        let to = match &end {
            End::Received { rest, .. } => rest.flow.payload(),
            _ => self.down.payload(),
        };
        self.request_info
            .note(|notes| notes.carried(self.up.payload(), to));
        self.upstream_in.consume(usize::MAX);
        self.upstream_in.give_back(&self.worker.spare);
        self.worker
            .spare
            .put_head(std::mem::take(self.down.framed()));
        end
    }

    async fn drive(&mut self) -> End {
        self.moved();
        loop {
            match self.step() {
                // Half of an interim response is out, and no answer can follow it.
                Some(End::Failed(_)) if !self.down.is_clear() => {
                    return End::Truncated("an interim response was cut off");
                }
                Some(end) => return end,
                None => {}
            }
            match poll_fn(|cx| self.poll_io(cx)).await {
                Ok(()) => {}
                Err(Stop::Gone) => return End::Gone,
                Err(Stop::Lost) => return self.lost(),
                Err(Stop::Timeout) if self.goes_on_waiting() => {}
                Err(Stop::Timeout) if self.down.is_clear() => return self.timed_out(),
                Err(Stop::Timeout) => return End::Truncated("the client does not read"),
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn step(&mut self) -> Option<End> {
        if let Some(end) = self.step_upload() {
            return Some(end);
        }
        if let Phase::Head { seen } = self.phase
            && let Some(end) = self.step_heads(seen)
        {
            return Some(end);
        }
        if self.phase == Phase::Body {
            self.step_body()
        } else {
            None
        }
    }

    fn step_upload(&mut self) -> Option<End> {
        if self.upload_broken {
            return None;
        }
        if let Err(bad) = self.take_upload() {
            return Some(self.fail(LocalReply::bad_body(bad.0)));
        }
        if self.is_slow() {
            return Some(self.fail(LocalReply::slow_client()));
        }
        let limit = self.request_info.body_limit(&self.worker.settings);
        let payload = self.up.payload().saturating_add(self.up.announced());
        (payload > limit).then(|| self.fail(LocalReply::body_too_large(limit)))
    }

    /// Takes what can be sent next. Where a piece of what was stored ends in a line of framing, nothing of it is to be
    /// written, and nobody wakes for the next piece.
    fn take_upload(&mut self) -> Result<(), BadBody> {
        loop {
            let stored = self.stored.as_mut().and_then(|stored| stored.source());
            let is_of_store = stored.is_some();
            self.up.take(stored.unwrap_or(&mut self.client.input))?;
            let has_more = match &self.stored {
                Some(stored) if is_of_store => stored.has_more() || stored.is_used(),
                _ => false,
            };
            if !has_more || !self.up.is_clear() || self.up.has_ended() {
                return Ok(());
            }
        }
    }

    /// Whether the client sends a body byte by byte to keep a backend busy. That does not count once there is a
    /// response, beside which a body may be sent for hours, nor while the backend does not take the body.
    fn is_slow(&mut self) -> bool {
        let waits = self.waits_for_body();
        let Some(pace) = &mut self.pace else {
            return false;
        };
        if !waits && !pace.is_waiting() {
            return false;
        }
        pace.wait(waits, Instant::now());
        let left = pace.left(self.up.payload());
        let idle = self.request_info.timeouts(&self.worker.settings).idle;
        let sooner = |left: &Duration| waits && *left < idle;
        if let Some(left) = left.filter(sooner) {
            self.client.deadline.set(left);
        }
        waits && left.is_none()
    }

    fn waits_for_body(&self) -> bool {
        !self.answered && !self.up.has_ended() && self.up.is_clear()
    }

    fn step_body(&mut self) -> Option<End> {
        if !self.download_broken && self.down.take(&mut self.upstream_in).is_err() {
            self.download_broken = true;
        }
        if self.down.is_clear() && !self.down.has_ended() {
            if self.download_broken {
                return Some(self.broken(MALFORMED));
            }
            if self.upstream_ended && (self.upstream_failed || !self.down.close()) {
                let why = "the application closed before the end of its response";
                return Some(self.broken(why));
            }
        }
        if self.client_is_slow && self.room.is_some() && self.down.has_come() {
            return Some(self.received(None));
        }
        (self.down.is_done() && self.has_no_spool()).then(|| End::Complete {
            keep_client: self.keep_client,
            keep_upstream: self.keeps_upstream() && self.upstream_in.is_empty(),
        })
    }

    fn keeps_upstream(&self) -> bool {
        self.keep_upstream && self.up.is_done() && !self.upstream_ended
    }

    fn has_no_spool(&self) -> bool {
        self.spool.as_ref().is_none_or(|spool| spool.is_empty())
    }

    /// Something has moved, or more time is given: the limit counts from now.
    fn moved(&mut self) {
        self.waited = Duration::ZERO;
        self.client.deadline.set(self.until_glance());
    }

    /// The time until the limit is over, or until is looked whether the machine of the backend is lost.
    fn until_glance(&self) -> Duration {
        let left = self.limit().saturating_sub(self.waited);
        match self.waits_for_machine() {
            true => left.min(GLANCE),
            false => left,
        }
    }

    fn waits_for_machine(&self) -> bool {
        self.remote.is_some() && !self.waits_for_body()
    }

    /// Whether the limit is not over yet: the deadline was set sooner, to look whether the machine of the backend is
    /// lost. Then its connection has ended.
    fn goes_on_waiting(&mut self) -> bool {
        if !self.waits_for_machine() || self.upstream_ended {
            return false;
        }
        if self.remote.is_some_and(Lease::is_lost) {
            (self.upstream_ended, self.upstream_failed) = (true, true);
            return true;
        }
        self.waited += self.until_glance();
        let left = self.until_glance();
        self.client.deadline.set(left);
        !left.is_zero()
    }

    fn limit(&self) -> Duration {
        let timeouts = self.request_info.timeouts(&self.worker.settings);
        let is_ours = matches!(self.upstream, Upstream::Pipe(_));
        match self.phase {
            _ if is_ours && self.up.is_done() && self.down.is_clear() => PATIENCE,
            Phase::Head { .. } if self.up.is_done() => timeouts.response,
            _ => timeouts.idle,
        }
    }
}
