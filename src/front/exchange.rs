//! One request and its response: sent to its target, sent again where that does no harm, passed on to the client.
//!
//! Begin with `Exchange`. An `attempt` is one sending over one connection; `next` says how the client's connection
//! goes on. Before an exchange, `collect` takes the body that a slow client sends; behind it, `delivery` passes on what
//! a slow client did not take yet, and `tunnel` runs after a 101.

pub(super) mod answer;
mod attempt;
pub mod body_end;
pub mod buffer;
pub mod client;
pub mod client_end;
pub mod collect;
pub mod date;
pub mod deadline;
pub mod delivery;
pub mod end;
pub mod flow;
pub(super) mod next;
pub mod pace;
pub mod request_info;
pub mod spool;
pub mod spool_file;
pub mod spool_space;
pub mod stored;
pub mod tunnel;
pub mod upgraded;

use std::io;

use super::access::entry::Notes;
use super::http::framing::Framing;
use super::http::local_reply::LocalReply;
use super::policies::sticky;
use super::routing::Target;
use super::static_files::lookup::Answer;
use super::upstream::asking::Asking;
use super::upstream::chosen::Chosen;
use super::upstream::connection::Upstream;
use super::worker::Worker;
use attempt::{Attempt, Backend};
use client::Client;
use client_end::ClientStream;
use end::{End, Rest};
use next::Next;
use request_info::RequestInfo;
use stored::Stored;
use upgraded::Upgraded;

/// A request whose target is known, and its response.
pub(super) struct Exchange<'c, S> {
    pub(super) client: &'c mut Client<S>,
    pub(super) worker: &'c Worker,
    /// The head that the target is sent.
    pub(super) head: &'c [u8],
    pub(super) request_info: &'c RequestInfo,
}

impl<S: ClientStream> Exchange<'_, S> {
    /// Runs it to its end. `stored` is the request's body, where it is not in memory.
    pub(super) async fn run(mut self, target: Target, stored: Option<&mut Stored>) -> Next {
        match target {
            Target::Process(chosen) => self.with_process(chosen, stored).await,
            Target::Api => self.with_api().await,
            Target::File(answer) => self.with_file(answer).await,
        }
    }

    async fn with_file(&mut self, answer: Answer) -> Next {
        let mut pipe = Upstream::Pipe(self.worker.files.open(answer));
        let end = self.attempt(Backend::own(&mut pipe, false)).await;
        self.finish(end).await
    }

    async fn with_api(&mut self) -> Next {
        self.request_info.note(Notes::asks_api);
        let (api, peer) = (&self.worker.api, self.client.endpoints.peer);
        let open = || Upstream::Pipe(api(peer));
        let kept = self.client.api.take();
        let kept = kept.and_then(|mut pipe| pipe.is_quiet().then_some(pipe));
        let reused = kept.is_some();
        let mut pipe = kept.unwrap_or_else(open);
        let mut end = self.attempt(Backend::own(&mut pipe, reused)).await;
        if matches!(end, End::Stale) {
            self.request_info.note(Notes::again);
            pipe = open();
            end = self.attempt(Backend::own(&mut pipe, false)).await;
        }
        if let End::Upgraded(tunnel) = end {
            return Next::Tunnel(Upgraded::new(pipe, tunnel, None));
        }
        if end.keeps_upstream() {
            self.client.api = Some(pipe);
        }
        self.finish(end).await
    }

    async fn with_process(&mut self, mut chosen: Chosen, mut stored: Option<&mut Stored>) -> Next {
        // What is on disk is not sent twice, so it takes no connection that may be dead.
        let mut fresh = stored.is_some();
        loop {
            let connected = self.connect(&mut chosen, fresh).await;
            let (process, release) = (&chosen.backend.process, chosen.backend.release);
            self.request_info.note(|notes| notes.asks(process, release));
            let (mut upstream, asking) = match connected {
                Ok(connected) => connected,
                Err(error) => return self.unreachable(&error).await,
            };
            sticky::remember(self.request_info, &chosen.found.route, &chosen.backend);
            let spools = chosen.found.route.buffer.responses;
            let backend = Backend {
                connection: &mut upstream,
                reused: asking.is_none(),
                room: spools.then_some(&self.worker.spool_space),
                stored: stored.as_deref_mut(),
                asking,
                remote: (!chosen.backend.address.is_here()).then_some(&chosen.lease),
            };
            match self.attempt(backend).await {
                End::Stale => {
                    let (id, app) = (&self.request_info.request_id, &chosen.found.route.app);
                    log::info!("request {id}: sent again, {app} had closed a kept connection");
                    self.request_info.note(Notes::again);
                    fresh = true;
                }
                End::Upgraded(tunnel) => {
                    return Next::Tunnel(Upgraded::new(upstream, tunnel, Some(chosen.lease)));
                }
                end => {
                    if end.keeps_upstream() {
                        let policies = chosen.found.route.policies.as_ref();
                        let time = policies.and_then(|policies| policies.of.upstream_keep_alive);
                        self.worker.keep(&chosen.backend, upstream, time);
                    } else {
                        drop(upstream);
                    }
                    drop(chosen);
                    let end = match end {
                        End::Received { rest, .. } => self.deliver(rest).await,
                        end => end,
                    };
                    return self.finish(end).await;
                }
            }
        }
    }

    /// Connects to the process that was chosen; where it cannot be reached, to another one of its app.
    async fn connect(
        &self,
        chosen: &mut Chosen,
        fresh: bool,
    ) -> io::Result<(Upstream, Option<Asking>)> {
        loop {
            let limit = self.request_info.timeouts(&self.worker.settings).connect;
            match chosen.connect(self.worker, fresh, limit).await {
                Err(_) if chosen.choose_another(self.worker) => {
                    self.request_info.note(Notes::again);
                }
                connected => return connected,
            }
        }
    }

    async fn attempt(&mut self, backend: Backend<'_>) -> End {
        let (client, worker) = (&mut *self.client, self.worker);
        let mut attempt = Attempt::new(client, worker, backend, self.head, self.request_info);
        attempt.run().await
    }

    /// Passes on what is left of a response, at the client's speed.
    async fn deliver(&mut self, mut rest: Box<Rest>) -> End {
        let idle = self.request_info.timeouts(&self.worker.settings).idle;
        let end = rest.deliver(self.client, self.worker, idle).await;
        self.request_info
            .note(|notes| notes.not_carried(rest.len()));
        end
    }

    async fn unreachable(&mut self, error: &io::Error) -> Next {
        let reply = match error.kind() {
            // Without its file, a socket is refused likewise.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => LocalReply::refused(),
            _ => LocalReply::unreachable(),
        };
        self.answer(&reply, self.has_no_body()).await
    }

    /// Says by its end how the client's connection goes on.
    async fn finish(&mut self, end: End) -> Next {
        let request_info = self.request_info;
        match end {
            End::Complete {
                keep_client: true, ..
            } => Next::Again,
            // It said that it sends no more, so no reset can cost it the response.
            End::Complete { .. }
                if !request_info.keep_alive
                    && self.client.input.is_empty()
                    && !self.client.endpoints.is_secure =>
            {
                Next::Close
            }
            End::Complete { .. } => Next::Linger,
            // Whether a body was read to its end is not known here.
            End::Failed(reply) => self.answer(&reply, self.has_no_body()).await,
            End::Truncated(why) => {
                log::warn!("request {}: {why}", request_info.request_id);
                request_info.note(Notes::broke_off);
                // TLS can tell a cut from an end, and this is none.
                match self.client.endpoints.is_secure {
                    true => Next::Close,
                    false => Next::Linger,
                }
            }
            End::Stale => self.answer(&LocalReply::closed(), false).await,
            End::Gone => {
                let id = &request_info.request_id;
                log::debug!("request {id}: the client went away (H27)");
                request_info.note(Notes::client_gone);
                Next::Close
            }
            End::Upgraded(_) | End::Received { .. } => Next::Close,
        }
    }

    fn has_no_body(&self) -> bool {
        self.request_info.framing == Framing::Empty
    }

    async fn answer(&mut self, reply: &LocalReply, is_complete: bool) -> Next {
        let (client, worker) = (&mut *self.client, self.worker);
        answer::answer(client, worker, reply, self.request_info, is_complete).await
    }
}
