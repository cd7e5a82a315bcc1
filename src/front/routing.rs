//! From a request head to a backend, and through the exchange with it: routing, holding, connecting, trying again.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::{Connection, Next};
use super::error_page::Failure;
use super::exchange::{End, Facts};
use super::forwarded::{self, Context};
use super::framing::Framing;
use super::head::Request;
use super::pool;
use super::upstream::Upstream;
use super::worker::Worker;
use crate::router::backend::{Backend, Lease};
use crate::router::replica::{Found, Select, Selection};
use crate::router::table::Availability;

/// Requests that may wait on one worker for apps to start.
const HELD: usize = 1024;

/// Who a request goes to.
pub(super) enum Target {
    /// A process of an app, and how to ask for another one.
    App(Found, Backend, Lease, Select),
    /// The API.
    Api,
}

/// One more request that waits; dropping it takes it off.
struct Held<'w>(&'w Worker);

impl<'w> Held<'w> {
    fn new(worker: &'w Worker) -> Option<Self> {
        let held = worker.held.get();
        (held < HELD).then(|| {
            worker.held.set(held + 1);
            Self(worker)
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Finds who answers, and writes the head that they get. `Err(None)`: the client is gone.
    pub(super) async fn route(
        &mut self,
        request: &Request<'_>,
        facts: &Facts,
    ) -> Result<(Target, Vec<u8>), Option<Failure>> {
        let x_app = request.fields.iter().find(|f| f.is("x-app"));
        let select = Select {
            x_app: x_app.map(|f| String::from_utf8_lossy(f.value).into()),
            host: request.authority.map_or_else(Box::default, |a| a.routed()),
            path: request.target.into(),
            port: self.port,
            avoid: Vec::new(),
        };
        let target = self.target(select).await.map_err(Some)?;
        let strip = match &target {
            Target::App(found, ..) => found.strip,
            Target::Api => 0,
        };
        let context = Context {
            peer: self.peer.ip(),
            local: self.local,
            trusted: self.trusted,
            request_id: &facts.request_id,
            strip,
        };
        let mut head = Vec::with_capacity(1024);
        forwarded::request(&mut head, request, &context);
        Ok((target, head))
    }

    /// Asks the replica, and waits while the app starts.
    async fn target(&self, select: Select) -> Result<Target, Failure> {
        let worker = &*self.worker;
        let until = Instant::now() + worker.settings.hold;
        let mut held = None;
        loop {
            let Ok(selection) = worker.replica.send(select.clone()).await else {
                return Err(Failure::unroutable());
            };
            let (app, mut changed) = match selection {
                Selection::Backend(found, backend, lease) => {
                    return Ok(Target::App(found, backend, lease, select));
                }
                Selection::Api => return Ok(Target::Api),
                Selection::NotFound => return Err(Failure::not_found()),
                Selection::Unavailable(found, why) => {
                    return Err(unavailable(&found.route.app, why));
                }
                Selection::Hold(found, changed) => (found.route.app.clone(), changed),
            };
            if held.is_none() {
                held = Held::new(worker);
            }
            if held.is_none() {
                return Err(Failure::backlog(&app));
            }
            let changed = tokio::time::timeout_at(until, changed.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Err(Failure::not_ready(&app));
            }
        }
    }

    /// Sends the request to its target and the response to the client.
    pub(super) async fn exchange(&mut self, target: Target, head: Vec<u8>, facts: &Facts) -> Next {
        match target {
            Target::Api => self.exchange_with_api(head, facts).await,
            Target::App(found, backend, lease, select) => {
                let chosen = (found, backend, lease);
                self.exchange_with_app(chosen, select, head, facts).await
            }
        }
    }

    async fn exchange_with_api(&mut self, head: Vec<u8>, facts: &Facts) -> Next {
        let kept = self
            .api
            .take()
            .and_then(|mut pipe| pipe.is_quiet().then_some(pipe));
        let reused = kept.is_some();
        let open = || Upstream::Pipe((self.worker.api)(self.peer));
        let mut pipe = kept.unwrap_or_else(open);
        let mut end = self.run((&mut pipe, reused), head.clone(), facts).await;
        if matches!(end, End::Stale) {
            pipe = Upstream::Pipe((self.worker.api)(self.peer));
            end = self.run((&mut pipe, false), head, facts).await;
        }
        if matches!(
            end,
            End::Complete {
                keep_upstream: true,
                ..
            }
        ) {
            self.api = Some(pipe);
            return self.finish(end, facts).await;
        }
        if let End::Switched(tunnel) = end {
            return Next::Tunnel(Box::new((pipe, tunnel, None)));
        }
        self.finish(end, facts).await
    }

    async fn exchange_with_app(
        &mut self,
        (found, mut backend, mut lease): (Found, Backend, Lease),
        mut select: Select,
        head: Vec<u8>,
        facts: &Facts,
    ) -> Next {
        let connect = self.worker.settings.timeouts.connect;
        let mut kept = self.worker.pool.take(backend.address);
        loop {
            let reused = kept.is_some();
            let connected = match kept.take() {
                Some(connection) => Ok(connection),
                None => pool::connect(backend.address, connect).await,
            };
            let mut upstream = match connected {
                Ok(upstream) => upstream,
                Err(error) => {
                    log::warn!("{} {}: {error}", found.route.app, backend.process);
                    select.avoid.push(backend.address);
                    match self.another(&found, &select).await {
                        Some(other) => (backend, lease) = other,
                        None => return self.unreachable(&error, facts).await,
                    }
                    kept = self.worker.pool.take(backend.address);
                    continue;
                }
            };
            match self.run((&mut upstream, reused), head.clone(), facts).await {
                End::Stale => {
                    log::info!(
                        "request {}: sent again, {} {} had closed a kept connection",
                        facts.request_id,
                        found.route.app,
                        backend.process
                    );
                }
                End::Switched(tunnel) => {
                    return Next::Tunnel(Box::new((upstream, tunnel, Some(lease))));
                }
                end => {
                    if matches!(
                        end,
                        End::Complete {
                            keep_upstream: true,
                            ..
                        }
                    ) {
                        self.worker.pool.put(backend.address, upstream);
                    }
                    drop(lease);
                    return self.finish(end, facts).await;
                }
            }
        }
    }

    /// Another process of the same app, to which the same head can be sent.
    async fn another(&self, found: &Found, select: &Select) -> Option<(Backend, Lease)> {
        match self.worker.replica.send(select.clone()).await {
            Ok(Selection::Backend(other, backend, lease))
                if other.route.app == found.route.app && other.strip == found.strip =>
            {
                log::info!("{}: {} is asked instead", found.route.app, backend.process);
                Some((backend, lease))
            }
            _ => None,
        }
    }

    async fn unreachable(&mut self, error: &std::io::Error, facts: &Facts) -> Next {
        let failure = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Failure::refused(),
            _ => Failure::unreachable(),
        };
        let complete = facts.framing == Framing::Empty;
        self.answer(&failure, facts, complete).await
    }

    async fn finish(&mut self, end: End, facts: &Facts) -> Next {
        match end {
            End::Complete {
                keep_client: true, ..
            } => Next::Again,
            End::Complete { .. } => Next::Linger,
            End::Failed(failure) => {
                // Whether the body was read to its end is not known here; without one it was.
                let complete = facts.framing == Framing::Empty;
                self.answer(&failure, facts, complete).await
            }
            End::Truncated(why) => {
                log::warn!("request {}: {why}", facts.request_id);
                Next::Linger
            }
            End::Stale => self.answer(&Failure::closed(), facts, false).await,
            End::Gone | End::Switched(_) => Next::Close,
        }
    }
}

fn unavailable(app: &str, why: Availability) -> Failure {
    match why {
        Availability::Starting => Failure::not_ready(app),
        Availability::Stopped => Failure::stopped(app),
        Availability::Crashed => Failure::crashed(app),
        Availability::NoWeb => Failure::no_web(app),
    }
}
