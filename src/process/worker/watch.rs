//! What is watched of a running process: its end, and whether it answers, before it is ready and afterwards.

use std::time::Duration;

use actix::prelude::*;

use super::Process;
use crate::process::health::{Checks, Trouble, Unready};
use crate::process::owner::Owner;
use crate::process::probe;
use crate::process::readiness::{self, Endpoint, Target};
use crate::process::state::{Attempt, LifeEvent};
use crate::router::backend::Alarm;

/// The futures that watch the present OS process, and what they found.
#[derive(Debug, Default)]
pub(super) struct Watch {
    end: Option<SpawnHandle>,
    check: Option<SpawnHandle>,
    checks: Option<Checks>,
    target: Option<Target>,
    found: Option<Endpoint>,
    alarm: Alarm,
}

impl Watch {
    /// Why the process should get no request.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.checks.as_ref()?.trouble().cloned()
    }

    /// Rung by who cannot connect to the process.
    pub(super) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }
}

/// What came of waiting and one check.
struct Checked {
    /// The proxy could not connect.
    is_refused: bool,
    result: Result<Endpoint, Unready>,
}

impl Process {
    pub(super) fn watch(&mut self, attempt: Attempt, ctx: &mut Context<Self>) {
        let Some(running) = self.running.clone() else {
            return;
        };
        self.watch = Watch::default();
        if let Some(port) = self.port.filter(|_| self.spec.routed) {
            let owner = Owner::of(&running);
            self.watch.checks = Some(Checks::new(&self.spec.health));
            self.watch.target = Some(Target {
                port,
                socket: self.spec.socket_directory().ok().flatten(),
                owner,
            });
            self.check_after(Duration::ZERO, attempt, ctx);
        } else {
            let alive = readiness::alive().into_actor(self);
            let alive = alive.map(move |(), this, ctx| {
                let address = None;
                this.apply(LifeEvent::Ready { attempt, address }, ctx);
            });
            self.watch.check = Some(ctx.spawn(alive));
        }
        let ended = async move { running.exited().await };
        let ended = ended.into_actor(self).map(|(), this, ctx| this.exited(ctx));
        self.watch.end = Some(ctx.spawn(ended));
    }

    pub(super) fn unwatch(&mut self, ctx: &mut Context<Self>) {
        let watch = std::mem::take(&mut self.watch);
        for handle in watch.end.into_iter().chain(watch.check) {
            ctx.cancel_future(handle);
        }
    }

    /// Looks at the process after a while, or as soon as the proxy cannot connect to it.
    fn check_after(&mut self, pause: Duration, attempt: Attempt, ctx: &mut Context<Self>) {
        let Some(target) = self.watch.target.clone() else {
            return;
        };
        let (found, alarm) = (self.watch.found.clone(), self.watch.alarm());
        let health = self.spec.health.clone();
        let checked = async move {
            let is_refused = probe::is_refused_within(pause, &alarm).await;
            let result = match found.filter(|_| !is_refused) {
                Some(found) => readiness::check_again(&target, &health, &found).await,
                None => readiness::check(&target, &health).await,
            };
            Checked { is_refused, result }
        };
        let checked = checked.into_actor(self).map(move |checked, this, ctx| {
            this.checked(checked, attempt, ctx);
        });
        self.watch.check = Some(ctx.spawn(checked));
    }

    fn checked(&mut self, checked: Checked, attempt: Attempt, ctx: &mut Context<Self>) {
        let Some(checks) = &mut self.watch.checks else {
            return;
        };
        let before = (checks.is_ready(), checks.trouble().cloned());
        if checked.is_refused {
            checks.refused();
        }
        match &checked.result {
            Ok(_) => checks.passed(),
            Err(why) => checks.failed(why),
        }
        let after = (checks.is_ready(), checks.trouble().cloned());
        let pause = checks.pause();
        let known = self.watch.found.take();
        let old = known.as_ref().map(|found| found.address.clone());
        self.watch.found = checked.result.ok().or(known);
        let address = self.watch.found.as_ref().map(|found| found.address.clone());
        if before.0 != after.0 {
            self.apply(LifeEvent::Ready { attempt, address }, ctx);
        } else if old != address {
            self.apply(LifeEvent::Moved { attempt, address }, ctx);
        } else if before.1 != after.1 {
            self.report(None);
        }
        self.check_after(pause, attempt, ctx);
    }
}
