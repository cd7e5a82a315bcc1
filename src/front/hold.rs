//! Holds a request while its app starts, sleeps or is paused: for as long as the settings say, or until the pause is over,
//! and while its client is there.
//!
//! Those that wait on one worker are routed again in the order in which they came, and go on a few at a time
//! ([`Burst`](crate::router::burst::Burst)).

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::Instant;

use super::exchange::client::{BEHIND, Client, Interrupted};
use super::exchange::client_end::ClientStream;
use super::exchange::request_info::RequestInfo;
use super::going::Going;
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
    request: HeldRequest,
    /// The app takes requests: from then on it waits for its turn.
    is_in_line: bool,
    /// It is its turn to go on.
    going: Option<Going>,
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
            request,
            is_in_line: false,
            going: None,
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

    /// Whether it may go on now that the app takes requests, or has to wait for its turn.
    pub(super) fn may_go(&mut self) -> bool {
        if self.going.is_none() {
            let burst = self.request.burst();
            self.going = burst.try_go().map(|place| Going::new(place, burst));
        }
        self.going.is_some()
    }

    /// What is to be kept until the app answers.
    pub(super) fn go(mut self) -> Option<Going> {
        self.going.take()
    }

    /// Waits for its turn to go on. Meanwhile the app may be another one: it is to be routed again.
    pub(super) async fn wait<S: ClientStream>(
        &mut self,
        client: &mut Client<S>,
        request_info: &RequestInfo,
    ) -> Result<(), Interrupted> {
        // The start, or the pause, took none of the time for that.
        if !std::mem::replace(&mut self.is_in_line, true) {
            self.until = Instant::now() + self.worker.settings.hold;
        }
        let burst = Arc::clone(self.request.burst());
        let late = LocalReply::backlog;
        let place = self.until_told(client, request_info, burst.go(), late);
        let place = place.await?;
        self.going = Some(Going::new(place, &burst));
        Ok(())
    }

    /// Waits until it is `told`, for as long as it has time and its client is there.
    async fn until_told<S: ClientStream, T>(
        &self,
        client: &mut Client<S>,
        request_info: &RequestInfo,
        told: impl Future<Output = T>,
        late: fn(&str) -> LocalReply,
    ) -> Result<T, Interrupted> {
        let worker = &self.worker;
        let mut told = pin!(told);
        client
            .deadline
            .set(self.until.saturating_duration_since(Instant::now()));
        let space = worker.settings.limits.head + BEHIND;
        let (mut watch, mut is_half) = (None, false);
        let may_be_half = request_info.may_be_half();
        poll_fn(|cx| {
            if let Poll::Ready(told) = told.as_mut().poll(cx) {
                return Poll::Ready(Ok(told));
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
            let refused = || Interrupted::Refused(late(&self.app));
            client.deadline.poll(cx).map(|()| Err(refused()))
        })
        .await
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
        // Others may go on in its place, if any can.
        place.going = None;
        place.follow(self.found.pool().1);
        let mut turn = pin!(worker.turns.notified());
        turn.as_mut().enable();
        match self.changed.has_changed() {
            // It changed before the turn could tell of it.
            Ok(true) => Ok(()),
            Ok(false) => {
                let late = LocalReply::not_ready;
                place.until_told(client, request_info, turn, late).await
            }
            Err(_) => Err(Interrupted::Refused(LocalReply::not_ready(app))),
        }
    }
}
