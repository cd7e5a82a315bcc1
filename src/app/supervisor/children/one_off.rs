//! The actor of a process that runs once: it is never run a second time, and a fresh actor goes on with what it left.

use std::time::Duration;

use actix::prelude::*;

use super::ChildId;
use crate::app::engine::unit::Left;
use crate::app::lifecycle::BatchId;
use crate::app::supervisor::App;
use crate::supervision::{Exit, Generation, Parent, Restart, Timeout};

impl App {
    pub(in crate::app::supervisor) fn add_one_off(
        &mut self,
        number: BatchId,
        grace: Duration,
        ctx: &mut Context<Self>,
    ) {
        let shutdown = Timeout::After(grace + Duration::from_secs(15));
        // A fresh actor goes on with what a panic left running.
        self.add(ChildId::OneOff(number), Restart::Transient, shutdown, ctx);
    }

    pub(super) fn start_one_off_child(
        &mut self,
        number: BatchId,
        generation: Generation,
        ctx: &mut Context<Self>,
    ) {
        let Some(live) = self.one_offs.get_mut(number) else {
            let gone = Exit::Error("its process is gone".to_owned());
            return Self::on_exit(ChildId::OneOff(number), generation, ctx)(gone);
        };
        let is_first = !std::mem::replace(&mut live.was_started, true);
        let survivor = live.survivor.take();
        if is_first || survivor.is_some() {
            return self.start_one_off_actor(number, generation, survivor, ctx);
        }
        // It is never run a second time.
        let left = self.one_off_left_running(number).into_actor(self);
        ctx.spawn(left.map(move |left, app, ctx| match left {
            Some(left) => app.start_one_off_actor(number, generation, Some(left), ctx),
            None => {
                app.note_unknown_exit(number);
                Self::on_exit(ChildId::OneOff(number), generation, ctx)(Exit::Normal);
            }
        }));
    }

    fn start_one_off_actor(
        &mut self,
        number: BatchId,
        generation: Generation,
        left: Option<Left>,
        ctx: &mut Context<Self>,
    ) {
        let id = ChildId::OneOff(number);
        match self.one_off_spec(number, ctx.address().recipient()) {
            Some(spec) => self.start_actor(id, generation, spec, left, ctx),
            None => Self::on_exit(id, generation, ctx)(Exit::Normal),
        }
    }
}
