//! One-off processes of an App: asked for, attached to, ended, heard, and gone on with by the next server.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::reports::of_process;
use super::{App, ChildId};
use crate::app::cron::Schedules;
use crate::app::engine::one_off::{OneOffOf, OneOffSpec, OutlivedOneOff};
use crate::app::engine::preparation::preparation;
use crate::app::engine::unit::Left;
use crate::app::lifecycle::BatchId;
use crate::app::one_offs::{
    Answer, Live, OneOffError, OneOffRecord, OneOffs, Started, Wish, Written, unknown_exit,
};
use crate::app::runnable::Runnable;
use crate::exit_status::ExitRecord;
use crate::install::record::Failure;
use crate::process::one_off::{Attached, Opened, Session};
use crate::process::phase::Phase;
use crate::process::snapshot::Snapshot;
use crate::process::worker::ProcessChanged;
use crate::supervision::Parent as _;
use crate::supervision::restart::SupervisorEvent;

/// How long a process waits for who attaches to it; then it is stopped.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);

/// Runs a command. The answer comes when it runs.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Started, OneOffError>")]
pub struct Run(pub Wish);

/// Takes the session of a process. There is one taker.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Session, OneOffError>")]
pub struct Attach(pub String);

/// Stops a process, with its grace.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), OneOffError>")]
pub struct End(pub String);

/// Lists them.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<Listed>")]
pub struct List;

/// One of a list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub record: OneOffRecord,
    pub snapshot: Option<Snapshot>,
    /// It is not over.
    pub is_live: bool,
}

impl Handler<Run> for App {
    type Result = ResponseFuture<Result<Started, OneOffError>>;

    fn handle(&mut self, Run(wish): Run, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.run_wish(wish, answer, ctx);
        Box::pin(awaited(answered))
    }
}

/// The answer, or that nobody gives one any more.
pub(super) async fn awaited(
    answered: oneshot::Receiver<Result<Started, OneOffError>>,
) -> Result<Started, OneOffError> {
    let lost = "the server gave it up".to_owned();
    answered.await.unwrap_or(Err(OneOffError::NotStarted(lost)))
}

impl Handler<Attach> for App {
    type Result = Result<Session, OneOffError>;

    fn handle(&mut self, Attach(id): Attach, _: &mut Self::Context) -> Self::Result {
        let app = self.spec.config.name.clone();
        let Some(live) = self.one_offs.by_id(&id) else {
            return Err(OneOffError::NoSuchRun { app, id });
        };
        match live.session.take() {
            Some(session) => {
                // Kept only until somebody has it: it may be over long since.
                let (number, is_over) = (live.record.number, live.is_over());
                if is_over {
                    self.one_offs.over(number);
                }
                Ok(session)
            }
            None if !live.record.attached => Err(OneOffError::Detached(id)),
            None => Err(OneOffError::Taken(id)),
        }
    }
}

impl Handler<End> for App {
    type Result = Result<(), OneOffError>;

    fn handle(&mut self, End(id): End, ctx: &mut Self::Context) -> Self::Result {
        let app = self.spec.config.name.clone();
        let live = self.one_offs.by_id(&id).filter(|live| !live.is_over());
        let Some(number) = live.map(|live| live.record.number) else {
            return Err(OneOffError::NoSuchRun { app, id });
        };
        self.supervise(SupervisorEvent::Remove(ChildId::OneOff(number)), ctx);
        Ok(())
    }
}

impl Handler<List> for App {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.listed(None))
    }
}

impl Handler<Opened> for App {
    type Result = ();

    fn handle(&mut self, Opened { batch, session }: Opened, ctx: &mut Self::Context) {
        let Some(live) = self.one_offs.get_mut(batch) else {
            return;
        };
        live.session = Some(session);
        ctx.run_later(ATTACH_LIMIT, move |app, _| {
            let live = app.one_offs.get_mut(batch);
            let unclaimed = live.and_then(|live| live.session.take().map(|_| live.is_over()));
            if unclaimed == Some(true) {
                app.one_offs.over(batch);
            }
        });
    }
}

impl App {
    /// Those of an id, or all, oldest first.
    pub(super) fn listed(&self, id: Option<&str>) -> Vec<Listed> {
        let all = self.one_offs.all();
        let wanted = all.filter(|(record, _)| id.is_none_or(|id| record.id == id));
        let listed = wanted.map(|(record, live)| Listed {
            record: record.clone(),
            snapshot: live.and_then(|live| live.snapshot.clone()),
            is_live: live.is_some_and(|live| !live.is_over()),
        });
        listed.collect()
    }

    /// Starts what is wished for, in the current release, and answers when it runs.
    pub(super) fn run_wish(&mut self, wish: Wish, answer: Answer, ctx: &mut Context<Self>) {
        let ready = self.ready_for(&wish).into_actor(self);
        ctx.spawn(ready.map(move |loaded, app, ctx| {
            match loaded.and_then(|runnable| app.room_for(&wish, runnable)) {
                Ok(runnable) => {
                    let now = jiff::Timestamp::now();
                    let number = app.one_offs.open(wish, runnable, now);
                    app.begin(number, answer, ctx);
                }
                // Who asked may have gone.
                Err(error) => drop(answer.send(Err(error))),
            }
        }));
    }

    /// The current release, if what is wished for can run in it: it is made ready for its engine, where that is not done.
    fn ready_for(
        &self,
        wish: &Wish,
    ) -> impl Future<Output = Result<Arc<Runnable>, OneOffError>> + use<> {
        let (current, ends) = (self.runnable_of_current(), wish.ends);
        let (dirs, log) = (self.spec.dirs.clone(), self.image_log_of(None));
        let limit = self.spec.context.settings.step_timeouts.packages;
        async move {
            let runnable = current.await?;
            if let Some(why) = runnable.engine.refuses(ends) {
                return Err(OneOffError::NotStarted(why.to_owned()));
            }
            let Some(made_ready) = preparation(&runnable, &dirs, log, limit) else {
                return Ok(runnable);
            };
            let failed = |failure: Failure| OneOffError::NotStarted(failure.to_string());
            made_ready.await.map(Arc::new).map_err(failed)
        }
    }

    /// The current release, ready to run: what serves, or loaded.
    pub(super) fn runnable_of_current(
        &self,
    ) -> impl Future<Output = Result<Arc<Runnable>, OneOffError>> + use<> {
        let name = self.spec.config.name.clone();
        let is_removed = self.deployer.is_removed();
        let current = self.deployer.life.current();
        let serving = self.serving().map(|batch| Arc::clone(&batch.runnable));
        let serving = serving.filter(|runnable| Some(runnable.id()) == current);
        let load = current.map(|current| self.load_release(current));
        async move {
            match (is_removed, serving, load) {
                (true, ..) => Err(OneOffError::BeingRemoved(name)),
                (_, Some(serving), _) => Ok(serving),
                (_, None, Some(load)) => load.await.map_err(OneOffError::NotStarted),
                (_, None, None) => Err(OneOffError::NoRelease(name)),
            }
        }
    }

    fn load_release(
        &self,
        release: u64,
    ) -> impl Future<Output = Result<Arc<Runnable>, String>> + use<> {
        let (context, dirs) = (self.spec.context.clone(), self.spec.dirs.clone());
        let standing = Arc::clone(self.deployer.documents.standing());
        let load = move || Runnable::load(&context, &dirs, release, &standing);
        let loaded = actix_rt::task::spawn_blocking(load);
        async move {
            match loaded.await {
                Ok(Ok(runnable)) => Ok(Arc::new(runnable)),
                Ok(Err(e)) => Err(format!("release {release}: {e}")),
                Err(e) => Err(e.to_string()),
            }
        }
    }

    fn room_for(&self, wish: &Wish, runnable: Arc<Runnable>) -> Result<Arc<Runnable>, OneOffError> {
        let app = self.spec.config.name.clone();
        // Others may have been asked for while this one was made ready.
        if let Some(job) = &wish.job {
            self.one_offs.may_run(&job.name, job.overlaps)?;
        }
        match (self.deployer.is_removed(), self.one_offs.has_room()) {
            (true, _) => Err(OneOffError::BeingRemoved(app)),
            (_, false) => Err(OneOffError::TooMany { app }),
            (false, true) => Ok(runnable),
        }
    }

    /// Starts a process that was noted, once that is on disk.
    fn begin(&mut self, number: BatchId, answer: Answer, ctx: &mut Context<Self>) {
        if let Some(live) = self.one_offs.get_mut(number) {
            live.answer = Some(answer);
        }
        self.remember_one_offs();
        let written = self.deployer.written().into_actor(self);
        ctx.spawn(written.map(move |(), app, ctx| app.start_one_off(number, ctx)));
    }

    fn start_one_off(&mut self, number: BatchId, ctx: &mut Context<Self>) {
        if self.takes_no_child() || self.deployer.is_removed() {
            self.one_off_over(number, ctx);
            return;
        }
        let Some(live) = self.one_offs.get(number) else {
            return;
        };
        let grace = live.runnable.as_ref().map(|r| r.config.stop.timeout);
        self.add_one_off(number, grace.unwrap_or_default(), ctx);
    }

    pub(super) fn remember_one_offs(&self) {
        let seen = self.cron.schedules.seen();
        self.deployer.remember_one_offs(self.one_offs.written(seen));
    }

    /// Stops all of them: the app is stopped or removed.
    pub(super) fn end_one_offs(&mut self, ctx: &mut Context<Self>) {
        let live = self.one_offs.live().filter(|live| !live.is_over());
        let numbers: Vec<_> = live.map(|live| live.record.number).collect();
        for number in numbers {
            self.supervise(SupervisorEvent::Remove(ChildId::OneOff(number)), ctx);
        }
    }

    /// The releases that anything runs.
    pub(super) fn releases_in_use(&self) -> impl Iterator<Item = u64> {
        self.batches.releases().chain(self.one_offs.releases())
    }

    pub(super) fn one_off_spec(
        &self,
        number: BatchId,
        to: Recipient<Opened>,
    ) -> Option<OneOffSpec> {
        let live = self.one_offs.get(number)?;
        let attached = live.ends.map(|kind| Attached { kind, to });
        self.one_off_of(live, attached)
    }

    fn one_off_of(&self, live: &Live, attached: Option<Attached>) -> Option<OneOffSpec> {
        let record = &live.record;
        let of = OneOffOf {
            context: &self.spec.context,
            dirs: &self.spec.dirs,
            runnable: live.runnable.as_ref()?,
            number: record.number,
            id: &record.id,
            process_type: record.process_type(),
            command: &record.command,
            env: &record.env,
            time_limit: record.time_left(jiff::Timestamp::now()),
        };
        Some(OneOffSpec::of(of, attached))
    }

    /// Takes the report of a one-off process; false: it is about another.
    pub(super) fn one_off_changed(&mut self, change: &ProcessChanged) -> bool {
        let ProcessChanged {
            batch,
            snapshot,
            exited,
        } = change;
        let adopted = snapshot
            .pid
            .is_some_and(|pid| self.children.is_adopted(pid));
        let name = self.spec.config.name.shared();
        let Some(live) = self.one_offs.of_report(*batch, &snapshot.id) else {
            return false;
        };
        let release = live.record.release;
        let before = live.snapshot.replace(snapshot.clone());
        let has_exited = live.hear(snapshot, exited.as_ref(), jiff::Timestamp::now());
        let reports = of_process(
            &name,
            release,
            *batch,
            before.as_ref(),
            snapshot,
            exited.as_ref(),
            adopted,
        );
        for report in reports {
            self.spec.context.events.report(report);
        }
        if has_exited {
            self.remember_one_offs();
        }
        true
    }

    /// The actor of a one-off process has ended for good.
    pub(super) fn one_off_gone(&mut self, number: BatchId, ctx: &mut Context<Self>) {
        self.supervise(SupervisorEvent::Remove(ChildId::OneOff(number)), ctx);
        let Some(live) = self.one_offs.get(number) else {
            return;
        };
        let is_told = live.record.exit.is_some();
        let never_ran = live
            .snapshot
            .as_ref()
            .is_some_and(|s| s.phase == Phase::Stopped);
        if is_told || never_ran {
            return self.one_off_over(number, ctx);
        }
        // It was killed: what it left running is ended.
        let left = self.one_off_left_running(number);
        let policy = self.deployer.documents.newest().stop.clone();
        let ended = async move {
            if let Some(left) = left.await {
                left.end(policy).await;
            }
        };
        ctx.spawn(ended.into_actor(self).map(move |(), app, ctx| {
            if let Some(id) = app.one_offs.get(number).map(|live| live.record.id.clone()) {
                app.detach_output(number, &id);
            }
            app.note_unknown_exit(number);
            app.one_off_over(number, ctx);
        }));
    }

    /// Notes that a process has ended, nobody knows how.
    pub(super) fn note_unknown_exit(&mut self, number: BatchId) -> Option<ExitRecord> {
        let live = self.one_offs.get_mut(number)?;
        let exit = unknown_exit(live.record.attached, jiff::Timestamp::now());
        Some(live.record.exit.get_or_insert(exit).clone())
    }

    fn one_off_over(&mut self, number: BatchId, ctx: &mut Context<Self>) {
        let Some(live) = self.one_offs.get_mut(number) else {
            return;
        };
        live.snapshot = None;
        live.runnable = None;
        // It may still be asked for its last output and its exit.
        if live.session.is_none() {
            self.one_offs.over(number);
        }
        self.remember_one_offs();
        self.tidy(ctx);
    }

    /// What its actor has left running, or the server before has.
    pub(super) fn one_off_left_running(
        &mut self,
        number: BatchId,
    ) -> impl Future<Output = Option<Left>> + use<> {
        let survivor = self.one_offs.get_mut(number);
        let survivor = survivor.and_then(|live| live.survivor.take());
        let live = self.one_offs.get(number);
        let spec = live.and_then(|live| self.one_off_of(live, None));
        async move {
            match survivor {
                Some(survivor) => Some(survivor),
                None => spec?.left().await,
            }
        }
    }

    /// Goes on with what the previous server, or App, has left. Returns what nobody wants.
    pub(super) fn recover_one_offs(
        &mut self,
        written: Written,
        survivors: Vec<OutlivedOneOff>,
        ctx: &mut Context<Self>,
    ) -> Vec<Left> {
        let now = jiff::Timestamp::now();
        let before = written.clone();
        self.cron.schedules = Schedules::recovered(written.seen.clone());
        let (found, strangers) = OneOffs::recovered(written, survivors, now);
        self.one_offs = found;
        if self.one_offs.written(&before.seen) != before {
            self.remember_one_offs();
        }
        let live = self.one_offs.live();
        let adopted: Vec<_> = live.map(|l| (l.record.number, l.record.release)).collect();
        for (number, release) in adopted {
            let load = self.load_release(release).into_actor(self);
            ctx.spawn(load.map(move |loaded, app, ctx| app.go_on(number, loaded, ctx)));
        }
        strangers
    }

    fn go_on(
        &mut self,
        number: BatchId,
        loaded: Result<Arc<Runnable>, String>,
        ctx: &mut Context<Self>,
    ) {
        let Some(live) = self.one_offs.get_mut(number) else {
            return;
        };
        match loaded {
            Ok(runnable) => {
                live.runnable = Some(runnable);
                self.start_one_off(number, ctx);
            }
            Err(why) => {
                log::warn!(
                    "{}: {} is ended: {why}",
                    self.spec.config.name,
                    live.record.id
                );
                self.one_off_gone(number, ctx);
            }
        }
    }
}

impl Live {
    /// Whether nothing of it runs, and it is only kept for who attaches.
    pub(super) fn is_over(&self) -> bool {
        self.record.exit.is_some() && self.runnable.is_none()
    }
}
