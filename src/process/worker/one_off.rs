//! A process that runs once: its start, without a port, and what ends it early.

use actix::prelude::*;

use super::{Process, attach, blocking};
use crate::process::ends::Ends;
use crate::process::instance;
use crate::process::one_off::{OneOff, Opened, OwnSide, Session};
use crate::process::spawn::{self, Spawned};
use crate::process::state::LifeEvent;

impl Process {
    pub(super) fn spawn_one_off(&mut self, one_off: OneOff, ctx: &mut Context<Self>) {
        let mut spec = self.spec.exec_spec(None);
        let directory = self.spec.instance_directory();
        let account = self.spec.account.clone();
        // Before the process runs: its first line must have a reader.
        let attaching = attach(self.log.clone(), self.attach());
        let kind = one_off.attached.as_ref().map(|attached| attached.kind);
        let spawned = async move {
            let opened = blocking(move || match kind {
                Some(kind) => Ends::open(kind, &directory, account.as_ref()).map(Some),
                None => {
                    instance::prepare(&directory, &instance::FIFOS, account.as_ref())?;
                    Ok(None)
                }
            });
            let opened = opened.await.flatten().map_err(|e| e.to_string())?;
            let Some(opened) = opened else {
                attaching.await?;
                let spawned = spawn::spawn(&spec).await.map_err(|e| e.to_string())?;
                return Ok((spawned, None));
            };
            spec.output = opened.output;
            let spawned = spawn::spawn(&spec).await;
            drop(opened.held);
            Ok((spawned.map_err(|e| e.to_string())?, Some(opened.ends)))
        };
        ctx.spawn(spawned.into_actor(self).map(move |spawned, this, ctx| {
            let event = match spawned {
                Ok((spawned, ends)) => this.one_off_spawned(&one_off, spawned, ends, ctx),
                Err(reason) => LifeEvent::SpawnFailed { reason },
            };
            this.apply(event, ctx);
        }));
    }

    fn one_off_spawned(
        &mut self,
        one_off: &OneOff,
        spawned: Spawned,
        ends: Option<Ends>,
        ctx: &mut Context<Self>,
    ) -> LifeEvent {
        self.is_attached = ends.is_none();
        self.warn_of_lacks(&spawned.lacks);
        self.started_at = Some(jiff::Timestamp::now());
        self.running = Some(std::rc::Rc::new(spawned.running));
        self.arm_time_limit(ctx);
        if let (Some(attached), Some(ends)) = (&one_off.attached, ends) {
            let (session, own) = Session::new(ends);
            let batch = self.spec.batch;
            // One for each process; if nobody takes it, it is dropped, and the process stopped.
            attached.to.do_send(Opened { batch, session });
            self.attended(own, ctx);
        }
        LifeEvent::Running { pid: spawned.pid }
    }

    /// Stops it when who is attached has gone.
    fn attended(&mut self, own: OwnSide, ctx: &mut Context<Self>) {
        self.exit_told = Some(own.exit);
        let present = own.present;
        let gone = async move { drop(present.await) };
        ctx.spawn(gone.into_actor(self).map(|(), this, ctx| {
            this.end_early("its client went away", ctx);
        }));
    }

    pub(super) fn arm_time_limit(&mut self, ctx: &mut Context<Self>) {
        let limit = self.spec.one_off.as_ref().and_then(|one| one.time_limit);
        if let Some(limit) = limit {
            ctx.run_later(limit, |this, ctx| {
                this.end_early("its timeout was over", ctx);
            });
        }
    }

    fn end_early(&mut self, why: &str, ctx: &mut Context<Self>) {
        if self.running.is_some() {
            self.stop_reason.get_or_insert_with(|| why.to_owned());
            self.apply(LifeEvent::Stop, ctx);
        }
    }
}
