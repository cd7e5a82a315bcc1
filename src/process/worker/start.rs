//! One start: a port, a permit, the directory, then the OS process. What blocks is done on threads for that.

use std::rc::Rc;

use actix::prelude::*;

use super::port::{ChosenPort, NotStarted};
use super::{Process, attach, blocking};
use crate::process::instance;
use crate::process::lack::{self, Lack};
use crate::process::spawn::{self, SpawnError, Spawned};
use crate::process::start_permits::{self, StartPermit};
use crate::process::state::LifeEvent;

impl Process {
    pub(super) fn spawn(&mut self, ctx: &mut Context<Self>) {
        if let Some(one_off) = self.spec.one_off.clone() {
            return self.spawn_one_off(one_off, ctx);
        }
        let (chosen, permit) = (self.choose_port(), self.start_permit());
        let chosen = async move {
            let chosen = chosen.await?;
            Ok((chosen, permit.await?))
        };
        ctx.spawn(chosen.into_actor(self).map(|result, this, ctx| {
            this.has_no_port = matches!(result, Err(NotStarted::NoPort(_)));
            match result {
                Ok((chosen, permit)) => this.spawn_on(chosen, permit, ctx),
                Err(NotStarted::NoPort(reason) | NotStarted::Other(reason)) => {
                    this.apply(LifeEvent::SpawnFailed { reason }, ctx);
                }
            }
        }));
    }

    fn spawn_on(
        &mut self,
        chosen: ChosenPort,
        permit: Option<StartPermit>,
        ctx: &mut Context<Self>,
    ) {
        let port = self.take_port(chosen, ctx);
        let spec = self.spec.exec_spec(Some(port));
        let directory = self.spec.instance_directory();
        let account = self.spec.account.clone();
        let sockets = self.spec.socket_directory().ok().flatten();
        // Before the process runs: its first line must have a reader.
        let (is_attached, attaching) = (self.is_attached, attach(self.log.clone(), self.attach()));
        let spawned = async move {
            let prepare = move || {
                let is_new = instance::prepare(&directory, &instance::FIFOS, account.as_ref())?;
                if let Some(sockets) = sockets {
                    sockets.prepare(account.as_ref())?;
                }
                Ok(is_new)
            };
            let is_new = blocking(prepare)
                .await
                .flatten()
                .map_err(|e| e.to_string())?;
            if is_new || !is_attached {
                attaching.await?;
            }
            let spawned = spawn::spawn(&spec).await.map_err(|e| describe(&e))?;
            Ok((spawned, permit))
        };
        ctx.spawn(spawned.into_actor(self).map(Self::spawned));
    }

    /// Resolves when the process may start: at once, except for its first start when the server starts.
    fn start_permit(
        &mut self,
    ) -> impl Future<Output = Result<Option<StartPermit>, NotStarted>> + use<> {
        let permits = self.spec.start_permits.take();
        let stopped = Rc::clone(&self.stopped);
        async move {
            let Some(permits) = permits else {
                return Ok(None);
            };
            tokio::select! {
                permit = permits.acquire() => Ok(permit),
                () = stopped.notified() => {
                    Err(NotStarted::Other("it was stopped before its turn to start came".to_owned()))
                }
            }
        }
    }

    fn spawned(
        result: Result<(Spawned, Option<StartPermit>), String>,
        this: &mut Self,
        ctx: &mut Context<Self>,
    ) {
        let event = match result {
            Ok((spawned, permit)) => {
                // A process that is not routed never says when its start is over.
                this.permit = permit.filter(|_| this.spec.routed);
                if this.permit.is_some() {
                    ctx.run_later(start_permits::LONGEST, |this, _| this.permit = None);
                }
                this.is_attached = true;
                this.warn_of_lacks(&spawned.lacks);
                this.started_at = Some(jiff::Timestamp::now());
                this.running = Some(Rc::new(spawned.running));
                LifeEvent::Running { pid: spawned.pid }
            }
            Err(reason) => LifeEvent::SpawnFailed { reason },
        };
        this.apply(event, ctx);
    }

    pub(super) fn warn_of_lacks(&mut self, lacks: &[Lack]) {
        let told = lacks
            .iter()
            .map(|lack| format!("{lack}: {}", lack.effect()));
        let told: Vec<_> = told.collect();
        self.lacks = (!told.is_empty()).then(|| told.join("; "));
        if let Some(warning) = &self.lacks {
            lack::warn(&format!("{} {}", self.spec.app, self.spec.id), warning);
        }
    }
}

fn describe(error: &SpawnError) -> String {
    match error.blames_host() {
        true => format!("{error}; it is tried again"),
        false => error.to_string(),
    }
}
