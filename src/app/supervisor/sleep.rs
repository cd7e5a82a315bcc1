//! Sleep: an app whose document says `sleep` is stopped when nobody has asked it for anything for so long, and started
//! by the next request, which waits meanwhile.

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::App;
use crate::app::batch::Batch;
use crate::app::deployer::Deployer;
use crate::app::lifecycle::Wanted;
use crate::app::one_offs::Live;
use crate::app::sleep::{Drowsiness, Signs, Verdict};
use crate::document::cron::CronJob;
use crate::events::Report;

/// What an App knows of its sleep.
#[derive(Debug, Default)]
pub(super) struct Sleeping {
    drowsiness: Option<Drowsiness>,
    /// The next look at an app that is awake.
    looks: Option<SpawnHandle>,
    /// What wakes one that sleeps.
    listens: Option<SpawnHandle>,
    /// The jobs that the release which sleeps brings along.
    pub(super) jobs: Vec<CronJob>,
}

impl App {
    pub(super) fn is_asleep(&self) -> bool {
        self.deployer.life.wanted() == Wanted::Asleep
    }

    /// Begins to look whether it may sleep, or to listen for what wakes it. Call it when an operation has ended.
    pub(super) fn follow_sleep(&mut self, ctx: &mut Context<Self>) {
        if let Some(looks) = self.sleeping.looks.take() {
            ctx.cancel_future(looks);
        }
        self.sleeping.drowsiness = None;
        if self.ending || self.spec.context.hands_over() {
            return;
        }
        if self.is_asleep() {
            self.listen(ctx);
        } else {
            self.look_for_sleep(ctx);
        }
    }

    fn look_for_sleep(&mut self, ctx: &mut Context<Self>) {
        let Some(after) = self.sleeps_after() else {
            return;
        };
        let (now, signs) = (Instant::now(), self.signs());
        let fresh = || Drowsiness::new(now, signs.requests);
        let drowsiness = self.sleeping.drowsiness.get_or_insert_with(fresh);
        let wait = match drowsiness.look(after, now, signs) {
            Verdict::LookAgain(wait) => wait,
            Verdict::Sleep => match self.fall_asleep(ctx) {
                true => return,
                // A request came just now.
                false => Duration::from_secs(1),
            },
        };
        let looks = ctx.run_later(wait, |app, ctx| app.look_for_sleep(ctx));
        self.sleeping.looks = Some(looks);
    }

    /// The time after which it sleeps; `None` while it does not run, or runs nothing that a request could wake.
    fn sleeps_after(&self) -> Option<Duration> {
        let serving = self.serving()?;
        let config = &serving.runnable.config;
        let is_routed = config.routed().iter().any(|name| serving.has_routed(name));
        let runs = self.deployer.life.wanted() == Wanted::Running && is_routed;
        config.sleep.filter(|_| runs && !self.ending)
    }

    fn signs(&self) -> Signs {
        let app = &self.spec.config.name.shared();
        let mut loads = self.batches.iter().flat_map(Batch::loads);
        let attached = |live: &Live| live.record.attached && !live.is_over();
        let life = &self.deployer.life;
        Signs {
            requests: self.spec.context.request_counts.asked_of(app),
            is_asked: self.held.count() > 0 || loads.any(|load| load.outstanding() > 0),
            is_at_work: life.active().is_some()
                || life.waiting().is_some()
                || self.pause.is_some()
                || self.one_offs.live().any(attached),
        }
    }

    /// False: it was asked for something just now.
    fn fall_asleep(&mut self, ctx: &mut Context<Self>) -> bool {
        let Some(serving) = self.serving() else {
            return false;
        };
        // From here on requests are held, and counted there.
        serving.close();
        if serving.loads().any(|load| load.outstanding() > 0) {
            self.let_through();
            return false;
        }
        let jobs = serving.runnable.release.app_json.cron.clone();
        self.sleeping.jobs = jobs;
        self.decide(ctx, Deployer::sleep);
        if !self.is_asleep() {
            self.let_through();
            return false;
        }
        self.spec.context.events.report(Report::AppAsleep {
            app: self.spec.config.name.shared(),
        });
        self.listen(ctx);
        true
    }

    /// Wakes when a request is held.
    fn listen(&mut self, ctx: &mut Context<Self>) {
        if let Some(listens) = self.sleeping.listens.take() {
            ctx.cancel_future(listens);
        }
        let held = self.held.clone();
        let came = async move { held.came().await }.into_actor(self);
        let listens = ctx.spawn(came.map(|(), app, ctx| {
            app.sleeping.listens = None;
            if app.is_asleep() {
                app.wake_if_asked(ctx);
            }
        }));
        self.sleeping.listens = Some(listens);
        // One may have come before.
        self.wake_if_asked(ctx);
    }

    /// Wakes if a request waits for that, and none is to wait for something else.
    pub(super) fn wake_if_asked(&mut self, ctx: &mut Context<Self>) {
        if !self.is_asleep() || self.ending || self.spec.context.hands_over() {
            return;
        }
        if self.held.count() == 0 || self.pause.is_some() {
            if self.sleeping.listens.is_none() {
                self.listen(ctx);
            }
            return;
        }
        self.spec.context.events.report(Report::AppWoken {
            app: self.spec.config.name.shared(),
        });
        self.decide(ctx, Deployer::wake);
    }

    /// Goes on sleeping as with the server before.
    pub(super) fn sleep_on(&mut self, ctx: &mut Context<Self>) {
        log::info!("{}: it sleeps on", self.name());
        self.publish();
        let loaded = self.runnable_of_current().into_actor(self);
        ctx.spawn(loaded.map(|loaded, app, ctx| {
            match loaded {
                Ok(runnable) => app.sleeping.jobs = runnable.release.app_json.cron.clone(),
                Err(e) => log::warn!(
                    "{}: while it sleeps, no job of its release runs (app.json): {e}",
                    app.name()
                ),
            }
            app.follow_schedules(ctx);
        }));
        self.follow_sleep(ctx);
    }
}
