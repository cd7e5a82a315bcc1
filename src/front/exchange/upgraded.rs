//! `Upgraded`: the tunnel that follows a 101. It counts on its backend, ends when that or the front end has drained
//! long enough, and leaves its line in the access log.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::client::Client;
use super::client_end::ClientStream;
use super::end::Tunnel;
use super::request_info::RequestInfo;
use super::tunnel::{self, Side};
use crate::front::upstream::connection::Upstream;
use crate::front::worker::Worker;
use crate::router::backend::Lease;

/// A request whose backend switched protocols.
pub(crate) struct Upgraded {
    upstream: Upstream,
    start: Tunnel,
    /// Counts the tunnel as a request on its backend.
    lease: Option<Lease>,
    pub(crate) request_info: Option<RequestInfo>,
}

impl Upgraded {
    pub(crate) fn new(upstream: Upstream, start: Tunnel, lease: Option<Lease>) -> Box<Self> {
        Box::new(Self {
            upstream,
            start,
            lease,
            request_info: None,
        })
    }

    /// Runs the tunnel to its end.
    pub(crate) async fn run<S: ClientStream>(self, mut client: Client<S>, worker: &Rc<Worker>) {
        let Self {
            mut upstream,
            start,
            lease,
            request_info,
        } = self;
        let line = LastLine {
            worker: Rc::clone(worker),
            request_info,
            carried: Cell::default(),
        };
        let settings = &worker.settings;
        let info = line.request_info.as_ref();
        let timeouts = info.map_or(settings.timeouts, |info| info.timeouts(settings));
        let (idle, spare) = (timeouts.tunnel_idle, &worker.spare);
        let upstream = Side {
            stream: &mut upstream,
            input: start.upstream_in,
        };
        let peer = client.endpoints.peer;
        let client = Side {
            stream: &mut client.stream,
            input: client.input,
        };
        let (carried, cut) = (&line.carried, is_cut(worker, lease.as_ref()));
        let ended = tunnel::run(client, upstream, start.head, idle, spare, carried, cut).await;
        if let Err(error) = ended {
            log::debug!("{peer}: tunnel closed: {error}");
        }
    }
}

/// Writes the tunnel's line of the access log when it is dropped, however the tunnel ends.
struct LastLine {
    worker: Rc<Worker>,
    request_info: Option<RequestInfo>,
    /// The bytes from the client and to it.
    carried: Cell<(u64, u64)>,
}

impl Drop for LastLine {
    fn drop(&mut self) {
        let Some(request_info) = self.request_info.take() else {
            return;
        };
        let (from, to) = self.carried.get();
        request_info.note(|notes| notes.carried(from, to));
        self.worker
            .record(request_info.notes, &request_info.request_id);
    }
}

/// Resolves when the time to drain that the front end or the backend had is over.
async fn is_cut(worker: &Worker, lease: Option<&Lease>) {
    let mut front = pin!(worker.cut());
    let mut backend = pin!(async {
        match lease {
            Some(lease) => lease.cut().await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|cx| match front.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => backend.as_mut().poll(cx),
    })
    .await;
}
