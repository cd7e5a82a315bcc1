//! Holds a request while its app starts, sleeps or is paused: for as long as the settings say, or until the pause is over,
//! and while its client is there.
//!
//! Those that wait on one worker are routed again in the order in which they came.

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
use crate::router::held::HeldRequest;
use crate::router::snapshot::Found;
use crate::router::table::{Availability, Table};

/// An app that nobody gets through to now. The request is to be routed again when the table changes.
pub(super) struct Hold {
    pub(super) found: Found,
    pub(super) changed: watch::Receiver<Arc<Table>>,
}

/// A place among those that are held, until its time is over. Dropping it makes room for another request.
pub(super) struct Place {
    until: Instant,
    /// Where it counts, and for which app.
    worker: Rc<Worker>,
    app: Arc<str>,
    _request: HeldRequest,
}

impl Place {
    fn take(worker: &Rc<Worker>, app: &Arc<str>) -> Option<Self> {
        worker.held_here.take(app).then_some(())?;
        let Some(request) = worker.held.of(app).take() else {
            worker.held_here.leave(app);
            return None;
        };
        Some(Self {
            until: Instant::now() + worker.settings.hold,
            worker: Rc::clone(worker),
            app: Arc::clone(app),
            _request: request,
        })
    }

    /// Sees to it that the time of a pause counts for nothing: the hold begins behind it.
    fn follow(&mut self, availability: Availability) {
        let hold = self.worker.settings.hold;
        self.until = match availability {
            Availability::Paused(until) => self.until.max(Instant::from_std(until) + hold),
            _ => self.until.min(Instant::now() + hold),
        };
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.held_here.leave(&self.app);
    }
}

impl Hold {
    /// Waits for a change of the table, in the `place` that the request has or takes now.
    pub(super) async fn wait<S: ClientStream>(
        self,
        client: &mut Client<S>,
        worker: &Rc<Worker>,
        place: &mut Option<Place>,
        request_info: &RequestInfo,
    ) -> Result<(), Interrupted> {
        let app = &self.found.route.app;
        if place.is_none() {
            *place = Place::take(worker, app);
        }
        let Some(place) = place else {
            return Err(Interrupted::Refused(LocalReply::backlog(app)));
        };
        place.follow(self.found.pool().1);
        let until = place.until;
        let left = until.saturating_duration_since(Instant::now());
        client.deadline.set(left);
        let space = worker.settings.limits.head + BEHIND;
        let mut turn = pin!(worker.turns.notified());
        turn.as_mut().enable();
        let (mut watch, mut is_half) = (None, false);
        // What would be a tunnel may be closed on one side.
        let may_be_half = request_info.upgrade.is_some() && request_info.framing == Framing::Empty;
        let not_ready = || Err(Interrupted::Refused(LocalReply::not_ready(app)));
        match self.changed.has_changed() {
            // It changed before the turn could tell of it.
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(_) => return not_ready(),
        }
        poll_fn(|cx| {
            if turn.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
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
