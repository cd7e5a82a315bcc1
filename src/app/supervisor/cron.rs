//! Jobs of an App: looked at, started as one-off processes at their times or when somebody asks, and shown.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::App;
use super::one_offs::Listed;
use crate::app::cron::{Due, Schedules};
use crate::app::lifecycle::Wanted;
use crate::app::one_offs::{Answer, JobWish, OneOffError, Started, Wish, job_id};
use crate::document::app_json;
use crate::document::cron::CronJob;
use crate::events::{By, Report};

/// The wall clock may be set at any time: it is looked at so often.
const LOOK: Duration = Duration::from_secs(10);

/// Lists the jobs.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<ListedJob>")]
pub struct ListJobs;

/// Runs a job now. The answer comes when it runs.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Started, OneOffError>")]
pub struct RunJob(pub String);

/// A job, when it is due, and its runs, oldest first.
#[derive(Clone, Debug)]
pub struct ListedJob {
    pub job: CronJob,
    /// `None` while the app is stopped.
    pub next: Option<jiff::Timestamp>,
    pub runs: Vec<Listed>,
}

/// What an App knows of its jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) schedules: Schedules,
    /// The app was found stopped since they were looked at.
    was_stopped: bool,
    timer: Option<SpawnHandle>,
}

impl App {
    /// Those of the document, else those that the release which serves brings along (`app.json`).
    fn jobs(&self) -> Vec<CronJob> {
        let standing = self.deployer.documents.standing();
        match self.serving() {
            Some(serving) if !app_json::has_own_jobs(&standing.document) => {
                serving.runnable.release.app_json.cron.clone()
            }
            None if self.is_asleep() && !app_json::has_own_jobs(&standing.document) => {
                self.sleeping.jobs.clone()
            }
            _ => standing.cron.clone(),
        }
    }

    fn runs_jobs(&self) -> bool {
        // A job is a process of its own, which wakes no other.
        matches!(
            self.deployer.life.wanted(),
            Wanted::Running | Wanted::Asleep
        )
    }

    /// Looks at the schedules, now and again as long as the app is to run. Call it whenever that, or the document, may have
    /// changed.
    pub(super) fn follow_schedules(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.cron.timer.take() {
            ctx.cancel_future(timer);
        }
        if self.takes_no_child() || self.ending || self.spec.context.hands_over() {
            return;
        }
        if !self.runs_jobs() {
            self.cron.was_stopped = true;
            return;
        }
        let (jobs, now) = (self.jobs(), jiff::Timestamp::now());
        if std::mem::take(&mut self.cron.was_stopped) {
            self.cron.schedules.begin_anew(&jobs, now);
        }
        let (due, has_changed) = self.cron.schedules.look(&jobs, now);
        if has_changed {
            self.remember_one_offs();
        }
        for Due { job, time } in due {
            let job = jobs.iter().find(|known| known.name == job);
            if let Some(job) = job {
                self.run_due(job, time, ctx);
            }
        }
        let Some(next) = self.cron.schedules.next(&jobs, now) else {
            return;
        };
        let pause = next.duration_since(now).max(jiff::SignedDuration::ZERO);
        let pause = pause.unsigned_abs() + Duration::from_millis(1);
        let timer = ctx.run_later(pause.min(LOOK), |app, ctx| app.follow_schedules(ctx));
        self.cron.timer = Some(timer);
    }

    fn run_due(&mut self, job: &CronJob, time: jiff::Timestamp, ctx: &mut Context<Self>) {
        let app = self.spec.config.name.clone();
        if let Err(why) = self.may_run(job) {
            log::warn!("{app}: {} is left out at {time}: {why}", job.name);
            return;
        }
        let (answer, answered) = oneshot::channel();
        self.run_job(job, Some(time), answer, ctx);
        let name = job.name.clone();
        let events = self.spec.context.events.clone();
        let told = async move {
            match answered.await {
                Ok(Ok(started)) => {
                    let detail = format!("job {name} as {}", started.id);
                    events.report(Report::ran(app.shared(), By::cron(), detail));
                }
                Ok(Err(why)) => log::error!("{app}: {name} was not run at {time}: {why}"),
                // The app's actor has gone.
                Err(_) => {}
            }
        };
        ctx.spawn(told.into_actor(self));
    }

    fn may_run(&self, job: &CronJob) -> Result<(), OneOffError> {
        self.one_offs.may_run(&job.name, job.overlaps)
    }

    fn run_job(
        &mut self,
        job: &CronJob,
        due: Option<jiff::Timestamp>,
        answer: Answer,
        ctx: &mut Context<Self>,
    ) {
        let wish = Wish {
            command: job.command.clone(),
            env: std::collections::BTreeMap::new(),
            ends: None,
            time_limit: Some(job.timeout),
            job: Some(JobWish {
                name: job.name.clone(),
                due,
                overlaps: job.overlaps,
            }),
        };
        self.run_wish(wish, answer, ctx);
    }
}

impl Handler<ListJobs> for App {
    type Result = MessageResult<ListJobs>;

    fn handle(&mut self, _: ListJobs, _: &mut Self::Context) -> Self::Result {
        let now = jiff::Timestamp::now();
        let is_on = self.runs_jobs();
        let listed = self.jobs().into_iter().map(|job| ListedJob {
            next: is_on
                .then(|| self.cron.schedules.next_of(&job, now))
                .flatten(),
            runs: self.listed(Some(&job_id(&job.name))),
            job,
        });
        MessageResult(listed.collect())
    }
}

impl Handler<RunJob> for App {
    type Result = ResponseFuture<Result<Started, OneOffError>>;

    fn handle(&mut self, RunJob(name): RunJob, ctx: &mut Self::Context) -> Self::Result {
        let jobs = self.jobs();
        let job = jobs.iter().find(|job| job.name == name);
        let app = self.spec.config.name.clone();
        let job = job.ok_or(OneOffError::NoSuchJob { app, name });
        let (answer, answered) = oneshot::channel();
        match job.and_then(|job| self.may_run(job).map(|()| job)) {
            Ok(job) => self.run_job(job, None, answer, ctx),
            Err(error) => drop(answer.send(Err(error))),
        }
        Box::pin(super::one_offs::awaited(answered))
    }
}
