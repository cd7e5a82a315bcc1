//! One request and its response, both ways at once.
//!
//! All that can be done without waiting is done in `step`; then `poll_io` waits until one of
//! the two connections can be read or written. So a final response is passed on while the body is still being sent,
//! and neither side is read faster than the other one takes it.

pub mod body_end;
pub mod buffer;
pub mod client_end;
pub mod collect;
pub mod deadline;
pub mod delivery;
pub mod end;
pub mod flow;
pub mod pace;
mod poll;
pub mod request_info;
pub mod sides;
pub mod spool;
pub mod spool_file;
pub mod spool_space;
pub mod stored;
pub mod tunnel;
pub mod upgraded;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::asking::Asking;

use super::date::HttpDate;
use super::http::error_page::Failure;
use super::http::field::Name;
use super::http::forwarded;
use super::http::forwarded::Downstream;
use super::http::framing::Framing;
use super::http::head;
use super::http::head::Response;
use super::http::head_end;
use super::http::parse;
use super::http::upgrade;
use super::settings::FrontSettings;
use super::upstream::connection::Upstream;
use buffer::{Buffer, Spare};
use client_end::{ClientEnd, ClientStream};
use delivery::Rest;
use end::{End, Tunnel};
use flow::Flow;
use pace::Pace;
use request_info::RequestInfo;
use sides::{Backend, Client, Setting};
use spool::{LOST, Spool};
use spool_space::SpoolSpace;
use stored::Stored;

/// Bytes of each side in memory at most.
const SPACE: usize = 64 * 1024;

/// Bytes read behind a whole request, to see whether the client is still there; further requests wait in them.
pub(super) const BEHIND: usize = 8 * 1024;

/// Why a response breaks off that is not framed as RFC 9112 has it.
pub(super) const MALFORMED: &str = "the application sent a malformed body";

/// Interim responses to one request: one each ten seconds for hours, but not without end.
const INTERIM: u32 = 1000;

/// How long the API may take to say something: it bounds for itself what it waits for, which can be a deploy of an
/// hour, or the next line of a log.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How long a backend may leave a client that expects a 100 without one, before it is told to go on from here.
const CONTINUE_AFTER: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for a final response head; so many bytes were searched for its end.
    Head {
        seen: usize,
    },
    Body,
}

enum Stop {
    Timeout,
    Gone,
    /// What was kept of a body cannot be read.
    Lost,
}

/// One request and its response.
pub struct Exchange<'c, S> {
    client: Client<'c, S>,
    upstream: &'c mut Upstream,
    upstream_in: Buffer,
    up: Flow<'c>,
    down: Flow<'static>,
    request_info: &'c RequestInfo,
    settings: &'c FrontSettings,
    spare: &'c Spare,
    date: &'c HttpDate,
    draining: bool,
    phase: Phase,
    /// The connection was used before: the backend may have closed it just now.
    reused: bool,
    /// The body, where the request can be sent again with it.
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
    /// How fast the body comes, if there is one that could come too slowly.
    pace: Option<Pace>,
    /// The body, where it was taken before and is not in memory.
    stored: Option<&'c mut Stored>,
    /// Where the response may wait for a slow client, and what of it does.
    room: Option<&'c Rc<SpoolSpace>>,
    spool: Option<Box<Spool>>,
    /// The client did not take what it was given last.
    client_is_slow: bool,
    /// Tells the client's end while nothing is read of it.
    watch: Option<ClientEnd>,
    asking: Option<Asking>,
}

impl<'c, S: ClientStream> Exchange<'c, S> {
    /// Sends `head`, then the client's body, to the backend.
    pub fn new(
        client: Client<'c, S>,
        backend: Backend<'c>,
        head: &'c [u8],
        request_info: &'c RequestInfo,
        setting: Setting<'c>,
    ) -> Self {
        let continues = request_info.expects_continue && client.input.is_empty();
        let replay = backend
            .reused
            .then(|| request_info.replay(client.input.bytes()));
        Self {
            client,
            upstream: backend.connection,
            upstream_in: Buffer::default(),
            up: Flow::new(head, request_info.framing, request_info.framing),
            down: Flow::new(b"", Framing::Empty, Framing::Empty),
            request_info,
            settings: setting.settings,
            spare: setting.spare,
            date: setting.date,
            draining: setting.draining,
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
                .then(|| Pace::new(setting.settings.timeouts.body)),
            stored: backend.stored,
            room: backend.room,
            spool: None,
            client_is_slow: false,
            watch: None,
            asking: backend.asking,
            continue_at: continues.then(|| Box::pin(tokio::time::sleep(CONTINUE_AFTER))),
        }
    }

    /// Runs it to its end.
    pub async fn run(&mut self) -> End {
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
        self.upstream_in.give_back(self.spare);
        self.spare.put_head(std::mem::take(self.down.framed()));
        end
    }

    async fn drive(&mut self) -> End {
        self.client.deadline.set(self.limit());
        loop {
            match self.step() {
                // Half of an interim response is out: an answer cannot follow it.
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
                Err(Stop::Timeout) if self.down.is_clear() => return self.timed_out(),
                Err(Stop::Timeout) => return End::Truncated("the client does not read"),
            }
        }
    }

    /// Does what can be done without waiting.
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
        let stored = self.stored.as_mut().and_then(|stored| stored.source());
        let source = stored.unwrap_or(self.client.input);
        if let Err(bad) = self.up.take(source) {
            return Some(self.fail(Failure::bad_body(bad.0)));
        }
        if self.is_slow() {
            return Some(self.fail(Failure::slow_client()));
        }
        let limit = self.settings.limits.body;
        let payload = self.up.payload().saturating_add(self.up.announced());
        (payload > limit).then(|| self.fail(Failure::body_too_large(limit)))
    }

    /// Whether the client sends a body byte by byte to keep a backend busy; not once there is a response, to which a
    /// body may be sent for hours, nor while the backend is what does not take it.
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
        let sooner = |left: &Duration| waits && *left < self.settings.timeouts.idle;
        if let Some(left) = left.filter(sooner) {
            self.client.deadline.set(left);
        }
        waits && left.is_none()
    }

    fn waits_for_body(&self) -> bool {
        !self.answered && !self.up.has_ended() && self.up.is_clear()
    }

    fn step_heads(&mut self, mut seen: usize) -> Option<End> {
        loop {
            if !self.down.is_clear() {
                return None;
            }
            let bytes = self.upstream_in.bytes();
            let end = match head_end::find_response_end(bytes, seen) {
                Err(why) => return Some(self.bad_response(why)),
                Ok(Some(end)) => end,
                Ok(None) if self.upstream_ended => return Some(self.closed()),
                Ok(None) if bytes.len() >= head::MAX_RESPONSE => {
                    return Some(self.bad_response("its head is too large"));
                }
                Ok(None) => {
                    self.phase = Phase::Head { seen: bytes.len() };
                    return None;
                }
            };
            // The parsed head borrows the buffer, which is put back once it is used.
            let mut input = std::mem::take(&mut self.upstream_in);
            let result = match parse::response(&input.bytes()[..end], self.request_info.head) {
                Ok(response) => self.on_head(&response),
                Err(bad) => Err(self.bad_response(bad.0)),
            };
            input.consume(end);
            self.upstream_in = input;
            if result.is_ok() {
                // From here: what came of a head so far did not move the limit.
                self.client.deadline.set(self.limit());
            }
            match result {
                Ok(true) => return None,
                Ok(false) => (seen, self.phase) = (0, Phase::Head { seen: 0 }),
                Err(End::Upgraded(mut tunnel)) => {
                    tunnel.upstream_in = std::mem::take(&mut self.upstream_in);
                    return Some(End::Upgraded(tunnel));
                }
                Err(end) => return Some(end),
            }
        }
    }

    /// Passes a head on; true if it was the final one.
    fn on_head(&mut self, response: &Response<'_>) -> Result<bool, End> {
        self.continue_at = None;
        if response.status == 101 {
            return Err(self.switched(response));
        }
        if response.status < 200 {
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(self.bad_response("interim responses without end"));
            }
            if self.request_info.minor == 1 {
                let down = self.downstream(Framing::Empty, None);
                forwarded::response(self.down.framed(), response, &down);
            }
            return Ok(false);
        }
        self.keep_client &= self.up.has_ended() && !self.draining;
        self.keep_upstream = response.keep_alive && response.framing != Framing::UntilClose;
        let to = match response.framing {
            Framing::Chunked | Framing::UntilClose if self.request_info.minor == 0 => {
                self.keep_client = false;
                Framing::UntilClose
            }
            Framing::Chunked | Framing::UntilClose => Framing::Chunked,
            other => other,
        };
        let mut asked = response.fields.named(Name::Upgrade);
        let asked = asked.find(|_| response.status == 426);
        let mut down = self.downstream(to, asked.map(|f| f.value));
        if !response.fields.has(Name::Date) {
            down.date = Some(self.date.now());
        }
        if self.down.framed().capacity() == 0 {
            *self.down.framed() = self.spare.take_head();
        }
        forwarded::response(self.down.framed(), response, &down);
        self.down.set_body(response.framing, to);
        self.request_info
            .note(|notes| notes.answers(response.status));
        self.answered = true;
        if !may_wait(response) {
            self.room = None;
        }
        self.phase = Phase::Body;
        Ok(true)
    }

    fn downstream<'a>(&self, framing: Framing, upgrade: Option<&'a [u8]>) -> Downstream<'a>
    where
        'c: 'a,
    {
        Downstream {
            framing,
            minor: self.request_info.minor,
            keep_alive: self.keep_client,
            request_id: self.request_info.request_id.as_bytes(),
            date: None,
            upgrade,
            by_path: self.request_info.by_path.get().map(|app| &**app),
        }
    }

    /// A 101 counts if one of the offered protocols was chosen and the request is complete (RFC 9110 §7.8).
    fn switched(&mut self, response: &Response<'_>) -> End {
        let chosen = upgrade::chosen(response, self.request_info.upgrade.as_deref());
        let Some(protocol) = chosen.filter(|_| self.up.is_done()) else {
            return self.bad_response("it switches to a protocol that was not offered");
        };
        self.request_info
            .note(|notes| notes.answers(response.status));
        let mut head = Vec::new();
        let down = self.downstream(Framing::Empty, Some(protocol));
        forwarded::response(&mut head, response, &down);
        End::Upgraded(Tunnel {
            head,
            upstream_in: Buffer::default(),
        })
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

    fn broken(&mut self, why: &'static str) -> End {
        if self.has_no_spool() {
            End::Truncated(why)
        } else {
            self.received(Some(why))
        }
    }

    /// The backend has no part in what is left to do.
    fn received(&mut self, broken: Option<&'static str>) -> End {
        let more = self.upstream_in.bytes().len() - self.down.pending_body();
        End::Received {
            keep_upstream: broken.is_none() && self.keeps_upstream() && more == 0,
            rest: Box::new(Rest {
                spool: self.spool.take(),
                flow: std::mem::replace(
                    &mut self.down,
                    Flow::new(b"", Framing::Empty, Framing::Empty),
                ),
                input: std::mem::take(&mut self.upstream_in),
                keep_client: self.keep_client && !self.client_ended,
                client_ended: self.client_ended,
                broken,
            }),
        }
    }

    fn lost(&self) -> End {
        log::error!("request {}: {LOST}", self.request_info.request_id);
        if self.answered || !self.down.is_clear() {
            End::Truncated(LOST)
        } else {
            End::Failed(Failure::lost())
        }
    }

    fn fail(&self, failure: Failure) -> End {
        if self.answered {
            End::Truncated("the request broke off")
        } else {
            End::Failed(failure)
        }
    }

    fn bad_response(&self, why: &str) -> End {
        log::warn!(
            "request {}: malformed response: {why}",
            self.request_info.request_id
        );
        End::Failed(Failure::bad_response())
    }

    /// The backend closed before a final response head.
    fn closed(&self) -> End {
        let silent = self.upstream_in.is_empty() && self.interim == 0;
        let again = !self.up.has_begun() || self.replay.is_some();
        if self.reused && silent && self.request_info.idempotent && again {
            return End::Stale;
        }
        End::Failed(Failure::closed())
    }

    /// Puts back what was taken of the body.
    fn rewind(&mut self) {
        if self.up.has_begun()
            && let Some(body) = self.replay.take()
        {
            self.up.abandon(self.client.input);
            self.client.input.put_back(&body);
        }
    }

    fn timed_out(&self) -> End {
        match self.phase {
            Phase::Head { .. } if !self.up.has_ended() && self.up.is_clear() => {
                End::Failed(Failure::slow_client())
            }
            Phase::Head { .. } => End::Failed(Failure::timeout()),
            Phase::Body => End::Truncated("nothing moved within the idle limit"),
        }
    }

    fn limit(&self) -> Duration {
        let timeouts = &self.settings.timeouts;
        let is_ours = matches!(self.upstream, Upstream::Pipe(_));
        match self.phase {
            _ if is_ours && self.up.is_done() && self.down.is_clear() => PATIENCE,
            Phase::Head { .. } if self.up.is_done() => timeouts.response,
            _ => timeouts.idle,
        }
    }
}

/// Whether a response may wait for a slow client on our side: not where each piece counts by itself, or the
/// application says so in the words that nginx has for it.
fn may_wait(response: &Response<'_>) -> bool {
    let streams = |name: &str, value: &[u8]| {
        let value = value
            .split(|b| *b == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        (name.eq_ignore_ascii_case("content-type")
            && value.eq_ignore_ascii_case(b"text/event-stream"))
            || (name.eq_ignore_ascii_case("x-accel-buffering") && value.eq_ignore_ascii_case(b"no"))
    };
    !response
        .fields
        .iter()
        .any(|field| streams(field.name, field.value))
}
