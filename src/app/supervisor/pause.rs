//! A pause: requests are held, and what is in flight goes on. It ends when somebody says so, or at its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use jiff::Timestamp;

use super::App;
use crate::app::batch::Batch;
use crate::app::deployer::AppError;
use crate::document::pause_request::LONGEST;
use crate::events::{By, Report};
use crate::router::backend::Load;

/// Holds requests from now on, for so long at most. The answer comes when no more get through.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Paused, AppError>")]
pub struct Pause(pub Duration, pub By);

/// Lets requests through again. Says whether they were held.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<bool, AppError>")]
pub struct Resume(pub By);

/// A pause that has begun.
#[derive(Clone, Debug)]
pub struct Paused {
    pub until: Timestamp,
    /// What may still be in flight.
    pub in_flight: Vec<Arc<Load>>,
}

/// What an App knows of its pause.
#[derive(Debug)]
pub(super) struct Pausing {
    /// As the front end counts.
    pub(super) ends: Instant,
    timer: SpawnHandle,
}

impl App {
    /// Begins a pause, or goes on with that of an earlier server, or gives the one that there is another end.
    pub(super) fn begin_pause(&mut self, until: Timestamp, ctx: &mut Context<Self>) {
        if let Some(before) = self.pause.take() {
            ctx.cancel_future(before.timer);
        }
        let left = until.duration_since(Timestamp::now());
        let left = left.max(jiff::SignedDuration::ZERO).unsigned_abs();
        // The wall clock may have been set since the pause was written down.
        let left = left.min(LONGEST);
        let timer = ctx.run_later(left, |app, ctx| {
            app.end_pause("its time is over", By::server(), ctx);
        });
        self.pause = Some(Pausing {
            ends: Instant::now() + left,
            timer,
        });
        self.deployer.paused_until = Some(until);
        // Requests that look at an older table get through no more either.
        self.serving().into_iter().for_each(Batch::close);
        self.publish();
    }

    /// Ends the pause; false: there is none.
    pub(super) fn end_pause(&mut self, why: &'static str, by: By, ctx: &mut Context<Self>) -> bool {
        let Some(pause) = self.pause.take() else {
            return false;
        };
        ctx.cancel_future(pause.timer);
        self.deployer.paused_until = None;
        self.deployer.remember();
        self.let_through();
        self.spec.context.events.report(Report::AppResumed {
            app: self.spec.config.name.shared(),
            by,
            why,
        });
        self.wake_if_asked(ctx);
        true
    }
}

impl Handler<Pause> for App {
    type Result = ResponseFuture<Result<Paused, AppError>>;

    fn handle(&mut self, Pause(time, by): Pause, ctx: &mut Self::Context) -> Self::Result {
        if let Err(error) = self.deployer.refuse_if_removed() {
            return Box::pin(std::future::ready(Err(error)));
        }
        let until = Timestamp::now() + time;
        self.begin_pause(until, ctx);
        self.deployer.remember();
        self.spec.context.events.report(Report::AppPaused {
            app: self.spec.config.name.shared(),
            by,
            until,
        });
        let (settled, written) = (self.publisher.settled(), self.deployer.written());
        let in_flight = self.batches.iter().flat_map(Batch::loads).collect();
        Box::pin(async move {
            futures::join!(settled, written);
            Ok(Paused { until, in_flight })
        })
    }
}

impl Handler<Resume> for App {
    type Result = ResponseFuture<Result<bool, AppError>>;

    fn handle(&mut self, Resume(by): Resume, ctx: &mut Self::Context) -> Self::Result {
        let ended = self
            .deployer
            .refuse_if_removed()
            .map(|()| self.end_pause("it was asked for", by, ctx));
        let (settled, written) = (self.publisher.settled(), self.deployer.written());
        Box::pin(async move {
            futures::join!(settled, written);
            ended
        })
    }
}
