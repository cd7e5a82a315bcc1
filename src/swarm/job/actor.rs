//! [`Job`]: the actor that owns what runs once on a swarm for an App: a command of a person's, or a run of a job.

use actix::prelude::*;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::life::Outcome;
use super::output::{Pipes, Sink};
use super::run::{Progress, Run};
use crate::exit_status::ExitRecord;
use crate::logs::log::Log;
use crate::process::ends::{Ends, Input};
use crate::process::one_off::{Attached, Opened, OwnSide, Session};
use crate::process::phase::Phase;
use crate::process::snapshot::Snapshot;
use crate::process::worker::ProcessChanged;
use crate::supervision::{ChildRef, Exit, ExitReason, Shutdown};

/// Why who is attached cannot type anything.
const NO_INPUT: &str = "a swarm gives a command no input: let it read from $STORAGE_DIR, or from where it can fetch it";

/// The actor that owns a job. [`Shutdown`] ends the job, and when that is known to have ended it ends itself. Dropped
/// without that (a panic), it leaves the job to its successor.
#[derive(Debug)]
pub struct Job {
    run: Run,
    attached: Option<Attached>,
    log: ChildRef<Log>,
    parent: Recipient<ProcessChanged>,
    exit: ExitReason,
    stop: mpsc::Sender<Option<String>>,
    stops: Option<mpsc::Receiver<Option<String>>>,
    /// What is for who attaches, until it runs.
    waiting: Option<Session>,
    own: Option<OwnSide>,
    /// Tells who is attached how it ended.
    exit_told: Option<oneshot::Sender<ExitRecord>>,
    progress: Progress,
}

impl Job {
    /// A Job, reporting to `parent`. What it prints goes to who is `attached`, else to `log`.
    #[must_use]
    pub fn new(
        run: Run,
        attached: Option<Attached>,
        log: ChildRef<Log>,
        parent: Recipient<ProcessChanged>,
        exit: ExitReason,
    ) -> Self {
        // Full: it is being ended already.
        let (stop, stops) = mpsc::channel(2);
        Self {
            run,
            attached,
            log,
            parent,
            exit,
            stop,
            stops: Some(stops),
            waiting: None,
            own: None,
            exit_told: None,
            progress: Progress {
                phase: Phase::Starting,
                place: None,
                started_at: None,
                warning: None,
            },
        }
    }

    fn sink(&mut self) -> std::io::Result<Sink> {
        if self.attached.is_none() {
            return Ok(Sink::Log {
                log: self.log.clone(),
                notes: self.run.swarm.printed.clone(),
                process: self.run.spec.id.clone(),
                release: self.run.spec.service.release,
            });
        }
        let ((stdout, out), (stderr, err)) = (std::io::pipe()?, std::io::pipe()?);
        let (session, own) = Session::new(Ends::Pipes {
            stdin: Input::Refused(NO_INPUT),
            stdout: stdout.into(),
            stderr: stderr.into(),
        });
        (self.waiting, self.own) = (Some(session), Some(own));
        Ok(Sink::Pipes(Pipes {
            stdout: pipe::Sender::from_owned_fd(out.into())?,
            stderr: pipe::Sender::from_owned_fd(err.into())?,
        }))
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        let Some(mut stops) = self.stops.take() else {
            return;
        };
        let mut sink = match self.sink() {
            Ok(sink) => sink,
            Err(error) => {
                let why = format!("its output cannot be read: {error}");
                return self.over(Outcome::NotStarted(why), ctx);
            }
        };
        // Full: what is left out is told by what follows, and its end is told apart.
        let (tell, mut told) = mpsc::channel(64);
        let run = self.run.clone();
        let running = async move {
            let outcome = run.to_end(&mut sink, &mut stops, |progress| {
                // It has gone with its actor.
                let _gone = tell.try_send(progress);
            });
            outcome.await
        };
        // Few: each is a change that the swarm has made.
        let changes = futures::stream::poll_fn(move |cx| told.poll_recv(cx));
        let changes = changes
            .into_actor(self)
            .map(|progress, this, ctx| this.changed(progress, ctx));
        ctx.spawn(changes.finish());
        ctx.spawn(
            running
                .into_actor(self)
                .map(|outcome, this, ctx| this.over(outcome, ctx)),
        );
    }

    fn changed(&mut self, progress: Progress, ctx: &mut Context<Self>) {
        let begins = progress.started_at.is_some();
        self.progress = progress;
        if let (Some(attached), Some(session)) = (&self.attached, self.waiting.take_if(|_| begins))
        {
            let batch = self.run.spec.service.batch;
            // One for each job; if nobody takes it, it is dropped, and the job ended.
            attached.to.do_send(Opened { batch, session });
            self.attend(ctx);
        }
        self.report(self.snapshot(), None);
    }

    /// Ends it when who is attached has gone.
    fn attend(&mut self, ctx: &mut Context<Self>) {
        let Some(own) = self.own.take() else { return };
        self.exit_told = Some(own.exit);
        let present = own.present;
        let gone = async move { drop(present.await) };
        ctx.spawn(gone.into_actor(self).map(|(), this, _| {
            let why = "its client went away".to_owned();
            let _over = this.stop.try_send(Some(why));
        }));
    }

    fn over(&mut self, outcome: Outcome, ctx: &mut Context<Self>) {
        let mut snapshot = self.snapshot();
        snapshot.phase = Phase::Stopped;
        let exited = match outcome {
            Outcome::Ended { status, at, reason } => Some(ExitRecord {
                status,
                at: at.unwrap_or_else(jiff::Timestamp::now),
                oom: false,
                reason: reason.or_else(|| status.reason(&self.run.spec.command)),
            }),
            Outcome::NotStarted(why) => {
                snapshot.warning = Some(why);
                None
            }
        };
        if let (Some(tell), Some(exit)) = (self.exit_told.take(), &exited) {
            // Who was attached may have gone.
            let _gone = tell.send(exit.clone());
        }
        snapshot.last_exit.clone_from(&exited);
        self.report(snapshot, exited);
        self.exit.set(Exit::Shutdown);
        ctx.stop();
    }

    fn report(&self, snapshot: Snapshot, exited: Option<ExitRecord>) {
        self.parent.do_send(ProcessChanged {
            batch: self.run.spec.service.batch,
            snapshot,
            exited,
        });
    }

    fn snapshot(&self) -> Snapshot {
        let Progress {
            phase,
            place,
            started_at,
            warning,
        } = self.progress.clone();
        Snapshot {
            place,
            started_at,
            warning,
            ..Snapshot::new(self.run.spec.id.clone(), phase)
        }
    }
}

impl Actor for Job {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<Shutdown> for Job {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        // It is over already where nobody hears it.
        let _over = self.stop.try_send(None);
    }
}
