//! Holds a request while its app starts, for as long as the settings say and its client is there.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::Instant;

use super::exchange::client::{BEHIND, Client, Interrupted};
use super::exchange::client_end::ClientStream;
use super::exchange::request_info::RequestInfo;
use super::http::framing::Framing;
use super::http::local_reply::LocalReply;
use super::worker::Worker;
use crate::router::table::Table;

/// Requests that one worker may hold.
const HELD: usize = 1024;

/// An app that is starting. The request is to be routed again when the table changes.
pub(super) struct Hold {
    pub(super) app: Arc<str>,
    pub(super) changed: watch::Receiver<Arc<Table>>,
}

/// A place among those that are held, until its time is over. Dropping it makes room for another request.
pub(super) struct Place {
    until: Instant,
    worker: Rc<Worker>,
}

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
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

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.held.set(self.worker.held.get() - 1);
    }
}

impl Hold {
    /// Waits for a change of the table, in the `place` that the request has or takes now.
    pub(super) async fn wait<S: ClientStream>(
        mut self,
        client: &mut Client<S>,
        worker: &Rc<Worker>,
        place: &mut Option<Place>,
        request_info: &RequestInfo,
    ) -> Result<(), Interrupted> {
        if place.is_none() {
            *place = Place::take(worker);
        }
        let app = &*self.app;
        let Some(Place { until, .. }) = place else {
            return Err(Interrupted::Refused(LocalReply::backlog(app)));
        };
        let left = until.saturating_duration_since(Instant::now());
        client.deadline.set(left);
        let space = worker.settings.limits.head + BEHIND;
        let mut changes = pin!(self.changed.changed());
        let (mut watch, mut is_half) = (None, false);
        // What would be a tunnel may be closed on one side.
        let may_be_half = request_info.upgrade.is_some() && request_info.framing == Framing::Empty;
        let not_ready = || Err(Interrupted::Refused(LocalReply::not_ready(app)));
        poll_fn(|cx| {
            match changes.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => return Poll::Ready(not_ready()),
                Poll::Pending => {}
            }
            while !is_half && !client.input.holds(space) {
                let (stream, spare) = (&mut client.stream, &worker.spare);
                match client.input.poll_fill(cx, stream, space, spare) {
                    Poll::Ready(Ok(0)) if may_be_half => is_half = true,
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Interrupted::Gone)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            if client.input.holds(space) && !may_be_half {
                let end = watch.get_or_insert_with(|| client.stream.end());
                if end.as_ref().is_some_and(|end| end.poll(cx).is_ready()) {
                    return Poll::Ready(Err(Interrupted::Gone));
                }
            }
            client.deadline.poll(cx).map(|()| not_ready())
        })
        .await
    }
}
