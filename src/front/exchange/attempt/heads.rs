//! The heads of the response: interim ones, the final one, and the 101 that begins a tunnel.

use std::sync::Arc;

use super::{Attempt, Phase};
use crate::front::exchange::buffer::Buffer;
use crate::front::exchange::client_end::ClientStream;
use crate::front::exchange::end::{End, Tunnel};
use crate::front::http::field::Name;
use crate::front::http::forwarded::{self, Downstream};
use crate::front::http::framing::Framing;
use crate::front::http::head::{self, Response};
use crate::front::http::{head_end, parse, upgrade};
use crate::front::upstream::connection::Upstream;
use crate::router::policies::Policies;

/// Interim responses to one request. This allows one each ten seconds for hours.
const INTERIM: u32 = 1000;

impl<'c, S: ClientStream> Attempt<'c, S> {
    pub(super) fn step_heads(&mut self, mut seen: usize) -> Option<End> {
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
                // A whole head moves the limit. A part of one does not.
                self.moved();
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

    /// Passes a head on. Returns whether it was the final one.
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
                let cookie = None;
                let down = self.downstream(Framing::Empty, None, cookie);
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
        let (cookie, policies) = self.said_to_client();
        let mut down = self.downstream(to, asked.map(|f| f.value), cookie.as_deref());
        down.fields = policies
            .as_ref()
            .map(|policies| &policies.of.response_headers);
        if !response.fields.has(Name::Date) {
            down.date = Some(self.worker.date.now());
        }
        if self.down.framed().capacity() == 0 {
            *self.down.framed() = self.worker.spare.take_head();
        }
        forwarded::response(self.down.framed(), response, &down);
        self.down.set_body(response.framing, to);
        self.request_info
            .note(|notes| notes.answers(response.status));
        self.request_info.is_answered();
        self.answered = true;
        if !may_wait(response) {
            self.room = None;
        }
        self.phase = Phase::Body;
        Ok(true)
    }

    /// What the front end adds to what the app says: a cookie, and fields.
    fn said_to_client(&self) -> (Option<String>, Option<Arc<Policies>>) {
        let info = self.request_info;
        (info.cookie.take(), info.policies.borrow().clone())
    }

    fn downstream<'a>(
        &self,
        framing: Framing,
        upgrade: Option<&'a [u8]>,
        cookie: Option<&'a str>,
    ) -> Downstream<'a>
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
            is_own: matches!(self.upstream, Upstream::Pipe(_)),
            hsts: self.request_info.hsts.get(),
            cookie,
            fields: None,
        }
    }

    /// Accepts a 101 that chooses one of the offered protocols, once the request is complete (RFC 9110 §7.8).
    fn switched(&mut self, response: &Response<'_>) -> End {
        let chosen = upgrade::chosen(response, self.request_info.upgrade.as_deref());
        let Some(protocol) = chosen.filter(|_| self.up.is_done()) else {
            return self.bad_response("it switches to a protocol that was not offered");
        };
        self.request_info
            .note(|notes| notes.answers(response.status));
        self.request_info.is_answered();
        let mut head = Vec::new();
        let (cookie, _) = self.said_to_client();
        let down = self.downstream(Framing::Empty, Some(protocol), cookie.as_deref());
        forwarded::response(&mut head, response, &down);
        End::Upgraded(Tunnel {
            head,
            upstream_in: Buffer::default(),
        })
    }
}

/// Whether a response may wait here for a slow client. It may not if each piece counts by itself, as in an event
/// stream, or if the application says so in nginx's words.
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
